// Lookups by the client library from a real server: whole, split, many at
// once, and too late.

#include <atomic>
#include <cstring>
#include <latch>
#include <random>

#include "absl/time/clock.h"
#include "base/limits.h"
#include "e2e/client_fixture.h"
#include "main/seed.h"

namespace quire::testing {
namespace {

using ::testing::HasSubstr;

class ClientLookupTest : public ClientTest {
 protected:
  // A table of random rows, and all of them as the server stores them.
  struct Known {
    std::string name;
    int64_t rows = 0;
    int64_t dim = 0;
    std::vector<float> values;
  };

  Known Make(const std::string& name, int64_t rows, int64_t dim) {
    v1::TableSpec spec;
    spec.set_name(name);
    spec.set_num_embeddings(rows);
    spec.set_embedding_dim(dim);
    EXPECT_TRUE(Create(*client_, spec).ok());
    Known known{.name = name, .rows = rows, .dim = dim, .values = {}};
    v1::ExportTableRequest request;
    request.mutable_table()->set_name(name);
    auto stream = client_->ExportTable(request);
    EXPECT_TRUE(stream.ok()) << stream.status();
    while (stream.ok()) {
      const auto chunk = (*stream)->Read();
      EXPECT_TRUE(chunk.ok()) << chunk.status();
      if (!chunk.ok() || !*chunk) {
        break;
      }
      known.values.insert(known.values.end(),
                          (*chunk)->values().values().begin(),
                          (*chunk)->values().values().end());
    }
    EXPECT_EQ(std::ssize(known.values), rows * dim);
    return known;
  }

  std::vector<int64_t> RandomIds(const Known& table, size_t count) {
    std::uniform_int_distribution<int64_t> any(0, table.rows - 1);
    std::vector<int64_t> ids(count);
    std::ranges::generate(ids, [&] { return any(random_); });
    return ids;
  }

  // How many of the rows are not those of the table, bit for bit.
  static int WrongRows(const Known& table, std::span<const int64_t> ids,
                       std::span<const float> rows) {
    const auto dim = static_cast<size_t>(table.dim);
    int wrong = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const float* row = &table.values[static_cast<size_t>(ids[i]) * dim];
      wrong += std::memcmp(row, &rows[i * dim], dim * 4) == 0 ? 0 : 1;
    }
    return wrong;
  }

  int64_t LookupsAnswered() {
    const auto stats = client_->GetStats();
    EXPECT_TRUE(stats.ok()) << stats.status();
    for (const auto& method : stats->methods()) {
      if (method.method() == "Lookup") {
        return method.ok();
      }
    }
    return 0;
  }

