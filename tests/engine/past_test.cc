// What a table was, and a table that becomes that again.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/exact_table.h"
#include "journal/model_disk.h"
#include "main/seed.h"

namespace quire {
namespace {

using journal::ModelDisk;

struct Settings {
  int64_t table_bytes_max = 64 << 20;
  int keep = 2;
};

absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(
    ModelDisk& disk, const Settings& settings = {}) {
  QUIRE_ASSIGN_OR_RETURN(auto directory, DataDirectory::Open(disk.Open(), {}));
  return Engine::Open({.table_bytes_max = settings.table_bytes_max,
                       .log = {.segment_bytes = 1 << 14},
                       .snapshots = {.rate_bytes = 0, .keep = settings.keep}},
                      std::move(directory));
}

v1::TableSpec Spec(const std::string& name, int64_t rows, int64_t dim) {
  v1::TableSpec spec;
  spec.set_name(name);
  spec.set_num_embeddings(rows);
  spec.set_embedding_dim(dim);
  spec.set_shard_count(4);
  return spec;
}

v1::TableSpec CountsSpec(const std::string& name, int64_t rows = 64) {
  v1::TableSpec spec = Spec(name, rows, 2);
  spec.mutable_initializer()->mutable_zeros();
  return spec;
}

std::string Text(const std::vector<float>& floats) {
  return {reinterpret_cast<const char*>(floats.data()),
          floats.size() * sizeof(float)};
}

// Rows, optimizer state, step and labels: what a table is at a position.
std::string ContentOf(const LiveTable& table, int64_t step) {
  std::vector<int64_t> ids(
      static_cast<size_t>(table.rows().config().num_embeddings));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<float> values(ids.size() * static_cast<size_t>(table.dim()));
  std::vector<float> state(ids.size() *
                           static_cast<size_t>(table.rows().state_floats()));
  table.rows().ReadRows(ids, values.data(), state.data());
  std::string all = std::to_string(step) + "\n" + Text(values) + Text(state);
  for (const std::string& label : table.labels().Get(ids)) {
    all += label + "\n";
  }
  return all;
}

std::string ContentOf(const Engine& engine, const TableHandle& table) {
  return ContentOf(*table, engine.Describe(*table).step());
}

absl::StatusOr<PushOutcome> Push(Engine& engine, const TableHandle& table,
                                 std::span<const int64_t> ids,
                                 std::span<const float> gradient,
                                 std::optional<double> learning_rate = {},
                                 const std::optional<PushId>& id = {}) {
  const Bytes bytes = std::as_bytes(gradient);
  const PushPart part = {.table = table,
                         .ids = ids,
                         .gradient = ByteRange(bytes),
                         .learning_rate = learning_rate};
  return engine.ApplyGradient(quire::Push{.parts = {&part, 1}, .id = id});
}

// Adds 1 to all rows, by a learning rate of 1.
absl::StatusOr<PushOutcome> AddOne(Engine& engine, const TableHandle& table,
                                   const std::optional<PushId>& id = {}) {
  std::vector<int64_t> ids(
      static_cast<size_t>(table->rows().config().num_embeddings));
  std::iota(ids.begin(), ids.end(), 0);
  const std::vector<float> gradient(
      ids.size() * static_cast<size_t>(table->dim()), -1.0f);
  return Push(engine, table, ids, gradient, 1.0, id);
}

// What all rows are, of a table that AddOne alone changes.
float CountIn(const LiveTable& table) {
  std::vector<int64_t> ids(
      static_cast<size_t>(table.rows().config().num_embeddings));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<float> rows(ids.size() * static_cast<size_t>(table.dim()));
  table.rows().ReadRows(ids, rows.data(), nullptr);
  EXPECT_THAT(rows, ::testing::Each(rows[0]));
  return rows[0];
}

class PastTest : public ::testing::Test {
 protected:
  static TableHandle Make(Engine& engine, const v1::TableSpec& spec) {
    const auto created = engine.CreateTable(spec, v1::IF_EXISTS_ERROR);
    EXPECT_TRUE(created.ok()) << created.status();
    return created->table;
  }

  std::unique_ptr<Engine> Open(ModelDisk& disk, const Settings& settings = {}) {
    auto engine = OpenEngine(disk, settings);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }

  ModelDisk disk_;
};

// Changes of a few tables, and what each of them was after each change.
class History {
 public:
  explicit History(uint64_t seed) : random_(seed) {}

