// What an engine with a data directory keeps, and that it is the same bytes.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <numeric>
#include <random>
#include <thread>

#include "base/status.h"
#include "engine/engine.h"
#include "journal/posix_files.h"
#include "main/seed.h"

namespace quire {
namespace {

namespace fs = std::filesystem;

// A directory that is gone with the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (fs::temp_directory_path() / "quire-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() { fs::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(
    const fs::path& path,
    const kernels::Kernels& kernels = kernels::BestKernels(),
    int64_t table_bytes_max = 256 << 20) {
  QUIRE_ASSIGN_OR_RETURN(auto files, journal::OpenDirectory(path.string()));
  QUIRE_ASSIGN_OR_RETURN(auto directory,
                         DataDirectory::Open(std::move(files), {}));
  return Engine::Open({.table_bytes_max = table_bytes_max,
                       .kernels = &kernels,
                       .log = {.segment_bytes = 1 << 16}},
                      std::move(directory));
}

// As kill -9 leaves it: all that has been written, whether synced or not. The
// log prepares segments by itself, and renames them: a copy may miss one.
void CopyAsKilled(const fs::path& from, const fs::path& to) {
  std::error_code error;
  for (int attempt = 0; attempt < 100; ++attempt) {
    fs::remove_all(to);
    fs::copy(from, to, fs::copy_options::recursive, error);
    if (!error) {
      return;
    }
  }
  FAIL() << error.message();
}

std::string Text(const std::vector<float>& floats) {
  return {reinterpret_cast<const char*>(floats.data()),
          floats.size() * sizeof(float)};
}

// All that is to be kept, by table.
std::map<std::string, std::string> StateOf(const Engine& engine) {
  std::map<std::string, std::string> state;
  for (const TableHandle& table : engine.List()) {
    v1::Table description = engine.Describe(*table);
    description.clear_stats();
    std::vector<int64_t> ids(
        static_cast<size_t>(table->rows().config().num_embeddings));
    std::iota(ids.begin(), ids.end(), 0);
    const auto floats = [&](int64_t columns) {
      return std::vector<float>(ids.size() * static_cast<size_t>(columns));
    };
    std::vector<float> values = floats(table->dim());
    std::vector<float> optimizer = floats(table->rows().state_floats());
    table->rows().ReadRows(ids, values.data(), optimizer.data());
    std::string& all = state[table->name()];
    all = description.DebugString() + Text(values) + Text(optimizer);
    for (const std::string& label : table->labels().Get(ids)) {
      all += label + "\n";
    }
  }
  return state;
}

v1::TableSpec Spec(const std::string& name, int64_t rows, int64_t dim) {
  v1::TableSpec spec;
  spec.set_name(name);
  spec.set_num_embeddings(rows);
  spec.set_embedding_dim(dim);
  spec.set_shard_count(4);
  return spec;
}

// Does what users do, in a random order.
class Life {
 public:
  //   names  of the tables that it makes
  Life(Engine& engine, uint64_t seed, std::string names)
      : engine_(engine), random_(seed), names_(std::move(names)) {}

  void Step() {
    const size_t table_count = engine_.List().size();
    const uint64_t what = random_() % 100;
    if (table_count == 0 || (what < 5 && table_count < 6)) {
      Create();
    } else if (what < 8) {
      Drop();
    } else if (what < 14) {
      Alter();
    } else if (what < 20) {
      WriteRows();
    } else if (what < 26) {
      SetLabels();
    } else if (what < 30 && table_count < 6) {
      Import(/*is_finished=*/random_() % 3 != 0);
    } else if (what < 34) {
      sessions_.push_back(*engine_.OpenSession());
    } else if (what < 35) {
      const auto made = engine_.CreateSnapshot();
      EXPECT_TRUE(made.ok()) << made.status();
    } else if (what < 37 && !sessions_.empty()) {
      EXPECT_TRUE(engine_.CloseSession(sessions_.back()).ok());
      sessions_.pop_back();
    } else {
      Push();
    }
  }