  std::mt19937_64 random_{Seed()};
};

TEST_F(ClientLookupTest, ShapesOfEveryRankComeBackOneRankHigher) {
  const Known table = Make("t", 10, 5);
  for (const std::vector<int64_t>& dims :
       std::vector<std::vector<int64_t>>{{},
                                         {6},
                                         {3, 2},
                                         {1, 3, 1, 2},
                                         {0},
                                         {2, 0, 3},
                                         {1, 1, 1, 1, 1, 1, 1, 1}}) {
    const Shape shape = *Shape::Make(dims, kRankMax);
    const auto ids =
        RandomIds(table, static_cast<size_t>(shape.element_count()));
    const auto rows = client_->Lookup("t", ids, shape);
    ASSERT_TRUE(rows.ok()) << rows.status();
    EXPECT_EQ(rows->shape, *shape.Append(5));
    EXPECT_EQ(WrongRows(table, ids, rows->values), 0);
  }
}

// 12 MB of dim 1000, 70 MB of dim 129, 20 MB of dim 7 and one row of dim 1.
TEST_F(ClientLookupTest, OneLargerThanAMessageIsSplitAndJoinedBitForBit) {
  const std::vector<Known> tables = {Make("a", 50, 1000), Make("b", 3001, 129),
                                     Make("c", 997, 7), Make("d", 1, 1)};
  const std::vector<size_t> counts = {3'001, 135'679, 714'283, 1};
  std::vector<std::vector<int64_t>> ids;
  std::vector<std::vector<float>> out;
  std::vector<LookupItem> items;
  size_t bytes = 0;
  for (size_t i = 0; i < tables.size(); ++i) {
    ids.push_back(RandomIds(tables[i], counts[i]));
    out.emplace_back(counts[i] * static_cast<size_t>(tables[i].dim));
    bytes += out[i].size() * 4;
  }
  for (size_t i = 0; i < tables.size(); ++i) {
    items.push_back(
        {.table = tables[i].name, .uid = {}, .ids = ids[i], .out = out[i]});
  }
  ASSERT_GT(bytes, static_cast<size_t>(kLookupReplyBytesMax));
  const int64_t before = LookupsAnswered();

  const absl::Status status = client_->Lookup(items);

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_GT(LookupsAnswered(), before + 1);
  for (size_t i = 0; i < tables.size(); ++i) {
    EXPECT_EQ(WrongRows(tables[i], ids[i], out[i]), 0) << tables[i].name;
  }
}

TEST_F(ClientLookupTest, MoreIdsThanARequestMayHaveAreSplitToo) {
  const Known table = Make("t", 1000, 1);
  const auto ids = RandomIds(table, kIdsPerRequestMax + 12'345);

  const auto rows = client_->Lookup("t", ids, Shape{std::ssize(ids)});

  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(WrongRows(table, ids, rows->values), 0);
}

TEST_F(ClientLookupTest, ABadIdDeepInALargeLookupIsToldWithItsPlaceInTheWhole) {
  const Known table = Make("t", 100, 1000);
  auto ids = RandomIds(table, 10'000);  // 40 MB
  ids[9'001] = 100;

  const auto rows = client_->Lookup("t", ids, Shape{10'000});

  EXPECT_EQ(ReasonOf(rows.status()), Reason::kIdOutOfRange);
  EXPECT_EQ(FieldOf(rows.status()), "tables[0].ids.ids[9001]");
  EXPECT_THAT(MessageOf(rows.status()), HasSubstr("id 100"));
  EXPECT_THAT(MessageOf(rows.status()), HasSubstr("[0, 100)"));
}

TEST_F(ClientLookupTest, ManyOfManyThreadsAreInFlightAtOnce) {
  const Known table = Make("t", 1000, 33);
  constexpr int kThreads = 4;
  constexpr int kEach = 100;
  constexpr size_t kIds = 50;
  const std::vector<int64_t> ids = RandomIds(table, kThreads * kEach * kIds);
  std::vector<float> out(ids.size() * 33);
  std::atomic<int> failed = 0;
  std::latch done(kThreads * kEach);

  OnThreads(kThreads, [&](int thread) {
    for (size_t i = 0; i < kEach; ++i) {
      const size_t at = (static_cast<size_t>(thread) * kEach + i) * kIds;
      const LookupItem item{.table = "t",
                            .uid = {},
                            .ids = std::span(ids).subspan(at, kIds),
                            .out = std::span(out).subspan(at * 33, kIds * 33)};
      client_->LookupAsync({&item, 1}, {}, [&](absl::Status status) {
        failed += status.ok() ? 0 : 1;
        done.count_down();
      });
      // A blocking call of the same thread, meanwhile.
      const auto row = client_->Lookup("t", std::span(ids).first(1), Shape{});
      failed +=
          row.ok() && WrongRows(table, {&ids[0], 1}, row->values) == 0 ? 0 : 1;
    }
  });
  done.wait();

  EXPECT_EQ(failed, 0);
  EXPECT_EQ(WrongRows(table, ids, out), 0);
}

// --- Deadlines ---

TEST_F(ClientLookupTest, ADeadlineThatHasPassedIsTold) {
  const Known table = Make("t", 10, 5);
  const std::vector<int64_t> ids = {1};
  std::vector<float> out(5);
  const LookupItem item{.table = "t", .uid = {}, .ids = ids, .out = out};

  const absl::Status status =
      client_->Lookup({&item, 1}, {.deadline = absl::Now() - absl::Seconds(1)});

  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ReasonOf(status), Reason::kDeadline);
  EXPECT_TRUE(client_->Lookup({&item, 1}).ok());
}

// A scan of seconds: the client gives up, and so does the server.
TEST_F(ClientLookupTest, ADeadlineThatPassesWhileWaitingEndsTheWorkToo) {
  CreateFlat("large", 300'000, 128, 1);
  v1::NearestRequest request;
  request.mutable_table()->set_name("large");
  request.set_k(10);
  for (int64_t id = 0; id < 1024; ++id) {
    request.add_ids(id);
  }
  const absl::Time start = absl::Now();

  const auto response =
      client_->Nearest(request, {.deadline = start + absl::Milliseconds(100)});

  EXPECT_EQ(ReasonOf(response.status()), Reason::kDeadline)
      << response.status();
  EXPECT_THAT(MessageOf(response.status()), HasSubstr("Nearest"));
  EXPECT_THAT(MessageOf(response.status()), HasSubstr("did not answer within"));
  // The server has stopped: its last count of the method is a failure.
  bool counted = false;
  while (!counted && absl::Now() < start + absl::Seconds(60)) {
    const auto stats = client_->GetStats();
    ASSERT_TRUE(stats.ok()) << stats.status();
    for (const auto& method : stats->methods()) {
      if (method.method() == "Nearest") {
        counted = true;
        EXPECT_EQ(method.failed(), 1);
        EXPECT_EQ(method.ok(), 0);
      }
    }
  }
  EXPECT_TRUE(counted);
}

// --- Rows are never torn ---

TEST_F(ClientLookupTest, EveryColumnOfARowIsEqualWhilePushesGoOn) {
  constexpr int64_t kRows = 64;
  constexpr int64_t kDim = 130;
  CreateFlat("t", kRows, kDim);
  std::vector<int64_t> ids(kRows);
  std::ranges::generate(ids, [i = int64_t{0}]() mutable { return i++; });
  std::atomic<int> pushing = 2;
  std::atomic<int64_t> torn = 0;
  std::atomic<int64_t> looked_up = 0;
  std::atomic<int64_t> errors = 0;

  OnThreads(4, [&](int thread) {
    const auto client = Connect(*server_);
    if (thread < 2) {
      for (int i = 0; i < 1500; ++i) {
        errors += PushFlat(*client, "t", ids, kDim, -1).ok() ? 0 : 1;
      }
      --pushing;
      return;
    }
    while (pushing > 0) {
      const auto rows = client->Lookup("t", ids, Shape{8, 8});
      if (!rows.ok()) {
        ++errors;
        continue;
      }
      ++looked_up;
      for (size_t row = 0; row < kRows; ++row) {
        const float* first = &rows->values[row * kDim];
        torn += std::all_of(first, first + kDim,
                            [first](float value) { return value == *first; })
                    ? 0
                    : 1;
      }
    }
  });

  EXPECT_EQ(errors, 0);
  EXPECT_EQ(torn, 0);
  EXPECT_GT(looked_up, 0);
  const auto rows = client_->Lookup("t", ids, Shape{kRows});
  ASSERT_TRUE(rows.ok());
  EXPECT_THAT(rows->values, ::testing::Each(3000.0f));
}

}  // namespace
}  // namespace quire::testing