  void Make(Engine& engine) {
    std::vector<v1::TableSpec> specs = {Spec("adam", 40, 3),
                                        Spec("momentum", 30, 5),
                                        Spec("all", 20, 4), Spec("sum", 9, 1)};
    specs[0].mutable_optimizer()->mutable_adam();
    specs[1].mutable_optimizer()->mutable_sgd()->set_momentum(0.9);
    specs[2].mutable_optimizer()->mutable_adam()->set_scope(v1::SCOPE_ALL);
    specs[3].mutable_optimizer()->mutable_adagrad();
    for (const v1::TableSpec& spec : specs) {
      const auto created = engine.CreateTable(spec, v1::IF_EXISTS_ERROR);
      ASSERT_TRUE(created.ok()) << created.status();
      Note(engine);
    }
  }

  void Step(Engine& engine) {
    const std::vector<TableHandle> tables = engine.List();
    const TableHandle& table = tables[random_() % tables.size()];
    const uint64_t what = random_() % 20;
    if (what == 0) {
      const auto made = engine.CreateSnapshot();
      ASSERT_TRUE(made.ok()) << made.status();
      if (snapshots_.empty() || snapshots_.back() != *made) {
        snapshots_.push_back(*made);
      }
    } else if (what < 3) {
      std::vector<int64_t> ids = Ids(*table, 4);
      const std::vector<std::string_view> labels = {"king", "", "queen",
                                                    "king"};
      ASSERT_TRUE(engine.SetLabels(*table, ids, labels).ok());
    } else if (what < 5) {
      std::vector<int64_t> ids = Ids(*table, 4);
      std::ranges::sort(ids);
      ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
      ASSERT_TRUE(engine
                      .WriteRows(*table, ids,
                                 Floats(std::ssize(ids) * table->dim()), {})
                      .ok());
    } else if (what == 5) {
      ASSERT_TRUE(
          engine.AlterTable(*table, {.learning_rate = 0.01 + 0.01 * Below(9)})
              .ok());
    } else if (what < 9) {
      PushTwo(engine, table, tables[random_() % tables.size()]);
    } else {
      const std::vector<int64_t> ids = Ids(*table, Below(20));
      const auto pushed =
          Push(engine, table, ids, Floats(std::ssize(ids) * table->dim()));
      ASSERT_TRUE(pushed.ok()) << pushed.status();
    }
    Note(engine);
  }

  // What the tables are now is what they were at the LSN of now.
  void Note(const Engine& engine) {
    for (const TableHandle& table : engine.List()) {
      contents_[table->name()][engine.log()->appended_lsn()] =
          ContentOf(engine, table);
    }
  }

  // Of a table at a position; null before it was made.
  const std::string* At(const std::string& table, uint64_t lsn) const {
    const auto& contents = contents_.at(table);
    const auto after = contents.upper_bound(lsn);
    return after == contents.begin() ? nullptr : &std::prev(after)->second;
  }

  // In order; all that there have been.
  const std::vector<uint64_t>& snapshots() const { return snapshots_; }
  int64_t Below(int64_t bound) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound));
  }

 private:
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
  void PushTwo(Engine& engine, const TableHandle& a, const TableHandle& b) {
    const std::vector<int64_t> a_ids = Ids(*a, 5);
    const std::vector<int64_t> b_ids = Ids(*b, 5);
    const std::vector<float> a_floats = Floats(5 * a->dim());
    const std::vector<float> b_floats = Floats(5 * b->dim());
    const Bytes a_bytes = std::as_bytes(std::span(a_floats));
    const Bytes b_bytes = std::as_bytes(std::span(b_floats));
    const std::vector<PushPart> parts = {
        {.table = a, .ids = a_ids, .gradient = ByteRange(a_bytes)},
        {.table = b, .ids = b_ids, .gradient = ByteRange(b_bytes)}};
    const auto pushed = engine.ApplyGradient(quire::Push{.parts = parts});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
  }

  std::mt19937_64 random_;
  std::map<std::string, std::map<uint64_t, std::string>> contents_;
  std::vector<uint64_t> snapshots_;
};