 private:
  int64_t Below(int64_t bound) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound));
  }
  std::vector<float> Floats(int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> floats(static_cast<size_t>(count));
    std::ranges::generate(floats, [&] { return normal(random_); });
    return floats;
  }
  std::vector<int64_t> Ids(const LiveTable& table, int64_t count) {
    std::vector<int64_t> ids(static_cast<size_t>(count));
    std::ranges::generate(
        ids, [&] { return Below(table.rows().config().num_embeddings); });
    return ids;
  }
  TableHandle AnyTable() {
    const std::vector<TableHandle> tables = engine_.List();
    return tables[static_cast<size_t>(Below(std::ssize(tables)))];
  }

  v1::TableSpec AnySpec() {
    v1::TableSpec spec = Spec(names_ + std::to_string(table_count_++),
                              1 + Below(50), 1 + Below(20));
    v1::Optimizer& optimizer = *spec.mutable_optimizer();
    optimizer.set_learning_rate(0.1);
    switch (random_() % 8) {
      case 0:
        optimizer.mutable_sgd()->set_momentum(0.9);
        break;
      case 1:
        optimizer.mutable_adagrad()->set_initial_accumulator_value(0.1);
        break;
      case 2:
        optimizer.mutable_adam()->set_amsgrad(true);
        break;
      case 3:
        optimizer.mutable_adam()->set_scope(v1::SCOPE_ALL);
        break;
      case 4:
        optimizer.mutable_rowwise_adagrad();
        break;
      case 5:
        optimizer.mutable_lamb();
        break;
      case 6:
        optimizer.mutable_ftrl();
        break;
      default:
        spec.set_max_norm(2.0);
        break;
    }
    if (random_() % 3 == 0) {
      spec.set_padding_idx(0);
    }
    return spec;
  }

  void Create() {
    const auto created = engine_.CreateTable(AnySpec(), v1::IF_EXISTS_ERROR);
    EXPECT_TRUE(created.ok()) << created.status();
  }
  void Drop() { EXPECT_TRUE(engine_.DropTable(AnyTable()->name(), {}).ok()); }
  void Alter() {
    const TableHandle table = AnyTable();
    Sequencer::Alteration alteration = {.learning_rate = 0.01 * (1 + Below(9))};
    if (random_() % 4 == 0) {
      alteration.default_durability = v1::DURABILITY_SYNCED;
    }
    EXPECT_TRUE(engine_.AlterTable(*table, alteration).ok());
  }
  void WriteRows() {
    const TableHandle table = AnyTable();
    std::vector<int64_t> ids = Ids(*table, 5);
    std::ranges::sort(ids);
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    const int64_t state_floats = table->rows().state_floats();
    std::vector<float> state;
    if (random_() % 2 == 0) {
      state.assign(ids.size() * static_cast<size_t>(state_floats), 0.25f);
    }
    EXPECT_TRUE(engine_
                    .WriteRows(*table, ids,
                               Floats(std::ssize(ids) * table->dim()), state)
                    .ok());
  }
  void SetLabels() {
    const TableHandle table = AnyTable();
    const std::vector<int64_t> ids = Ids(*table, 4);
    const std::vector<std::string_view> labels = {"king", "", "queen", "king"};
    EXPECT_TRUE(engine_.SetLabels(*table, ids, labels).ok());
  }
  void Import(bool is_finished) {
    const v1::TableSpec spec = AnySpec();
    auto import = engine_.BeginImport(spec, /*step=*/Below(1000));
    ASSERT_TRUE(import.ok()) << import.status();
    const int64_t rows = spec.num_embeddings();
    const int64_t half = rows / 2;
    const bool has_state = random_() % 2 == 0;
    for (const int64_t count : {half, rows - half}) {
      const std::vector<std::string_view> labels(static_cast<size_t>(count),
                                                 "label");
      std::vector<float> state;
      if (has_state) {
        state = Floats(count * (*import)->table().rows().state_floats());
      }
      ASSERT_TRUE(
          (*import)
              ->Write(Floats(count * spec.embedding_dim()), state, labels)
              .ok());
    }
    if (is_finished) {
      ASSERT_TRUE((*import)->Publish().ok());
    }
  }
  void Push() {
    const std::vector<TableHandle> tables = {AnyTable(), AnyTable()};
    const size_t part_count = 1 + random_() % 2;
    std::vector<std::vector<int64_t>> ids;
    std::vector<std::vector<float>> gradients;
    std::vector<Bytes> bytes;
    std::vector<std::vector<int64_t>> offsets;
    for (size_t i = 0; i < part_count; ++i) {
      ids.push_back(Ids(*tables[i], Below(40)));
      const int64_t n = std::ssize(ids[i]);
      offsets.push_back({0, n / 3, n / 3, n});
      gradients.push_back(Floats(std::max<int64_t>(n, 3) * tables[i]->dim()));
    }
    std::vector<PushPart> parts;
    bytes.reserve(part_count);
    for (size_t i = 0; i < part_count; ++i) {
      const bool has_bags = random_() % 3 == 0;
      const int64_t rows = has_bags ? 3 : std::ssize(ids[i]);
      bytes.push_back(std::as_bytes(
          std::span(gradients[i])
              .first(static_cast<size_t>(rows * tables[i]->dim()))));
      parts.push_back(
          {.table = tables[i], .ids = ids[i], .gradient = ByteRange(bytes[i])});
      if (has_bags) {
        parts.back().bags = {.pooling = Pooling::kMean, .offsets = offsets[i]};
      }
      if (random_() % 3 == 0) {
        parts.back().gradient_scale = 0.5;
      }
      if (part_count == 1 && random_() % 3 == 0) {
        parts.back().learning_rate = 0.3;
      }
    }
    const auto pushed = engine_.ApplyGradient(
        {.parts = parts,
         .min_durability = random_() % 8 == 0 ? v1::DURABILITY_SYNCED
                                              : v1::DURABILITY_UNSPECIFIED});
    EXPECT_TRUE(pushed.ok()) << pushed.status();
  }

  Engine& engine_;
  std::mt19937_64 random_;
  const std::string names_;
  int table_count_ = 0;
  std::vector<SessionId> sessions_;
};

class DurabilityTest : public ::testing::Test {
 protected:
  TableHandle Make(Engine& engine, const v1::TableSpec& spec) {
    const auto created = engine.CreateTable(spec, v1::IF_EXISTS_ERROR);
    EXPECT_TRUE(created.ok()) << created.status();
    return created->table;
  }

  // Adds -1 to all of the row `id`, by a learning rate of 1.
  static absl::StatusOr<PushOutcome> Push(
      Engine& engine, const TableHandle& table, int64_t id,
      const std::optional<PushId>& name = {},
      v1::Durability durability = v1::DURABILITY_UNSPECIFIED) {
    const std::vector<float> ones(static_cast<size_t>(table->dim()), 1.0f);
    const Bytes bytes = std::as_bytes(std::span(ones));
    const PushPart part = {.table = table,
                           .ids = {&id, 1},
                           .gradient = ByteRange(bytes),
                           .learning_rate = 1.0};
    return engine.ApplyGradient(quire::Push{
        .parts = {&part, 1}, .id = name, .min_durability = durability});
  }

  static float ValueOf(const TableHandle& table, int64_t id) {
    std::vector<float> row(static_cast<size_t>(table->dim()));
    table->Lookup({&id, 1}, reinterpret_cast<std::byte*>(row.data()));
    return row[0];
  }

