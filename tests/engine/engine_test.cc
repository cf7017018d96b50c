#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <thread>

#include "base/status.h"
#include "engine/naive_table.h"
#include "engine/nearest.h"
#include "engine/table_spec.h"
#include "main/seed.h"

namespace quire {
namespace {

using testing::NaiveTable;

v1::TableSpec Spec(const std::string& name, int64_t rows, int64_t dim) {
  v1::TableSpec spec;
  spec.set_name(name);
  spec.set_num_embeddings(rows);
  spec.set_embedding_dim(dim);
  return spec;
}

class EngineTest : public ::testing::Test {
 protected:
  TableHandle Make(const v1::TableSpec& spec) {
    absl::StatusOr<Engine::Created> created =
        engine_.CreateTable(spec, v1::IF_EXISTS_ERROR);
    EXPECT_TRUE(created.ok()) << created.status();
    return created->table;
  }

  static std::vector<float> Lookup(const TableHandle& table,
                                   std::span<const int64_t> ids) {
    std::vector<float> rows(ids.size() * static_cast<size_t>(table->dim()));
    table->Lookup(ids, reinterpret_cast<std::byte*>(rows.data()));
    return rows;
  }

  static std::vector<float> All(const TableHandle& table) {
    std::vector<int64_t> ids(
        static_cast<size_t>(table->rows().config().num_embeddings));
    std::iota(ids.begin(), ids.end(), 0);
    return Lookup(table, ids);
  }

  absl::Status Push(const TableHandle& table, std::vector<int64_t> ids,
                    std::span<const float> gradient,
                    std::optional<double> learning_rate = {}) {
    const Bytes bytes = std::as_bytes(gradient);
    const PushPart part = {.table = table,
                           .ids = ids,
                           .gradient = ByteRange(bytes),
                           .learning_rate = learning_rate};
    return engine_.ApplyGradient({&part, 1}).status();
  }