TEST_F(PastTest, ATableIsRebuiltAsItWasAtAnyLsnThatIsKept) {
  int64_t rebuilt = 0;
  int64_t refused = 0;
  for (uint64_t life = 0; life < 4; ++life) {
    ModelDisk disk;
    History history(testing::Seed() * 10 + life);
    auto engine = Open(disk);
    history.Make(*engine);
    ASSERT_FALSE(HasFatalFailure());
    for (int start = 0; start < 3; ++start) {
      for (int step = 0; step < 60; ++step) {
        history.Step(*engine);
        ASSERT_FALSE(HasFatalFailure());
      }
      engine.reset();
      engine = Open(disk);
    }
    const auto& snapshots = history.snapshots();
    const uint64_t oldest = engine->log()->first_lsn() == 1 ? 0
                            : snapshots.size() < 2
                                ? snapshots.front()
                                : snapshots[snapshots.size() - 2];
    const int64_t used = engine->table_memory().bytes_used();
    const uint64_t last = engine->log()->appended_lsn();
    for (int look = 0; look < 100; ++look) {
      const TableHandle table =
          engine->List()[static_cast<size_t>(history.Below(4))];
      // Half of them from all that there was, half from what is kept.
      const uint64_t first = look % 2 == 0 ? 0 : oldest;
      const uint64_t lsn = first + static_cast<uint64_t>(history.Below(
                                       static_cast<int64_t>(last - first) + 1));
      const auto past = engine->TableAsOf(*table, lsn);
      const std::string* const expected = history.At(table->name(), lsn);
      if (expected == nullptr || lsn < oldest) {
        EXPECT_EQ(ReasonOf(past.status()), Reason::kNotKept) << past.status();
        ++refused;
        continue;
      }
      ASSERT_TRUE(past.ok()) << "LSN " << lsn << ": " << past.status();
      EXPECT_TRUE(ContentOf(*past->table, past->step) == *expected)
          << "table " << table->name() << " LSN " << lsn;
      ++rebuilt;
    }
    EXPECT_EQ(engine->table_memory().bytes_used(), used) << "given back";
  }
  EXPECT_GT(rebuilt, 150);
  EXPECT_GT(refused, 5);
}

// Rows and labels that change while a snapshot is being made are in it, or not:
// what it is taken for is exact all the same.
TEST_F(PastTest, ASnapshotOfABusyTableIsNotTakenForAnEarlierLsn) {
  auto engine = Open(disk_, {.keep = 1000});
  constexpr int64_t kRows = 200'000;
  const TableHandle table = Make(*engine, CountsSpec("t", kRows));
  while (!table->ready()) {
    std::this_thread::yield();
  }
  // The first row and the last, and their labels, count up; one thread alone
  // makes changes.
  const std::vector<int64_t> ids = {0, kRows - 1};
  struct Expected {
    uint64_t lsn;
    int64_t pushes;
    std::string label;
  };
  std::vector<Expected> expected;
  std::atomic<bool> is_over = false;
  std::thread changes([&] {
    const std::vector<float> gradient(4, -1.0f);
    std::string label;
    for (int64_t pushes = 1; !is_over; ++pushes) {
      const auto pushed = Push(*engine, table, ids, gradient, 1.0);
      ASSERT_TRUE(pushed.ok()) << pushed.status();
      expected.push_back({pushed->lsn, pushes, label});
      label = std::to_string(pushes);
      const std::vector<std::string_view> labels = {label, label};
      ASSERT_TRUE(engine->SetLabels(*table, ids, labels).ok());
      expected.push_back({pushed->lsn + 1, pushes, label});
    }
  });
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(engine->CreateSnapshot().ok());
  }
  is_over = true;
  changes.join();
  std::mt19937_64 random(testing::Seed());
  std::ranges::shuffle(expected, random);
  expected.resize(std::min<size_t>(expected.size(), 60));
  for (const Expected& then : expected) {
    const auto past = engine->TableAsOf(*table, then.lsn);
    ASSERT_TRUE(past.ok()) << past.status();
    EXPECT_EQ(past->step, then.pushes);
    std::vector<float> rows(4);
    past->table->rows().ReadRows(ids, rows.data(), nullptr);
    EXPECT_THAT(rows, ::testing::Each(static_cast<float>(then.pushes)));
    EXPECT_THAT(past->table->labels().Get(ids), ::testing::Each(then.label));
  }
}