  static v1::TableSpec ZerosSpec(const std::string& name) {
    v1::TableSpec spec = Spec(name, 10, 4);
    spec.mutable_initializer()->mutable_zeros();
    return spec;
  }

  static v1::TableSpec MemorySpec(v1::TableSpec spec) {
    spec.set_persistence(v1::PERSISTENCE_MEMORY);
    return spec;
  }
  static std::chrono::steady_clock::time_point Soon() {
    return std::chrono::steady_clock::now() + std::chrono::minutes(1);
  }

  TemporaryDirectory directory_;
};

TEST_F(DurabilityTest, WhatAnyHistoryMadeIsThereAgainByteForByte) {
  for (uint64_t life_number = 0; life_number < 6; ++life_number) {
    const fs::path path = directory_ / ("life" + std::to_string(life_number));
    uint64_t seed = testing::Seed() + life_number;
    for (int start = 0; start < 4; ++start) {
      std::map<std::string, std::string> expected;
      const fs::path killed = path.string() + "-killed";
      {
        auto engine = OpenEngine(path);
        ASSERT_TRUE(engine.ok()) << engine.status();
        Life life(**engine, seed++ * 1000,
                  std::string(1, static_cast<char>('a' + start)));
        for (int step = 0; step < 60; ++step) {
          life.Step();
        }
        expected = StateOf(**engine);
        CopyAsKilled(path, killed);
      }
      for (const kernels::Kernels* kernels :
           {&kernels::BestKernels(), &kernels::ScalarKernels()}) {
        auto again = OpenEngine(killed, *kernels);
        ASSERT_TRUE(again.ok()) << again.status();
        EXPECT_TRUE(StateOf(**again) == expected)
            << "killed, " << kernels->name;
      }
      auto stopped = OpenEngine(path);
      ASSERT_TRUE(stopped.ok()) << stopped.status();
      EXPECT_TRUE(StateOf(**stopped) == expected) << "stopped";
      fs::remove_all(killed);
    }
  }
}

TEST_F(DurabilityTest, AnAcknowledgementSaysWhereAndHowSafe) {
  auto engine = OpenEngine(directory_ / "data");
  ASSERT_TRUE(engine.ok()) << engine.status();
  const TableHandle table = Make(**engine, ZerosSpec("t"));
  const auto written = Push(**engine, table, 1);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->reached, v1::DURABILITY_WRITTEN);
  const auto synced = Push(**engine, table, 1, {}, v1::DURABILITY_SYNCED);
  ASSERT_TRUE(synced.ok()) << synced.status();
  EXPECT_EQ(synced->reached, v1::DURABILITY_SYNCED);
  EXPECT_EQ(synced->lsn, written->lsn + 1);
  EXPECT_GE((*engine)->log()->synced_lsn(), synced->lsn);
  // Less than the table gives is no wish.
  EXPECT_EQ(Push(**engine, table, 1, {}, v1::DURABILITY_MEMORY)->reached,
            v1::DURABILITY_WRITTEN);
  EXPECT_EQ(
      ReasonOf(
          Push(**engine, table, 1, {}, v1::DURABILITY_REPLICATED).status()),
      Reason::kUnsupportedDurability);
  ASSERT_TRUE(
      (*engine)
          ->AlterTable(*table, {.default_durability = v1::DURABILITY_SYNCED})
          .ok());
  EXPECT_EQ(Push(**engine, table, 1)->reached, v1::DURABILITY_SYNCED);
  EXPECT_EQ(ValueOf(table, 1), -4.0f);
}

TEST_F(DurabilityTest, AMemoryTableThatWasNeverSavedHasItsInitialRowsAgain) {
  const fs::path path = directory_ / "data";
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    v1::TableSpec spec = ZerosSpec("memory");
    spec.set_persistence(v1::PERSISTENCE_MEMORY);
    const TableHandle table = Make(**engine, spec);
    const auto pushed = Push(**engine, table, 1);
    EXPECT_EQ(pushed->reached, v1::DURABILITY_MEMORY);
    EXPECT_EQ(pushed->lsn, 0u);
    EXPECT_EQ(ValueOf(table, 1), -1.0f);
  }
  auto again = OpenEngine(path);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ValueOf(*(*again)->Find("memory"), 1), 0.0f);
}

TEST_F(DurabilityTest, AnEndInGoodOrderSavesMemoryTables) {
  const fs::path path = directory_ / "data";
  PushId name;
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const TableHandle table = Make(**engine, MemorySpec(ZerosSpec("memory")));
    const std::vector<int64_t> ids = {3};
    const std::vector<std::string_view> labels = {"king"};
    ASSERT_TRUE((*engine)->SetLabels(*table, ids, labels).ok());
    name = {.session = *(*engine)->OpenSession(), .sequence = 1, .hash = 42};
    ASSERT_TRUE(Push(**engine, table, 1, name).ok());
    ASSERT_TRUE((*engine)->AlterTable(*table, {.learning_rate = 0.5}).ok());
    EXPECT_EQ((*engine)->Describe(*table).saved_unix_seconds(), 0);

    EXPECT_TRUE((*engine)->SaveMemoryTables(Soon()).ok());

    EXPECT_GT((*engine)->Describe(*table).saved_unix_seconds(), 0);
  }
  for (int start = 0; start < 2; ++start) {
    auto again = OpenEngine(path);
    ASSERT_TRUE(again.ok()) << again.status();
    const TableHandle table = *(*again)->Find("memory");
    EXPECT_EQ(ValueOf(table, 1), -1.0f);
    EXPECT_EQ(table->labels().Find("king"), 3);
    const v1::Table description = (*again)->Describe(*table);
    EXPECT_EQ(description.step(), 1);
    EXPECT_EQ(description.spec().optimizer().learning_rate(), 0.5);
    EXPECT_GT(description.saved_unix_seconds(), 0);
    // What was pushed before is known, too.
    const auto repeated = Push(**again, table, 1, name);
    ASSERT_TRUE(repeated.ok()) << repeated.status();
    EXPECT_TRUE(repeated->is_duplicate);
    // Nothing to save: the save that there is stays.
    EXPECT_TRUE((*again)->SaveMemoryTables(Soon()).ok());
  }
}