  Engine engine_{{.table_bytes_max = 64 << 20}};
};

v1::TableSpec WithOptimizer(v1::TableSpec spec, OptimizerKind kind) {
  v1::Optimizer& optimizer = *spec.mutable_optimizer();
  optimizer.set_learning_rate(0.05);
  if (kind == OptimizerKind::kAdagrad) {
    optimizer.mutable_adagrad()->set_lr_decay(0.1);
    optimizer.mutable_adagrad()->set_initial_accumulator_value(0.01);
  } else if (kind == OptimizerKind::kRowwiseAdagrad) {
    optimizer.mutable_rowwise_adagrad();
  }
  return spec;
}

class EngineOptimizerTest
    : public EngineTest,
      public ::testing::WithParamInterface<OptimizerKind> {};

// The engine and the oracle, in lock step, under random pushes with many
// duplicates.
TEST_P(EngineOptimizerTest, PushesAgreeWithTheNaiveTable) {
  std::mt19937_64 random(testing::Seed());
  for (const int64_t dim : {1, 5, 16, 64, 100}) {
    const TableHandle table = Make(
        WithOptimizer(Spec("t" + std::to_string(dim), 97, dim), GetParam()));
    NaiveTable naive(All(table), dim, table->rows().config().optimizer);
    std::normal_distribution<float> gradient_of;
    for (int push = 0; push < 20; ++push) {
      std::vector<int64_t> ids(random() % 60);
      std::ranges::generate(
          ids, [&] { return static_cast<int64_t>(random() % 97); });
      std::vector<float> gradient(ids.size() * static_cast<size_t>(dim));
      std::ranges::generate(gradient, [&] { return gradient_of(random); });
      const double lr = push % 2 == 0 ? 0.05 : 0.2;

      ASSERT_TRUE(Push(table, ids, gradient, lr).ok());
      naive.Push(ids, gradient, lr);

      std::vector<int64_t> all(97);
      std::iota(all.begin(), all.end(), 0);
      const std::vector<float> expected = naive.Lookup(all);
      const std::vector<float> found = All(table);
      if (GetParam() == OptimizerKind::kRowwiseAdagrad) {
        // The mean of squares is summed in another order.
        for (size_t i = 0; i < found.size(); ++i) {
          ASSERT_NEAR(found[i], expected[i], 1e-6 + 1e-6 * std::abs(found[i]));
        }
      } else {
        ASSERT_EQ(std::memcmp(found.data(), expected.data(),
                              found.size() * sizeof(float)),
                  0);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EngineOptimizerTest,
                         ::testing::Values(OptimizerKind::kSgd,
                                           OptimizerKind::kAdagrad,
                                           OptimizerKind::kRowwiseAdagrad));

TEST_F(EngineTest, TheSameSpecificationGivesTheSameRows) {
  Engine other({.table_bytes_max = 64 << 20});
  const auto twin = other.CreateTable(Spec("t", 100, 16), v1::IF_EXISTS_ERROR);
  ASSERT_TRUE(twin.ok());

  EXPECT_EQ(All(Make(Spec("t", 100, 16))), All(twin->table));
}

TEST_F(EngineTest, ManyCreatorsGetOneTable) {
  constexpr int kCreators = 64;
  std::vector<std::thread> threads;
  std::atomic<int> created = 0;
  std::array<TableUid, kCreators> uids;
  for (int i = 0; i < kCreators; ++i) {
    threads.emplace_back([&, i] {
      const auto result =
          engine_.CreateTable(Spec("shared", 1000, 64), v1::IF_EXISTS_VERIFY);
      ASSERT_TRUE(result.ok()) << result.status();
      created += result->is_new ? 1 : 0;
      uids[static_cast<size_t>(i)] = result->table->uid();
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }

  EXPECT_EQ(created.load(), 1);
  EXPECT_TRUE(std::ranges::all_of(
      uids, [&](const TableUid& uid) { return uid == uids[0]; }));
  // The losers gave their memory back: a second table makes it twice that of
  // one.
  const TableHandle another = Make(Spec("another", 1000, 64));
  EXPECT_EQ(engine_.table_memory().bytes_used(),
            Table::ValueBytes(ConfigOf(another->created_spec())) * 2);
}

// A loser was told that the memory is full: the winner had taken it, and the
// table was not there yet.
TEST(EngineCreationTest, ManyCreatorsOfATableThatFitsOnceGetIt) {
  constexpr int kCreators = 16;
  for (int round = 0; round < 50; ++round) {
    Engine engine({.table_bytes_max = 64 << 20});
    std::atomic<int> created = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < kCreators; ++i) {
      threads.emplace_back([&] {
        // 37 of 64 MiB.
        const auto result = engine.CreateTable(Spec("shared", 150'000, 64),
                                               v1::IF_EXISTS_VERIFY);
        ASSERT_TRUE(result.ok()) << result.status();
        created += result->is_new ? 1 : 0;
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }

    ASSERT_EQ(created.load(), 1);
    ASSERT_TRUE(engine.DropTable("shared", {}).ok());
  }
}

TEST_F(EngineTest, VerifyNamesTheFirstDifferenceWithBothValues) {
  Make(Spec("t", 10, 5));

  const absl::Status status =
      engine_.CreateTable(Spec("t", 10, 6), v1::IF_EXISTS_VERIFY).status();

  EXPECT_EQ(ReasonOf(status), Reason::kTableDiffers);
  EXPECT_EQ(FieldOf(status), "spec.embedding_dim");
  EXPECT_EQ(std::string(status.message()),
            "the table exists with another spec.embedding_dim: it has 5, the "
            "request wants 6");
}

TEST_F(EngineTest, ATableThatDoesNotFitIsRefusedAndTakesNothing) {
  EXPECT_EQ(ReasonOf(engine_
                         .CreateTable(Spec("huge", int64_t{1} << 40, 65536),
                                      v1::IF_EXISTS_ERROR)
                         .status()),
            Reason::kTooLarge);
  Make(Spec("first", 150'000, 64));
  EXPECT_EQ(
      ReasonOf(
          engine_.CreateTable(Spec("second", 150'000, 64), v1::IF_EXISTS_ERROR)
              .status()),
      Reason::kMemoryFull);
  ASSERT_TRUE(engine_.DropTable("first", {}).ok());
}

TEST_F(EngineTest, ADroppedTableServesThoseWhoHoldItAndNobodyElse) {
  TableHandle held = Make(Spec("t", 10, 5));
  const std::vector<float> before = All(held);

  ASSERT_TRUE(engine_.DropTable("t", {}).ok());

  EXPECT_EQ(All(held), before);
  EXPECT_EQ(ReasonOf(engine_.Find("t").status()), Reason::kNoSuchTable);
  EXPECT_EQ(ReasonOf(Push(held, {1}, std::vector<float>(5))),
            Reason::kNoSuchTable);
  const TableHandle again = Make(Spec("t", 10, 5));
  EXPECT_NE(again->uid(), held->uid());
  EXPECT_EQ(ReasonOf(engine_.Find("t", held->uid()).status()),
            Reason::kTableReplaced);
  held.reset();
  EXPECT_EQ(engine_.table_memory().bytes_used(),
            Table::ValueBytes(again->rows().config()));
}

TEST_F(EngineTest, ARefusedPushChangesNothing) {
  const TableHandle table = Make(Spec("t", 10, 2));
  const std::vector<float> before = All(table);
  std::vector<float> gradient = {1, 2, 3,
                                 std::numeric_limits<float>::infinity()};

  const absl::Status infinite = Push(table, {1, 2}, gradient);
  EXPECT_EQ(ReasonOf(infinite), Reason::kNonFinite);
  EXPECT_EQ(FieldOf(infinite), "tables[0].gradient");
  gradient[3] = 4;
  const absl::Status bad_id = Push(table, {1, 10}, gradient);
  EXPECT_EQ(ReasonOf(bad_id), Reason::kIdOutOfRange);
  EXPECT_EQ(FieldOf(bad_id), "tables[0].ids.ids[1]");
  // Each is finite, their sum is not.
  gradient = {3e38f, 0, 3e38f, 0};
  EXPECT_EQ(ReasonOf(Push(table, {1, 1}, gradient)), Reason::kNonFinite);
  ASSERT_TRUE(engine_.AlterTable(*table, {.frozen = true}).ok());
  EXPECT_EQ(ReasonOf(Push(table, {1}, std::vector<float>(2))),
            Reason::kTableFrozen);

  EXPECT_EQ(All(table), before);
  EXPECT_EQ(engine_.Describe(*table).step(), 0);
}

TEST_F(EngineTest, APushIsAllOrNothing) {
  const TableHandle good = Make(Spec("good", 10, 2));
  const TableHandle bad = Make(Spec("bad", 10, 2));
  const std::vector<float> before = All(good);
  const std::vector<int64_t> ids = {1};
  const std::vector<float> finite = {1, 2};
  const std::vector<float> infinite = {1,
                                       std::numeric_limits<float>::infinity()};
  const Bytes finite_bytes = std::as_bytes(std::span(finite));
  const Bytes infinite_bytes = std::as_bytes(std::span(infinite));

  const absl::Status refused =
      engine_
          .ApplyGradient(std::vector<PushPart>{
              {.table = good, .ids = ids, .gradient = ByteRange(finite_bytes)},
              {.table = bad,
               .ids = ids,
               .gradient = ByteRange(infinite_bytes)}})
          .status();
  EXPECT_EQ(ReasonOf(refused), Reason::kNonFinite);
  EXPECT_EQ(FieldOf(refused), "tables[1].gradient");
  EXPECT_EQ(All(good), before);
  EXPECT_EQ(engine_.Describe(*good).step(), 0);
}

TEST_F(EngineTest, ATableNamedTwiceIsOneTable) {
  const TableHandle table = Make(Spec("t", 10, 2));
  NaiveTable naive(All(table), 2, table->rows().config().optimizer);
  const std::vector<int64_t> first_ids = {3, 1};
  const std::vector<int64_t> second_ids = {1, 4};
  const std::vector<float> first = {1, 2, 3, 4};
  const std::vector<float> second = {5, 6, 7, 8};
  const Bytes first_bytes = std::as_bytes(std::span(first));
  const Bytes second_bytes = std::as_bytes(std::span(second));

  const auto results = engine_.ApplyGradient(std::vector<PushPart>{
      {.table = table, .ids = first_ids, .gradient = ByteRange(first_bytes)},
      {.table = table,
       .ids = second_ids,
       .gradient = ByteRange(second_bytes)}});
  naive.Push(std::vector<int64_t>{3, 1, 1, 4},
             std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}, 0.01);

  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ((*results)[0].rows_changed, 3);
  EXPECT_EQ((*results)[1].step, 1);
  EXPECT_EQ(All(table),
            naive.Lookup(std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

// LANDSCAPE A14: gradients of whole numbers sum the same in any order, so any
// lost or doubled update shows.
TEST_F(EngineTest, ConcurrentPushesLoseNothing) {
  v1::TableSpec spec = Spec("t", 50, 8);
  spec.mutable_initializer()->mutable_zeros();
  spec.mutable_optimizer()->set_learning_rate(1.0);
  const TableHandle table = Make(spec);
  constexpr int kThreads = 4;
  constexpr int kPushes = 300;

  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(testing::Seed() + static_cast<uint64_t>(t));
      for (int push = 0; push < kPushes; ++push) {
        std::vector<int64_t> ids(10);
        std::ranges::generate(
            ids, [&] { return static_cast<int64_t>(random() % 50); });
        ASSERT_TRUE(Push(table, ids, std::vector<float>(80, 1.0f)).ok());
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }

  double total = 0;
  for (const float value : All(table)) {
    total -= value;
  }
  EXPECT_EQ(total, kThreads * kPushes * 10 * 8);
  EXPECT_EQ(engine_.Describe(*table).step(), kThreads * kPushes);
}

// Every column of a row is equal at any moment, or a reader saw a torn row.
TEST_F(EngineTest, NoReaderSeesATornRow) {
  // Long rows: a reader is nearly always in one that is being written.
  constexpr int64_t kDim = 2048;
  v1::TableSpec spec = Spec("t", 8, kDim);
  spec.mutable_initializer()->mutable_zeros();
  spec.mutable_optimizer()->set_learning_rate(1.0);
  const TableHandle table = Make(spec);
  std::atomic<bool> stop = false;
  std::vector<std::thread> writers;
  for (int t = 0; t < 2; ++t) {
    writers.emplace_back([&, t] {
      std::vector<int64_t> ids = {0, 1, 2, 3, 4, 5, 6, 7};
      const std::vector<float> gradient(8 * kDim, t == 0 ? 1.0f : -3.0f);
      while (!stop.load()) {
        ASSERT_TRUE(Push(table, ids, gradient).ok());
      }
    });
  }

  int64_t torn = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::vector<float> rows = All(table);
    for (size_t i = 0; i < rows.size(); ++i) {
      torn += rows[i] != rows[i / kDim * kDim] ? 1 : 0;
    }
  }
  stop = true;
  for (std::thread& writer : writers) {
    writer.join();
  }
  EXPECT_EQ(torn, 0);
}

TEST_F(EngineTest, AnImportAppearsWholeAndTrainsOn) {
  std::vector<float> values(10 * 4);
  std::iota(values.begin(), values.end(), 0.0f);
  auto import = engine_.BeginImport(Spec("t", 10, 4));
  ASSERT_TRUE(import.ok()) << import.status();
  const std::vector<std::string_view> labels = {"a", "b", "b", "", "e"};

  ASSERT_TRUE((*import)->Write(std::span(values).first(20), {}, labels).ok());
  EXPECT_EQ(ReasonOf(engine_.Find("t").status()), Reason::kNoSuchTable);
  EXPECT_EQ(ReasonOf((*import)->Publish().status()), Reason::kBadShape);
  ASSERT_TRUE((*import)->Write(std::span(values).last(20), {}, {}).ok());
  const auto table = (*import)->Publish();

  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(All(*table), values);
  EXPECT_EQ((*table)->labels().Find("b"), 1);
  EXPECT_EQ((*table)->labels().Find("x"), -1);
  EXPECT_EQ((*table)->labels().count(), 4);
  EXPECT_TRUE(Push(*table, {3}, std::vector<float>(4, 1.0f)).ok());
}

TEST_F(EngineTest, NearestFindsWhatAPlainScanFinds) {
  const TableHandle table = Make(Spec("t", 3000, 24));
  const std::vector<float> rows = All(table);
  const std::vector<float> query(rows.begin() + 24 * 7, rows.begin() + 24 * 8);
  const std::vector<int64_t> own = {7};
  std::vector<std::pair<double, int64_t>> expected;
  for (int64_t id = 0; id < 3000; ++id) {
    double squares = 0;
    for (size_t d = 0; d < 24; ++d) {
      const double difference =
          double{rows[static_cast<size_t>(id) * 24 + d]} - query[d];
      squares += difference * difference;
    }
    if (id != 7 && id != 11) {
      expected.emplace_back(std::sqrt(squares), id);
    }
  }
  std::ranges::sort(expected);
  const std::vector<int64_t> excluded = {11};

  const auto found =
      Nearest(*table,
              {.metric = Metric::kL2,
               .k = 10,
               .vectors = query,
               .own_ids = own,
               .excluded_ids = excluded},
              engine_.kernels(), engine_.workers(), [] { return false; });

  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ((*found)[0].size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ((*found)[0][i].id, expected[i].second);
    EXPECT_NEAR((*found)[0][i].score, expected[i].first, 1e-5);
  }
  EXPECT_EQ(ReasonOf(Nearest(*table, {.k = 1, .vectors = query, .own_ids = own},
                             engine_.kernels(), engine_.workers(),
                             [] { return true; })
                         .status()),
            Reason::kCancelled);
}

}  // namespace
}  // namespace quire