// The log grows, snapshots come and go, and the past is exact all the same.
TEST_F(PastTest, APastIsRebuiltBesideABusyEngine) {
  auto engine = Open(disk_, {.keep = 1});
  const TableHandle counts = Make(*engine, CountsSpec("counts"));
  const TableHandle other = Make(*engine, CountsSpec("other"));
  std::atomic<bool> is_over = false;
  std::vector<std::thread> threads;
  for (const TableHandle& table : {counts, counts, other}) {
    threads.emplace_back([&, table] {
      while (!is_over) {
        ASSERT_TRUE(AddOne(*engine, table).ok());
      }
    });
  }
  threads.emplace_back([&] {
    while (!is_over) {
      ASSERT_TRUE(engine->CreateSnapshot().ok());
    }
  });
  for (int look = 0; look < 60; ++look) {
    const auto pushed = AddOne(*engine, counts);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    const auto past = engine->TableAsOf(*counts, pushed->lsn);
    if (!past.ok()) {
      // A snapshot came in between, and no older one is kept.
      EXPECT_EQ(ReasonOf(past.status()), Reason::kNotKept) << past.status();
      continue;
    }
    EXPECT_EQ(past->step, pushed->tables[0].step);
    EXPECT_EQ(CountIn(*past->table), static_cast<float>(past->step));
  }
  is_over = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  // Now that no snapshot is made any more.
  const auto pushed = AddOne(*engine, counts);
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  const auto past = engine->TableAsOf(*counts, pushed->lsn);
  ASSERT_TRUE(past.ok()) << past.status();
  EXPECT_EQ(CountIn(*past->table), static_cast<float>(past->step));
}