TEST_F(DurabilityTest, ASaveThatDoesNotFitTheTimeLeavesTheOneBefore) {
  const fs::path path = directory_ / "data";
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const TableHandle table = Make(**engine, MemorySpec(ZerosSpec("memory")));
    ASSERT_TRUE(Push(**engine, table, 1).ok());
    ASSERT_TRUE((*engine)->CreateSnapshot().ok());
    ASSERT_TRUE(Push(**engine, table, 1).ok());
    EXPECT_EQ(ReasonOf((*engine)->SaveMemoryTables(
                  std::chrono::steady_clock::time_point::min())),
              Reason::kStopping);
  }
  auto again = OpenEngine(path);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ValueOf(*(*again)->Find("memory"), 1), -1.0f);
}

// The snapshot, which has no rows of it, knew how many steps they had taken.
TEST_F(DurabilityTest, AMemoryTableWhoseSaveIsGoneIsAtItsFirstStepAgain) {
  const fs::path path = directory_ / "data";
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const TableHandle table = Make(**engine, MemorySpec(ZerosSpec("memory")));
    ASSERT_TRUE(Push(**engine, table, 1).ok());
    ASSERT_TRUE((*engine)->CreateSnapshot().ok());
  }
  fs::remove_all(path / "memory");
  auto again = OpenEngine(path);
  ASSERT_TRUE(again.ok()) << again.status();
  const TableHandle table = *(*again)->Find("memory");
  EXPECT_EQ(ValueOf(table, 1), 0.0f);
  EXPECT_EQ((*again)->Describe(*table).step(), 0);
}

TEST_F(DurabilityTest, ADamagedSaveIsPassedOverAndSaid) {
  const fs::path path = directory_ / "data";
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const TableHandle table = Make(**engine, MemorySpec(ZerosSpec("memory")));
    ASSERT_TRUE(Push(**engine, table, 1).ok());
    ASSERT_TRUE((*engine)->SaveMemoryTables(Soon()).ok());
  }
  for (const auto& save : fs::directory_iterator(path / "memory")) {
    std::fstream bytes(save.path() / "00000000.chunks",
                       std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(100);
    bytes.put('?');
  }
  auto again = OpenEngine(path);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->damaged_snapshots().size(), 1u);
  TableHandle table = *(*again)->Find("memory");
  EXPECT_EQ(ValueOf(table, 1), 0.0f);
  EXPECT_EQ((*again)->Describe(*table).step(), 0);
  // And one takes its place.
  ASSERT_TRUE(Push(**again, table, 1).ok());
  ASSERT_TRUE((*again)->SaveMemoryTables(Soon()).ok());
  table.reset();
  again->reset();
  again = OpenEngine(path);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ValueOf(*(*again)->Find("memory"), 1), -1.0f);
}

// Writers push a gradient of 1 to all rows of a MEMORY table, over and over;
// what a save has is the same number of pushes everywhere: in each row, in each
// row's optimizer state, and in the step. Also where memory has room for few of
// the copies that this takes.
TEST_F(DurabilityTest, ASaveOfABusyMemoryTableIsOfOnePoint) {
  constexpr int64_t kRows = 2 * 4 * 128;  // 4 chunks in each of two shards
  constexpr int64_t kDim = 1024;
  constexpr int64_t kTableBytes = 2 * kRows * kDim * sizeof(float);
  for (const int64_t spare_bytes : {64 << 20, 3 << 20, 0}) {
    const fs::path path = directory_ / std::to_string(spare_bytes);
    const fs::path killed = path.string() + "-killed";
    auto engine =
        OpenEngine(path, kernels::BestKernels(), kTableBytes + spare_bytes);
    ASSERT_TRUE(engine.ok()) << engine.status();
    v1::TableSpec spec = MemorySpec(Spec("memory", kRows, kDim));
    spec.set_shard_count(2);
    spec.mutable_optimizer()->mutable_adagrad();
    spec.mutable_initializer()->mutable_zeros();
    const TableHandle table = Make(**engine, spec);
    EXPECT_EQ(table->rows().shard(ShardId{0}).chunk_count(), 4);
    while (!table->ready()) {
      std::this_thread::yield();
    }
    std::vector<int64_t> ids(kRows);
    std::iota(ids.begin(), ids.end(), 0);
    const std::vector<float> ones(kRows * kDim, 1.0f);
    const Bytes bytes = std::as_bytes(std::span(ones));
    const PushPart part = {
        .table = table, .ids = ids, .gradient = ByteRange(bytes)};
    std::atomic<bool> is_over = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        while (!is_over) {
          ASSERT_TRUE(
              (*engine)->ApplyGradient(quire::Push{.parts = {&part, 1}}).ok());
        }
      });
    }
    int64_t last_step = 0;
    for (int save = 0; save < 3; ++save) {
      // Some pushes later.
      const int64_t step = (*engine)->Describe(*table).step();
      while ((*engine)->Describe(*table).step() < step + 3) {
        std::this_thread::yield();
      }
      const auto made = (*engine)->CreateSnapshot();
      ASSERT_TRUE(made.ok()) << made.status();
      CopyAsKilled(path, killed);
      auto again = OpenEngine(killed);
      ASSERT_TRUE(again.ok()) << again.status();
      const TableHandle saved = *(*again)->Find("memory");
      const int64_t saved_step = (*again)->Describe(*saved).step();
      EXPECT_GT(saved_step, last_step);
      last_step = saved_step;
      std::vector<float> values(ones.size());
      std::vector<float> state(ones.size());
      saved->rows().ReadRows(ids, values.data(), state.data());
      // Adagrad adds the square of the gradient.
      EXPECT_TRUE(std::ranges::all_of(state, [&](float sum) {
        return sum == static_cast<float>(saved_step);
      })) << spare_bytes;
      EXPECT_TRUE(std::ranges::all_of(values, [&](float value) {
        return value == values[0] && value < 0;
      })) << spare_bytes;
    }
    is_over = true;
    for (std::thread& thread : threads) {
      thread.join();
    }
    EXPECT_EQ((*engine)->table_memory().bytes_used(), kTableBytes);
  }
}