// What is held stays, and goes when it is let go.
TEST_F(PastTest, AHoldPutsTheRemovalOfTheLogOff) {
  auto engine = Open(disk_, {.keep = 1});
  const TableHandle table = Make(*engine, CountsSpec("t"));
  const auto snapshots_there = [&] {
    int count = 0;
    for (const std::string& name : disk_.Names()) {
      count += name.starts_with("snapshots/") && name.ends_with("MANIFEST");
    }
    return count;
  };
  {
    const auto hold = engine->HoldPast();
    for (int i = 0; i < 60; ++i) {
      ASSERT_TRUE(AddOne(*engine, table).ok());
      if (i % 20 == 19) {
        ASSERT_TRUE(engine->CreateSnapshot().ok());
      }
    }
    EXPECT_EQ(snapshots_there(), 3);
    EXPECT_EQ(engine->log()->first_lsn(), 1u);
    EXPECT_TRUE(engine->TableAsOf(*table, 2).ok());
  }
  for (int attempt = 0; attempt < 1000 && snapshots_there() > 1; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(snapshots_there(), 1);
  EXPECT_GT(engine->log()->first_lsn(), 1u);
}

TEST_F(PastTest, ARewoundTableIsWhatItWasAndGoesOn) {
  for (uint64_t life = 0; life < 6; ++life) {
    ModelDisk disk;
    History history(testing::Seed() * 10 + life);
    auto engine = Open(disk, {.keep = 50});
    history.Make(*engine);
    ASSERT_FALSE(HasFatalFailure());
    for (int rewind = 0; rewind < 5; ++rewind) {
      for (int step = 0; step < 25; ++step) {
        history.Step(*engine);
        ASSERT_FALSE(HasFatalFailure());
      }
      const TableHandle old =
          engine->List()[static_cast<size_t>(history.Below(4))];
      const std::string name = old->name();
      v1::Table before = engine->Describe(*old);
      const auto lsn = static_cast<uint64_t>(history.Below(
          static_cast<int64_t>(engine->log()->appended_lsn()) + 1));
      const auto rewound = engine->RewindTable(name, {}, lsn);
      const std::string* const expected = history.At(name, lsn);
      if (expected == nullptr) {
        EXPECT_EQ(ReasonOf(rewound.status()), Reason::kNotKept);
        EXPECT_EQ(*engine->Find(name), old);
        continue;
      }
      ASSERT_TRUE(rewound.ok()) << rewound.status();
      EXPECT_EQ(*engine->Find(name), rewound->table);
      EXPECT_TRUE(ContentOf(*engine, rewound->table) == *expected)
          << "table " << name << " LSN " << lsn;
      // What may be altered is as it was just now.
      v1::Table after = engine->Describe(*rewound->table);
      EXPECT_EQ(after.spec().DebugString(), before.spec().DebugString());
      EXPECT_NE(after.uid(), before.uid());
      EXPECT_EQ(engine->List().size(), 4u);
      EXPECT_EQ(rewound->lsn, engine->log()->appended_lsn());
      history.Note(*engine);

      // A kill, and a start.
      ModelDisk killed(disk);
      const auto again = Open(killed, {.keep = 50});
      for (const TableHandle& table : engine->List()) {
        EXPECT_TRUE(ContentOf(*again, *again->Find(table->name())) ==
                    ContentOf(*engine, table))
            << table->name() << " after a kill";
      }
      EXPECT_EQ(again->Describe(**again->Find(name)).spec().DebugString(),
                before.spec().DebugString());
    }
    // What came after the rewinds is kept too.
    std::map<std::string, std::string> expected;
    for (const TableHandle& table : engine->List()) {
      expected[table->name()] = ContentOf(*engine, table);
    }
    engine.reset();
    engine = Open(disk, {.keep = 50});
    for (const TableHandle& table : engine->List()) {
      EXPECT_TRUE(ContentOf(*engine, table) == expected.at(table->name()));
    }
  }
}

TEST_F(PastTest, ARewindCanBeRepeatedAndUndone) {
  auto engine = Open(disk_);
  TableHandle table = Make(*engine, CountsSpec("t"));
  std::vector<uint64_t> lsns;
  for (int i = 0; i < 10; ++i) {
    lsns.push_back(AddOne(*engine, table)->lsn);
  }
  const uint64_t before = engine->log()->appended_lsn();
  auto first = engine->RewindTable("t", {}, lsns[4]);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(CountIn(*first->table), 5.0f);
  ASSERT_TRUE(AddOne(*engine, first->table).ok());
  // Further back than the first, to what another incarnation was.
  auto second = engine->RewindTable("t", {}, lsns[1]);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(CountIn(*second->table), 2.0f);
  EXPECT_EQ(engine->Describe(*second->table).step(), 2);
  // The rewinds are undone.
  auto undone = engine->RewindTable("t", {}, before);
  ASSERT_TRUE(undone.ok()) << undone.status();
  EXPECT_EQ(CountIn(*undone->table), 10.0f);
  // To between the two, also through a snapshot and a start.
  ASSERT_TRUE(engine->CreateSnapshot().ok());
  for (TableHandle* handle :
       {&table, &first->table, &second->table, &undone->table}) {
    handle->reset();
  }
  engine.reset();
  engine = Open(disk_);
  const auto between = engine->RewindTable("t", {}, first->lsn + 1);
  ASSERT_TRUE(between.ok()) << between.status();
  EXPECT_EQ(CountIn(*between->table), 6.0f);
}

TEST_F(PastTest, APushThatWasUndoneIsStillADuplicate) {
  auto engine = Open(disk_);
  TableHandle old = Make(*engine, CountsSpec("t"));
  PushId name = {.session = *engine->OpenSession(), .sequence = 1, .hash = 42};
  const uint64_t before = engine->log()->appended_lsn();
  ASSERT_TRUE(AddOne(*engine, old, name).ok());
  auto rewound = engine->RewindTable("t", old->uid(), before);
  ASSERT_TRUE(rewound.ok()) << rewound.status();
  EXPECT_EQ(CountIn(*rewound->table), 0.0f);

  // A request that found the old one is refused, and uses up no number.
  EXPECT_TRUE(AddOne(*engine, old, name)->is_duplicate);
  name.sequence = 2;
  EXPECT_EQ(ReasonOf(AddOne(*engine, old, name).status()),
            Reason::kTableReplaced);
  EXPECT_EQ(ReasonOf(engine->Find("t", old->uid()).status()),
            Reason::kTableReplaced);
  EXPECT_EQ(ReasonOf(engine->RewindTable("t", old->uid(), before).status()),
            Reason::kTableReplaced);
  const std::vector<int64_t> ids = {1};
  EXPECT_EQ(ReasonOf(engine->WriteRows(*old, ids, std::vector<float>(2), {})),
            Reason::kTableReplaced);
  EXPECT_EQ(ReasonOf(engine->AlterTable(*old, {.frozen = true})),
            Reason::kTableReplaced);
  old.reset();
  rewound->table.reset();
  for (int start = 0; start < 2; ++start) {
    TableHandle table = *engine->Find("t");
    name.sequence = 1;
    EXPECT_TRUE(AddOne(*engine, table, name)->is_duplicate);
    name.sequence = 2;
    EXPECT_EQ(AddOne(*engine, table, name)->is_duplicate, start == 1);
    EXPECT_EQ(CountIn(*table), 1.0f);
    table.reset();
    engine.reset();
    engine = Open(disk_);
  }
}

TEST_F(PastTest, APastThatCannotBeHadIsRefusedAndNothingChanges) {
  auto engine = Open(disk_);
  const TableHandle other = Make(*engine, CountsSpec("other"));
  const uint64_t before = AddOne(*engine, other)->lsn;
  const TableHandle table = Make(*engine, CountsSpec("t"));
  ASSERT_TRUE(AddOne(*engine, table).ok());
  v1::TableSpec memory = CountsSpec("memory");
  memory.set_persistence(v1::PERSISTENCE_MEMORY);
  Make(*engine, memory);

  const auto refusal = [&](std::string_view name, uint64_t lsn) {
    const absl::Status status = engine->RewindTable(name, {}, lsn).status();
    EXPECT_EQ(ReasonOf(status), Reason::kNotKept) << status;
    return std::string(status.message().data(), status.message().size());
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(refusal("t", before),
              HasSubstr("there was no table 't' at LSN 2"));
  EXPECT_THAT(refusal("t", 0), HasSubstr("no table 't' at LSN 0"));
  EXPECT_THAT(refusal("t", 99), HasSubstr("no LSN 99 yet: the last change is"));
  EXPECT_THAT(refusal("memory", before), HasSubstr("MEMORY table"));
  EXPECT_EQ(ReasonOf(engine->RewindTable("none", {}, 1).status()),
            Reason::kNoSuchTable);

  // One that was dropped is another one, though its name is there.
  const uint64_t of_the_old = engine->log()->appended_lsn();
  ASSERT_TRUE(engine->DropTable("t", {}).ok());
  Make(*engine, CountsSpec("t"));
  EXPECT_THAT(refusal("t", of_the_old), HasSubstr("made anew"));

  // Older than what is kept: the sentence names what is.
  uint64_t oldest = 0;
  for (int i = 0; i < 3; ++i) {
    oldest = engine->snapshots()->newest_lsn();
    for (int push = 0; push < 50; ++push) {
      ASSERT_TRUE(AddOne(*engine, other).ok());
    }
    ASSERT_TRUE(engine->CreateSnapshot().ok());
  }
  ASSERT_GT(engine->log()->first_lsn(), 1u);
  EXPECT_THAT(refusal("other", oldest - 1),
              HasSubstr("the oldest that can be rebuilt is LSN " +
                        std::to_string(oldest)));
  EXPECT_EQ(CountIn(**engine->Find("other")), 151.0f);
  EXPECT_TRUE(engine->RewindTable("other", {}, oldest).ok());
}

TEST_F(PastTest, ACopyThatDoesNotFitIsRefusedWithASentence) {
  v1::TableSpec spec = CountsSpec("large", 1000);
  auto engine = Open(disk_, {.table_bytes_max = 3 * 1000 * 2 * 4 / 2});
  const TableHandle table = Make(*engine, spec);
  const uint64_t lsn = AddOne(*engine, table)->lsn;
  const absl::Status refused = engine->RewindTable("large", {}, lsn).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kMemoryFull) << refused;
  EXPECT_THAT(std::string(refused.message()),
              ::testing::HasSubstr("rebuilt beside the table that serves"));
  EXPECT_EQ(*engine->Find("large"), table);
  EXPECT_TRUE(AddOne(*engine, table).ok());
  EXPECT_EQ(engine->log()->appended_lsn(), lsn + 1) << "nothing was logged";
}

// Of this table those after the position are undone, until it is another one;
// of the others none is.
TEST_F(PastTest, PushesGoOnDuringARewind) {
  for (int round = 0; round < 5; ++round) {
    ModelDisk disk;
    auto engine = Open(disk);
    const TableHandle old = Make(*engine, CountsSpec("t", 2000));
    const TableHandle other = Make(*engine, CountsSpec("other"));
    uint64_t to_lsn = 0;
    for (int i = 0; i < 5; ++i) {
      to_lsn = AddOne(*engine, old)->lsn;
    }
    std::mutex mutex;
    std::vector<uint64_t> acknowledged;
    std::atomic<int> others = 0;
    std::atomic<bool> is_over = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        while (!is_over) {
          const auto pushed = AddOne(*engine, *engine->Find("t"));
          if (!pushed.ok()) {
            ASSERT_EQ(ReasonOf(pushed.status()), Reason::kTableReplaced)
                << pushed.status();
            continue;
          }
          const std::lock_guard lock(mutex);
          acknowledged.push_back(pushed->lsn);
        }
      });
    }
    threads.emplace_back([&] {
      while (!is_over) {
        ASSERT_TRUE(AddOne(*engine, other).ok());
        ++others;
      }
    });
    const auto rewound = engine->RewindTable("t", {}, to_lsn);
    EXPECT_TRUE(rewound.ok()) << rewound.status();
    // Some of those after it too.
    while (others < 50) {
      std::this_thread::yield();
    }
    is_over = true;
    for (std::thread& thread : threads) {
      thread.join();
    }
    ASSERT_TRUE(rewound.ok());
    const auto after = std::ranges::count_if(
        acknowledged, [&](uint64_t lsn) { return lsn > rewound->lsn; });
    const float expected = 5.0f + static_cast<float>(after);
    EXPECT_EQ(CountIn(**engine->Find("t")), expected);
    EXPECT_EQ(engine->Describe(**engine->Find("t")).step(), 5 + after);
    EXPECT_EQ(CountIn(*other), static_cast<float>(others));

    ModelDisk killed(disk);
    const auto again = Open(killed);
    EXPECT_EQ(CountIn(**again->Find("t")), expected);
    EXPECT_EQ(again->Describe(**again->Find("t")).step(), 5 + after);
    EXPECT_EQ(CountIn(**again->Find("other")), static_cast<float>(others));
  }
}

// All rows are as of one position, whoever changes the table meanwhile.
TEST_F(PastTest, ATableThatIsReadSlowlyIsAsOfOnePosition) {
  auto engine = Open(disk_);
  const TableHandle table = Make(*engine, CountsSpec("t", 2000));
  ASSERT_TRUE(AddOne(*engine, table).ok());
  std::atomic<bool> is_over = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      while (!is_over) {
        ASSERT_TRUE(AddOne(*engine, table).ok());
      }
    });
  }
  threads.emplace_back([&] {
    while (!is_over) {
      ASSERT_TRUE(engine->CreateSnapshot().ok());
    }
  });
  for (int look = 0; look < 20; ++look) {
    auto exact = ExactTable::Open(*engine, table);
    ASSERT_TRUE(exact.ok()) << exact.status();
    EXPECT_GT(exact->lsn(), 0u);
    for (int64_t first = 0; first < 2000; first += 100) {
      std::vector<int64_t> ids(100);
      std::iota(ids.begin(), ids.end(), first);
      std::vector<float> rows(200);
      const absl::Status read = exact->Read([&](const LiveTable& then) {
        then.rows().ReadRows(ids, rows.data(), nullptr);
      });
      ASSERT_TRUE(read.ok()) << read;
      EXPECT_THAT(rows, ::testing::Each(static_cast<float>(exact->step())));
      if (first == 1000) {
        ASSERT_TRUE(AddOne(*engine, table).ok());
      }
    }
    EXPECT_TRUE(exact->is_rebuilt());
  }
  is_over = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_F(PastTest, ATableThatDoesNotChangeIsReadWithoutACopy) {
  // Room for the table, and not for another one like it.
  auto engine = Open(disk_, {.table_bytes_max = 20'000});
  const TableHandle table = Make(*engine, CountsSpec("t", 1500));
  const TableHandle other = Make(*engine, CountsSpec("other"));
  ASSERT_TRUE(AddOne(*engine, table).ok());
  auto exact = ExactTable::Open(*engine, table);
  ASSERT_TRUE(exact.ok()) << exact.status();
  const auto nothing = [](const LiveTable&) {};
  ASSERT_TRUE(AddOne(*engine, other).ok());
  EXPECT_TRUE(exact->Read(nothing).ok());
  EXPECT_FALSE(exact->is_rebuilt());
  ASSERT_TRUE(AddOne(*engine, table).ok());
  const absl::Status refused = exact->Read(nothing);
  EXPECT_EQ(ReasonOf(refused), Reason::kMemoryFull) << refused;
  EXPECT_THAT(std::string(refused.message()),
              ::testing::HasSubstr("frozen is read without a copy"));

  // A label is a change too; it comes of what was before.
  ASSERT_TRUE(engine->DropTable("other", {}).ok());
  const std::vector<int64_t> ids = {7};
  const std::vector<std::string_view> labels = {"seven"};
  auto small = Make(*engine, CountsSpec("small", 10));
  auto labelled = ExactTable::Open(*engine, small);
  ASSERT_TRUE(engine->SetLabels(*small, ids, labels).ok());
  std::string label = "none";
  ASSERT_TRUE(labelled
                  ->Read([&](const LiveTable& then) {
                    label = then.labels().Get(ids)[0];
                  })
                  .ok());
  EXPECT_TRUE(labelled->is_rebuilt());
  EXPECT_EQ(label, "");
  // One that is gone is read as it was.
  auto gone = ExactTable::Open(*engine, small);
  small.reset();
  ASSERT_TRUE(engine->DropTable("small", {}).ok());
  ASSERT_TRUE(gone->Read([&](const LiveTable& then) {
                    label = then.labels().Get(ids)[0];
                  })
                  .ok());
  EXPECT_EQ(label, "seven");
}

TEST_F(PastTest, TheLogSaysWhatLastChangedARow) {
  using Kind = Engine::RowHistory::Kind;
  auto engine = Open(disk_, {.keep = 1});
  v1::TableSpec spec = CountsSpec("t");
  spec.set_padding_idx(5);
  const TableHandle table = Make(*engine, spec);
  const auto last = [&](const TableHandle& of, int64_t id) {
    const auto history =
        engine->HistoryOf(*of, id, engine->log()->appended_lsn());
    EXPECT_TRUE(history.ok()) << history.status();
    return history->last ? std::pair(history->last->lsn, history->last->kind)
                         : std::pair(uint64_t{0}, Kind::kPush);
  };
  EXPECT_EQ(last(table, 3), std::pair(uint64_t{1}, Kind::kCreate));
  const std::vector<int64_t> ids = {3, 5};
  const std::vector<float> gradient(4, 1.0f);
  const uint64_t pushed = Push(*engine, table, ids, gradient)->lsn;
  EXPECT_EQ(last(table, 3), std::pair(pushed, Kind::kPush));
  EXPECT_EQ(last(table, 4), std::pair(uint64_t{1}, Kind::kCreate));
  EXPECT_EQ(last(table, 5), std::pair(uint64_t{1}, Kind::kCreate)) << "padding";
  ASSERT_TRUE(engine
                  ->WriteRows(*table, std::vector<int64_t>{3},
                              std::vector<float>(2, 1.0f), {})
                  .ok());
  EXPECT_EQ(last(table, 3), std::pair(pushed + 1, Kind::kWrite));
  // Only up to the position that is asked for.
  EXPECT_EQ(engine->HistoryOf(*table, 3, pushed)->last->lsn, pushed);

  // Every row moves with each push.
  v1::TableSpec all = CountsSpec("all");
  all.mutable_optimizer()->mutable_adam()->set_scope(v1::SCOPE_ALL);
  const TableHandle moving = Make(*engine, all);
  const uint64_t moved = Push(*engine, moving, ids, gradient)->lsn;
  EXPECT_EQ(last(moving, 60), std::pair(moved, Kind::kPush));

  // A rewind writes all rows.
  const auto rewound = engine->RewindTable("t", {}, pushed);
  ASSERT_TRUE(rewound.ok()) << rewound.status();
  EXPECT_EQ(last(rewound->table, 4).second, Kind::kWrite);

  // Older than what is kept.
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(AddOne(*engine, moving).ok());
  }
  ASSERT_TRUE(engine->CreateSnapshot().ok());
  const auto history =
      engine->HistoryOf(*rewound->table, 4, engine->log()->appended_lsn());
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_FALSE(history->last);
  EXPECT_EQ(history->first_lsn, engine->log()->first_lsn());
  EXPECT_GT(history->first_lsn, rewound->lsn);
}

// Snapshots have the table that is and the one that is being made.
TEST_F(PastTest, SnapshotsAreMadeDuringRewinds) {
  auto engine = Open(disk_, {.keep = 3});
  const TableHandle table = Make(*engine, CountsSpec("t", 5000));
  uint64_t to_lsn = 0;
  for (int i = 0; i < 3; ++i) {
    to_lsn = AddOne(*engine, table)->lsn;
  }
  std::atomic<bool> is_over = false;
  std::thread snapshots([&] {
    while (!is_over) {
      ASSERT_TRUE(engine->CreateSnapshot().ok());
    }
  });
  int rewinds = 0;
  for (; rewinds < 10; ++rewinds) {
    const auto rewound = engine->RewindTable("t", {}, to_lsn);
    ASSERT_TRUE(rewound.ok()) << rewound.status();
    EXPECT_EQ(CountIn(*rewound->table), 3.0f);
    ASSERT_TRUE(AddOne(*engine, rewound->table).ok());
    // Four: it is undone by the next.
    EXPECT_EQ(CountIn(*rewound->table), 4.0f);
    ModelDisk killed(disk_);
    const auto again = Open(killed);
    EXPECT_EQ(CountIn(**again->Find("t")), 4.0f);
    // What is kept moves on; three is what it is after each rewind.
    to_lsn = rewound->lsn;
  }
  is_over = true;
  snapshots.join();
}

}  // namespace
}  // namespace quire