TEST_F(DurabilityTest, AMemoryTableAndALoggedOneAreNotPushedTogether) {
  auto engine = OpenEngine(directory_ / "data");
  ASSERT_TRUE(engine.ok()) << engine.status();
  v1::TableSpec spec = ZerosSpec("memory");
  spec.set_persistence(v1::PERSISTENCE_MEMORY);
  const TableHandle memory = Make(**engine, spec);
  const TableHandle logged = Make(**engine, ZerosSpec("logged"));
  const int64_t id = 1;
  const std::vector<float> ones(4, 1.0f);
  const Bytes bytes = std::as_bytes(std::span(ones));
  const std::vector<PushPart> parts = {
      {.table = memory, .ids = {&id, 1}, .gradient = ByteRange(bytes)},
      {.table = logged, .ids = {&id, 1}, .gradient = ByteRange(bytes)}};
  const absl::Status refused =
      (*engine)->ApplyGradient(quire::Push{.parts = parts}).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kUnsupportedDurability) << refused;
  EXPECT_EQ(FieldOf(refused), "tables[1].table.name");
  EXPECT_EQ(ValueOf(memory, 1), 0.0f);
  EXPECT_EQ(ValueOf(logged, 1), 0.0f);
}

TEST_F(DurabilityTest, APushThatComesAgainIsAppliedOnceAlsoAfterAKill) {
  const fs::path path = directory_ / "data";
  const fs::path killed = directory_ / "killed";
  PushId name;
  uint64_t lsn = 0;
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const TableHandle table = Make(**engine, ZerosSpec("t"));
    name = {.session = *(*engine)->OpenSession(), .sequence = 1, .hash = 42};
    const auto first = Push(**engine, table, 1, name);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_FALSE(first->is_duplicate);
    lsn = first->lsn;
    const auto again = Push(**engine, table, 1, name);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(again->is_duplicate);
    EXPECT_EQ(again->lsn, lsn);
    EXPECT_EQ(ValueOf(table, 1), -1.0f);
    CopyAsKilled(path, killed);
  }
  auto engine = OpenEngine(killed);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const TableHandle table = *(*engine)->Find("t");
  const auto again = Push(**engine, table, 1, name, v1::DURABILITY_SYNCED);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->is_duplicate);
  EXPECT_EQ(again->lsn, lsn);
  EXPECT_EQ(again->reached, v1::DURABILITY_SYNCED);
  EXPECT_EQ(ValueOf(table, 1), -1.0f);

  name.hash = 43;
  EXPECT_EQ(ReasonOf(Push(**engine, table, 1, name).status()),
            Reason::kSequenceReused);
  // It is known also where the push itself would be refused now.
  name.hash = 42;
  ASSERT_TRUE((*engine)->AlterTable(*table, {.frozen = true}).ok());
  EXPECT_TRUE(Push(**engine, table, 1, name)->is_duplicate);
  EXPECT_EQ(*(*engine)->WasPushed(name), true);

  ASSERT_TRUE((*engine)->CloseSession(name.session).ok());
  EXPECT_EQ(ReasonOf(Push(**engine, table, 1, name).status()),
            Reason::kSessionExpired);
  EXPECT_EQ(ReasonOf((*engine)->CloseSession(name.session)),
            Reason::kSessionExpired);
}

// A refused push does not use up its number.
TEST_F(DurabilityTest, ARefusedPushMayComeAgainWithItsNumber) {
  auto engine = OpenEngine(directory_ / "data");
  ASSERT_TRUE(engine.ok()) << engine.status();
  const TableHandle table = Make(**engine, ZerosSpec("t"));
  const PushId name = {
      .session = *(*engine)->OpenSession(), .sequence = 1, .hash = 42};
  ASSERT_TRUE((*engine)->AlterTable(*table, {.frozen = true}).ok());
  EXPECT_EQ(ReasonOf(Push(**engine, table, 1, name).status()),
            Reason::kTableFrozen);
  ASSERT_TRUE((*engine)->AlterTable(*table, {.frozen = false}).ok());
  const auto pushed = Push(**engine, table, 1, name);
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_FALSE(pushed->is_duplicate);
}

// Of several that carry one name at once, one is applied and all are told so.
TEST_F(DurabilityTest, OfPushesOfOneNameOneIsApplied) {
  for (const bool has_log : {true, false}) {
    std::unique_ptr<Engine> engine;
    if (has_log) {
      auto opened = OpenEngine(directory_ / "data");
      ASSERT_TRUE(opened.ok()) << opened.status();
      engine = *std::move(opened);
    } else {
      engine = std::make_unique<Engine>(EngineOptions{});
    }
    const TableHandle table = Make(*engine, ZerosSpec("t"));
    const SessionId session = *engine->OpenSession();
    constexpr uint64_t kPushes = 200;
    std::atomic<int> fresh = 0;
    std::atomic<int> repeated = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (uint64_t sequence = 1; sequence <= kPushes; ++sequence) {
          const auto pushed =
              Push(*engine, table, 1,
                   PushId{.session = session, .sequence = sequence});
          ASSERT_TRUE(pushed.ok()) << pushed.status();
          ++(pushed->is_duplicate ? repeated : fresh);
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    EXPECT_EQ(fresh, static_cast<int>(kPushes));
    EXPECT_EQ(repeated, static_cast<int>(3 * kPushes));
    EXPECT_EQ(ValueOf(table, 1), -static_cast<float>(kPushes));
  }
}

// Pushes to tables that overlap, from many threads, WRITTEN and SYNCED mixed:
// the order in the log is the order in memory, or replay would differ.
TEST_F(DurabilityTest, ConcurrentPushesAreReplayedToTheSameBytes) {
  const fs::path path = directory_ / "data";
  std::map<std::string, std::string> expected;
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    std::vector<TableHandle> tables;
    for (const char* name : {"a", "b", "c"}) {
      v1::TableSpec spec = Spec(name, 30, 8);
      spec.mutable_optimizer()->mutable_adam();
      tables.push_back(Make(**engine, spec));
    }
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(testing::Seed() + t);
        std::normal_distribution<float> normal;
        for (int push = 0; push < 150; ++push) {
          std::vector<int64_t> ids(20);
          std::ranges::generate(
              ids, [&] { return static_cast<int64_t>(random() % 30); });
          std::vector<float> gradient(20 * 8);
          std::ranges::generate(gradient, [&] { return normal(random); });
          const Bytes bytes = std::as_bytes(std::span(gradient));
          const size_t first = random() % 3;
          std::vector<PushPart> parts = {{.table = tables[first],
                                          .ids = ids,
                                          .gradient = ByteRange(bytes)}};
          if (random() % 2 == 0) {
            parts.push_back({.table = tables[(first + 1) % 3],
                             .ids = ids,
                             .gradient = ByteRange(bytes)});
          }
          const auto pushed = (*engine)->ApplyGradient(
              {.parts = parts,
               .min_durability = random() % 10 == 0
                                     ? v1::DURABILITY_SYNCED
                                     : v1::DURABILITY_UNSPECIFIED});
          ASSERT_TRUE(pushed.ok()) << pushed.status();
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    expected = StateOf(**engine);
  }
  auto again = OpenEngine(path);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(StateOf(**again) == expected);
}

// Snapshots are made one after the other while pushes go on: chunks have
// different LSNs, and no change is taken twice by any row, or not at all.
TEST_F(DurabilityTest, ASnapshotOfABusyEngineAndTheLogSinceMakeTheSameBytes) {
  const fs::path path = directory_ / "data";
  const fs::path killed = directory_ / "killed";
  std::map<std::string, std::string> expected;
  uint64_t newest = 0;
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    std::vector<TableHandle> tables;
    for (const char* name : {"a", "b"}) {
      // 8 chunks in each of four shards.
      v1::TableSpec spec = Spec(name, 4 * 8 * 128, 1024);
      spec.mutable_optimizer()->mutable_adagrad();
      spec.mutable_initializer()->mutable_zeros();
      tables.push_back(Make(**engine, spec));
      EXPECT_EQ(tables.back()->rows().shard(ShardId{0}).chunk_count(), 8);
    }
    std::atomic<bool> is_over = false;
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(testing::Seed() + t);
        std::vector<float> gradient(64 * 1024);
        while (!is_over) {
          std::vector<int64_t> ids(64);
          std::ranges::generate(
              ids, [&] { return static_cast<int64_t>(random() % 4096); });
          std::ranges::generate(gradient, [&] {
            return static_cast<float>(random() % 100) - 50.0f;
          });
          const Bytes bytes = std::as_bytes(std::span(gradient));
          std::vector<PushPart> parts;
          for (const TableHandle& table : tables) {
            parts.push_back(
                {.table = table, .ids = ids, .gradient = ByteRange(bytes)});
          }
          ASSERT_TRUE(
              (*engine)->ApplyGradient(quire::Push{.parts = parts}).ok());
          const std::vector<std::string_view> labels = {"x", "y"};
          ASSERT_TRUE(
              (*engine)
                  ->SetLabels(*tables[0], std::span(ids).first(2), labels)
                  .ok());
        }
      });
    }
    for (int i = 0; i < 4; ++i) {
      const auto made = (*engine)->CreateSnapshot();
      ASSERT_TRUE(made.ok()) << made.status();
      EXPECT_GT(*made, newest);
      newest = *made;
    }
    is_over = true;
    for (std::thread& thread : threads) {
      thread.join();
    }
    EXPECT_GT((*engine)->log()->first_lsn(), 1u) << "the log is cut behind";
    expected = StateOf(**engine);
    CopyAsKilled(path, killed);
  }
  auto again = OpenEngine(killed);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->snapshots()->newest_lsn(), newest);
  EXPECT_TRUE(StateOf(**again) == expected);
  again->reset();

  // The newest is damaged: the one before it, and a longer log.
  std::vector<fs::path> snapshots;
  for (const auto& entry : fs::directory_iterator(killed / "snapshots")) {
    snapshots.push_back(entry.path());
  }
  ASSERT_EQ(snapshots.size(), 2u);
  std::ranges::sort(snapshots);
  const auto damage = [](const fs::path& snapshot) {
    const fs::path file = snapshot / "00000000.chunks";
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(fs::file_size(file) / 2));
    bytes.put('?');
  };
  damage(snapshots[1]);
  again = OpenEngine(killed);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->damaged_snapshots().size(), 1u);
  EXPECT_LT((*again)->snapshots()->newest_lsn(), newest);
  EXPECT_TRUE(StateOf(**again) == expected);
  // And one takes the place of the damaged one.
  EXPECT_TRUE((*again)->CreateSnapshot().ok());
  again->reset();

  for (const auto& entry : fs::directory_iterator(killed / "snapshots")) {
    damage(entry.path());
  }
  const absl::Status refused = OpenEngine(killed).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kCorrupt) << refused;
}

// What was never changed is not written, and comes back from the initialiser:
// of a new table nothing, later the chunks with changes.
TEST_F(DurabilityTest, ASnapshotHasOnlyWhatWasEverChanged) {
  const fs::path path = directory_ / "data";
  const fs::path killed = directory_ / "killed";
  const auto snapshot_bytes = [&path](uint64_t lsn) {
    uintmax_t bytes = 0;
    const std::string name = fmt::format("{:016x}", lsn);
    for (const auto& file : fs::directory_iterator(path / "snapshots" / name)) {
      bytes += file.file_size();
    }
    return bytes;
  };
  auto engine = OpenEngine(path);
  ASSERT_TRUE(engine.ok()) << engine.status();
  // 8 chunks in each of four shards, with state.
  v1::TableSpec spec = Spec("t", 4 * 8 * 128, 1024);
  spec.set_padding_idx(7);
  spec.mutable_optimizer()->mutable_adagrad()->set_initial_accumulator_value(
      0.5);
  TableHandle table = Make(**engine, spec);
  while (!table->ready()) {
    std::this_thread::yield();
  }

  const auto expect_recovered = [&] {
    const std::map<std::string, std::string> expected = StateOf(**engine);
    CopyAsKilled(path, killed);
    auto again = OpenEngine(killed);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(StateOf(**again) == expected);
  };
  const auto fresh = (*engine)->CreateSnapshot();
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  EXPECT_LT(snapshot_bytes(*fresh), 4096u);
  expect_recovered();
  ASSERT_TRUE(Push(**engine, table, 5).ok());
  expect_recovered();
  ASSERT_TRUE(Push(**engine, table, 4 * 8 * 128 - 1).ok());
  const auto changed = (*engine)->CreateSnapshot();
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_GT(snapshot_bytes(*changed), uintmax_t{2} << 20);
  EXPECT_LT(snapshot_bytes(*changed), uintmax_t{3} << 20);
  expect_recovered();
  // And those of a start that has loaded some chunks are not lost.
  table.reset();
  engine->reset();
  engine = OpenEngine(killed);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const TableHandle again = *(*engine)->Find("t");
  ASSERT_TRUE(Push(**engine, again, 2000).ok());
  ASSERT_TRUE((*engine)->CreateSnapshot().ok());
  CopyAsKilled(killed, path);
  const std::map<std::string, std::string> expected = StateOf(**engine);
  auto last = OpenEngine(path);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_TRUE(StateOf(**last) == expected);
}

// A chunk of an import that is not written yet is zeros, not initial rows.
TEST_F(DurabilityTest, AnImportGoesThroughASnapshotThatLacksItsRows) {
  const fs::path path = directory_ / "data";
  const fs::path killed = directory_ / "killed";
  auto engine = OpenEngine(path);
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto import = (*engine)->BeginImport(Spec("t", 4 * 2 * 256, 1024));
  ASSERT_TRUE(import.ok()) << import.status();
  const std::vector<float> half(1024 * 1024, 1.0f);
  ASSERT_TRUE((*import)->Write(half, {}, {}).ok());
  ASSERT_TRUE((*engine)->CreateSnapshot().ok());
  ASSERT_TRUE((*import)->Write(half, {}, {}).ok());
  ASSERT_TRUE((*import)->Publish().ok());
  const std::map<std::string, std::string> expected = StateOf(**engine);
  CopyAsKilled(path, killed);
  auto again = OpenEngine(killed);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(StateOf(**again) == expected);
}

TEST_F(DurabilityTest, SessionsAreInSnapshots) {
  const fs::path path = directory_ / "data";
  PushId name;
  uint64_t lsn = 0;
  {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const TableHandle table = Make(**engine, ZerosSpec("t"));
    name = {.session = *(*engine)->OpenSession(), .sequence = 5, .hash = 42};
    lsn = Push(**engine, table, 1, name)->lsn;
    ASSERT_TRUE((*engine)->CreateSnapshot().ok());
  }
  auto engine = OpenEngine(path);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const TableHandle table = *(*engine)->Find("t");
  const auto again = Push(**engine, table, 1, name);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->is_duplicate);
  EXPECT_EQ(again->lsn, lsn);
  EXPECT_EQ(ValueOf(table, 1), -1.0f);
  name.sequence = 4;
  EXPECT_FALSE(Push(**engine, table, 1, name)->is_duplicate);
}

// An import that had begun before the snapshot, and ended after it.
TEST_F(DurabilityTest, AnImportGoesThroughASnapshot) {
  const fs::path path = directory_ / "data";
  const fs::path killed = directory_ / "killed";
  for (const bool is_published : {true, false}) {
    auto engine = OpenEngine(path);
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto import = (*engine)->BeginImport(
        ZerosSpec(is_published ? "published" : "given-up"));
    ASSERT_TRUE(import.ok()) << import.status();
    ASSERT_TRUE((*import)->Write(std::vector<float>(5 * 4, 1.0f), {}, {}).ok());
    ASSERT_TRUE((*engine)->CreateSnapshot().ok());
    ASSERT_TRUE((*import)->Write(std::vector<float>(5 * 4, 2.0f), {}, {}).ok());
    if (is_published) {
      ASSERT_TRUE((*import)->Publish().ok());
    }
    CopyAsKilled(path, killed);
    import->reset();

    auto again = OpenEngine(killed);
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ((*again)->List().size(), 1u);
    const TableHandle table = (*again)->List()[0];
    EXPECT_EQ(table->name(), "published");
    EXPECT_EQ(ValueOf(table, 0), 1.0f);
    EXPECT_EQ(ValueOf(table, 9), 2.0f);
  }
}

// In the log, in a snapshot, and before a snapshot that has the table's rows.
TEST_F(DurabilityTest, AnImportBringsItsStateAndItsSteps) {
  const fs::path path = directory_ / "data";
  const fs::path killed = directory_ / "killed";
  auto engine = OpenEngine(path);
  ASSERT_TRUE(engine.ok()) << engine.status();
  v1::TableSpec spec = ZerosSpec("t");
  spec.mutable_optimizer()->mutable_adam();
  auto import = (*engine)->BeginImport(spec, /*step=*/123);
  ASSERT_TRUE(import.ok()) << import.status();
  const std::vector<float> state(10 * 4 * 2, 0.5f);
  ASSERT_TRUE(
      (*import)->Write(std::vector<float>(10 * 4, 1.0f), state, {}).ok());
  ASSERT_TRUE((*engine)->CreateSnapshot().ok());
  ASSERT_TRUE((*import)->Publish().ok());

  for (const int pushes : {0, 1, 2}) {
    CopyAsKilled(path, killed);
    auto again = OpenEngine(killed);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ((*again)->Describe(**(*again)->Find("t")).step(), 123 + pushes);
    EXPECT_TRUE(StateOf(**again) == StateOf(**engine)) << pushes;
    ASSERT_TRUE(Push(**engine, *(*engine)->Find("t"), 1).ok());
    if (pushes == 1) {
      ASSERT_TRUE((*engine)->CreateSnapshot().ok());
    }
  }
}

// After a crash a MEMORY table has the rows that it was saved with, or none.
TEST_F(DurabilityTest, AMemoryTableWithoutItsImportedRowsHasNotItsSteps) {
  const fs::path path = directory_ / "data";
  const fs::path killed = directory_ / "killed";
  auto engine = OpenEngine(path);
  ASSERT_TRUE(engine.ok()) << engine.status();
  v1::TableSpec spec = ZerosSpec("t");
  spec.set_persistence(v1::PERSISTENCE_MEMORY);
  auto import = (*engine)->BeginImport(spec, /*step=*/123);
  ASSERT_TRUE(import.ok()) << import.status();
  ASSERT_TRUE((*import)->Write(std::vector<float>(10 * 4, 1.0f), {}, {}).ok());
  ASSERT_TRUE((*import)->Publish().ok());
  const auto step_after_a_kill = [&]() -> int64_t {
    CopyAsKilled(path, killed);
    auto again = OpenEngine(killed);
    EXPECT_TRUE(again.ok()) << again.status();
    return (*again)->Describe(**(*again)->Find("t")).step();
  };

  EXPECT_EQ((*engine)->Describe(**(*engine)->Find("t")).step(), 123);
  EXPECT_EQ(step_after_a_kill(), 0);
  ASSERT_TRUE((*engine)->CreateSnapshot().ok());
  EXPECT_EQ(step_after_a_kill(), 123);
}

TEST_F(DurabilityTest, AnImportThatAKillCutOffWasNeverThere) {
  const fs::path path = directory_ / "data";
  const fs::path killed = directory_ / "killed";
  auto engine = OpenEngine(path);
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto import = (*engine)->BeginImport(ZerosSpec("t"));
  ASSERT_TRUE(import.ok()) << import.status();
  ASSERT_TRUE((*import)->Write(std::vector<float>(5 * 4, 1.0f), {}, {}).ok());
  CopyAsKilled(path, killed);

  auto again = OpenEngine(killed);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->List().size(), 0u);
  EXPECT_EQ((*again)->table_memory().bytes_used(), 0);
  // Its name is free, and stays so for the next start.
  EXPECT_TRUE(Push(**again, Make(**again, ZerosSpec("t")), 1).ok());
  again->reset();
  again = OpenEngine(killed);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ValueOf(*(*again)->Find("t"), 1), -1.0f);
}

TEST_F(DurabilityTest, ADirectoryIsForOneServerAndItsOwn) {
  const fs::path path = directory_ / "data";
  auto engine = OpenEngine(path);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ(ReasonOf(OpenEngine(path).status()), Reason::kDirectoryInUse);
  engine->reset();

  fs::create_directory(directory_ / "foreign");
  std::ofstream(directory_ / "foreign" / "thesis.doc") << "work of years";
  EXPECT_EQ(ReasonOf(OpenEngine(directory_ / "foreign").status()),
            Reason::kForeignData);

  auto files = journal::OpenDirectory((directory_ / "empty").string());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(
      ReasonOf(DataDirectory::Open(*std::move(files), {.must_exist = true})
                   .status()),
      Reason::kForeignData);

  // Another server's log.
  const fs::path other = directory_ / "other";
  ASSERT_TRUE(OpenEngine(other).ok());
  fs::remove_all(path / "log");
  fs::copy(other / "log", path / "log", fs::copy_options::recursive);
  EXPECT_EQ(ReasonOf(OpenEngine(path).status()), Reason::kForeignData);
}

TEST_F(DurabilityTest, AnIdentityThatIsDamagedOrNewerIsRefused) {
  const fs::path path = directory_ / "data";
  ASSERT_TRUE(OpenEngine(path).ok());
  std::string bytes(64, '\0');
  std::ifstream(path / "IDENTITY", std::ios::binary).read(bytes.data(), 64);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    std::ofstream(path / "IDENTITY", std::ios::binary) << damaged;
    EXPECT_EQ(ReasonOf(OpenEngine(path).status()), Reason::kCorrupt) << bit;
  }
  std::ofstream(path / "IDENTITY", std::ios::binary) << bytes.substr(0, 63);
  EXPECT_EQ(ReasonOf(OpenEngine(path).status()), Reason::kCorrupt);
  std::ofstream(path / "IDENTITY", std::ios::binary) << bytes;
  EXPECT_TRUE(OpenEngine(path).ok());
}

}  // namespace
}  // namespace quire
