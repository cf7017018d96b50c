// An engine on a disk that fails, fills up, and loses power.
//
// Every push adds 1 to a row of its own and to the last row. One thread pushes,
// so that what is there after a crash is what was pushed up to some point:
// a push that is there without one before it, a sum that is not that of the
// others, or a lost acknowledgement, is a broken promise.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "engine/disk_life.h"
#include "engine/engine.h"
#include "journal/model_disk.h"
#include "main/seed.h"

namespace quire {
namespace {

using journal::ModelDisk;

constexpr int64_t kPushes = 40;
constexpr int64_t kDim = 3;

v1::TableSpec LedgerSpec() { return quire::LedgerSpec(kPushes + 1, kDim); }

// The push of this number, which is that of its row too.
absl::StatusOr<PushOutcome> Push(Engine& engine, const TableHandle& table,
                                 int64_t number, const SessionId& session,
                                 v1::Durability durability) {
  const Addition addition(
      table, {number, kPushes},
      {.session = session, .sequence = static_cast<uint64_t>(number) + 1},
      durability);
  return engine.ApplyGradient(addition.push());
}

// How far a life has come, for whoever looks at any moment.
struct Progress {
  std::atomic<bool> has_table = false;
  // Pushes that have been acknowledged as SYNCED, and at all: all up to there.
  std::atomic<int64_t> synced = 0;
  std::atomic<int64_t> acknowledged = 0;
  std::atomic<int64_t> sent = 0;
  SessionId session;
};

// A table, pushes, and snapshots; until something is refused.
absl::Status Live(Engine& engine, Progress& progress) {
  QUIRE_ASSIGN_OR_RETURN(
      const Engine::Created created,
      engine.CreateTable(LedgerSpec(), v1::IF_EXISTS_VERIFY));
  progress.has_table = true;
  QUIRE_ASSIGN_OR_RETURN(progress.session, engine.OpenSession());
  for (int64_t number = 0; number < kPushes; ++number) {
    const bool is_synced = number % 4 == 3;
    progress.sent = number + 1;
    QUIRE_RETURN_IF_ERROR(
        Push(engine, created.table, number, progress.session,
             is_synced ? v1::DURABILITY_SYNCED : v1::DURABILITY_WRITTEN)
            .status());
    progress.acknowledged = number + 1;
    if (is_synced) {
      progress.synced = number + 1;
    }
    if (number % 15 == 9) {
      QUIRE_RETURN_IF_ERROR(engine.CreateSnapshot().status());
    }
  }
  return absl::OkStatus();
}

// How many pushes are there: all up to that, whole, and none behind. -1 and a
// failure if that is not so.
int64_t PushesIn(const LiveTable& table) {
  const std::vector<float> rows = RowsOf(table);
  const auto row = [&rows](int64_t id) {
    return &rows[static_cast<size_t>(id * kDim)];
  };
  int64_t count = 0;
  while (count < kPushes && row(count)[0] == 1.0f) {
    ++count;
  }
  for (int64_t id = 0; id <= kPushes; ++id) {
    const float expected = id == kPushes ? static_cast<float>(count)
                           : id < count  ? 1.0f
                                         : 0.0f;
    for (int64_t column = 0; column < kDim; ++column) {
      if (row(id)[column] != expected) {
        ADD_FAILURE() << "row " << id << " column " << column << " is "
                      << row(id)[column] << ", not " << expected;
        return -1;
      }
    }
  }
  return count;
}

// Opens what is on `disk`: between `least` and `most` pushes are there, and the
// rest can be pushed, each once.
void ExpectKept(ModelDisk& disk, const Progress& progress, int64_t least,
                int64_t most) {
  auto engine = OpenEngine(disk);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const absl::StatusOr<TableHandle> table = (*engine)->FindAny(kLedger);
  if (!table.ok()) {
    EXPECT_EQ(least, 0) << table.status();
    return;
  }
  const int64_t count = PushesIn(**table);
  EXPECT_GE(count, least) << "an acknowledged push is lost";
  EXPECT_LE(count, most) << "a push that was never sent is there";
  // A client sends again what it does not know of.
  for (int64_t number = least; number < most; ++number) {
    const auto pushed = Push(**engine, *table, number, progress.session,
                             v1::DURABILITY_WRITTEN);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_EQ(pushed->is_duplicate, number < count);
  }
  EXPECT_EQ(PushesIn(**table), std::max(count, most));
}

TEST(DiskTest, APowerCutAtAnyMomentLosesNothingThatWasSynced) {
  struct Cut {
    std::unique_ptr<ModelDisk> disk;
    int64_t synced;
    int64_t sent;
  };
  std::mt19937_64 coin(testing::Seed());
  ModelDisk disk;
  Progress progress;
  std::mutex mutex;
  std::vector<Cut> cuts;
  disk.OnOperation([&](std::string_view operation) {
    // What a sync is about to save is there in part.
    const int outcomes = operation.starts_with("sync") ? 100 : 1;
    const std::lock_guard lock(mutex);
    for (int i = 0; i < outcomes; ++i) {
      // Before: what is acknowledged while the disk is cut is not promised.
      const int64_t synced = progress.synced;
      auto cut = disk.PowerCut(i == 0 ? ModelDisk::Unsynced::kLost
                                      : ModelDisk::Unsynced::kAsTheCoinFalls,
                               coin);
      cuts.push_back({std::move(cut), synced, progress.sent});
    }
  });
  {
    auto engine = OpenEngine(disk);
    ASSERT_TRUE(engine.ok()) << engine.status();
    ASSERT_TRUE(Live(**engine, progress).ok());
  }
  disk.OnOperation(nullptr);
  EXPECT_EQ(progress.synced, kPushes);
  EXPECT_GT(cuts.size(), 300u);
  for (Cut& cut : cuts) {
    ExpectKept(*cut.disk, progress, cut.synced, cut.sent);
    if (HasFailure()) {
      return;
    }
  }
}

TEST(DiskTest, AKillAtAnyOperationLosesNothingThatWasAcknowledged) {
  struct Kill {
    std::unique_ptr<ModelDisk> disk;
    int64_t acknowledged;
    int64_t sent;
  };
  ModelDisk disk;
  Progress progress;
  std::mutex mutex;
  std::vector<Kill> kills;
  disk.OnOperation([&](std::string_view) {
    const std::lock_guard lock(mutex);
    const int64_t acknowledged = progress.acknowledged;
    kills.push_back(
        {std::make_unique<ModelDisk>(disk), acknowledged, progress.sent});
  });
  {
    auto engine = OpenEngine(disk);
    ASSERT_TRUE(engine.ok()) << engine.status();
    ASSERT_TRUE(Live(**engine, progress).ok());
  }
  disk.OnOperation(nullptr);
  EXPECT_GT(kills.size(), 100u);
  for (Kill& kill : kills) {
    ExpectKept(*kill.disk, progress, kill.acknowledged, kill.sent);
    if (HasFailure()) {
      return;
    }
  }
}

class KilledTest : public ::testing::TestWithParam<bool> {};

// A process that is killed leaves what only the system's memory has, also what
// a sync has failed for. The next one answers for it as SYNCED, and writes
// behind it: it has to be on the disk by then.
TEST_P(KilledTest, WhatItLeftIsSafeWhenThereIsAServerAgain) {
  const bool sync_fails = GetParam();
  std::mt19937_64 coin(testing::Seed());
  ModelDisk disk;
  Progress progress;
  std::unique_ptr<ModelDisk> killed;
  {
    journal::LogOptions log = SmallLog();
    log.sync_interval = std::chrono::hours(1);
    auto engine = OpenEngine(disk, log);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const auto created =
        (*engine)->CreateTable(LedgerSpec(), v1::IF_EXISTS_ERROR);
    ASSERT_TRUE(created.ok()) << created.status();
    progress.session = *(*engine)->OpenSession();
    // The log's last sync before the pushes.
    ASSERT_TRUE((*engine)->CreateSnapshot().ok());
    ASSERT_TRUE(Push(**engine, created->table, 0, progress.session,
                     v1::DURABILITY_WRITTEN)
                    .ok());
    if (sync_fails) {
      disk.OnOperation([&disk](std::string_view operation) {
        if (operation == "sync") {
          disk.FailAt(0, Reason::kIoFailed, /*for_ever=*/true);
        }
      });
      const auto failed = Push(**engine, created->table, 1, progress.session,
                               v1::DURABILITY_SYNCED);
      EXPECT_EQ(ReasonOf(failed.status()), Reason::kLogFailed);
      disk.OnOperation(nullptr);
    }
    killed = std::make_unique<ModelDisk>(disk);
  }
  auto engine = OpenEngine(*killed);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const TableHandle table = *(*engine)->FindAny(kLedger);
  for (int64_t number = 0; number < 3; ++number) {
    const auto pushed =
        Push(**engine, table, number, progress.session, v1::DURABILITY_SYNCED);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_EQ(pushed->is_duplicate, number < (sync_fails ? 2 : 1));
  }

  const auto cut = killed->PowerCut(ModelDisk::Unsynced::kLost, coin);

  ExpectKept(*cut, progress, 3, 3);
}

INSTANTIATE_TEST_SUITE_P(ASyncFailedBefore, KilledTest, ::testing::Bool());

// Ten pushes, and a rewind to the fourth: afterwards there are ten or four, and
// four once the rewind was acknowledged.
struct RewindLife {
  std::atomic<bool> has_pushed = false;
  std::atomic<bool> is_rewound = false;
};

absl::Status LiveAndRewind(Engine& engine, RewindLife& life) {
  QUIRE_ASSIGN_OR_RETURN(const Engine::Created created,
                         engine.CreateTable(LedgerSpec(), v1::IF_EXISTS_ERROR));
  QUIRE_ASSIGN_OR_RETURN(const SessionId session, engine.OpenSession());
  uint64_t fourth = 0;
  for (int64_t number = 0; number < 10; ++number) {
    QUIRE_ASSIGN_OR_RETURN(
        const PushOutcome pushed,
        Push(engine, created.table, number, session, v1::DURABILITY_SYNCED));
    fourth = number == 3 ? pushed.lsn : fourth;
    if (number == 1) {
      QUIRE_RETURN_IF_ERROR(engine.CreateSnapshot().status());
    }
  }
  life.has_pushed = true;
  QUIRE_RETURN_IF_ERROR(engine.RewindTable(kLedger, {}, fourth).status());
  life.is_rewound = true;
  return engine.CreateSnapshot().status();
}

void ExpectOneOrTheOther(ModelDisk& disk, bool has_pushed, bool is_rewound) {
  if (!has_pushed) {
    return;
  }
  auto engine = OpenEngine(disk);
  ASSERT_TRUE(engine.ok()) << engine.status();
  ASSERT_EQ((*engine)->List().size(), 1u);
  const TableHandle table = *(*engine)->Find(kLedger);
  const int64_t count = PushesIn(*table);
  EXPECT_TRUE(count == 4 || (count == 10 && !is_rewound)) << count;
  EXPECT_EQ((*engine)->Describe(*table).step(), count);
  // What is not that table has no memory.
  EXPECT_EQ((*engine)->table_memory().bytes_used(),
            Table::ValueBytes(table->rows().config()) +
                Table::StateBytes(table->rows().config()));
}

TEST(DiskTest, ARewindIsWholeOrNeverWasAfterACrashAtAnyMoment) {
  struct Crash {
    std::unique_ptr<ModelDisk> disk;
    bool has_pushed;
    bool is_rewound;
  };
  std::mt19937_64 coin(testing::Seed());
  ModelDisk disk;
  RewindLife life;
  std::mutex mutex;
  std::vector<Crash> crashes;
  disk.OnOperation([&](std::string_view operation) {
    const int outcomes = operation.starts_with("sync") ? 20 : 1;
    const std::lock_guard lock(mutex);
    const bool has_pushed = life.has_pushed;
    const bool is_rewound = life.is_rewound;
    crashes.push_back(
        {std::make_unique<ModelDisk>(disk), has_pushed, is_rewound});
    for (int i = 0; i < outcomes; ++i) {
      auto cut = disk.PowerCut(i == 0 ? ModelDisk::Unsynced::kLost
                                      : ModelDisk::Unsynced::kAsTheCoinFalls,
                               coin);
      crashes.push_back({std::move(cut), has_pushed, is_rewound});
    }
  });
  {
    auto engine = OpenEngine(disk);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const absl::Status lived = LiveAndRewind(**engine, life);
    ASSERT_TRUE(lived.ok()) << lived;
  }
  disk.OnOperation(nullptr);
  int rewound = 0;
  int not_rewound = 0;
  for (Crash& crash : crashes) {
    ExpectOneOrTheOther(*crash.disk, crash.has_pushed, crash.is_rewound);
    ++(crash.is_rewound ? rewound : not_rewound);
    if (HasFailure()) {
      return;
    }
  }
  EXPECT_GT(rewound, 5);
  EXPECT_GT(not_rewound, 50);
}

TEST(DiskTest, ARewindThatTheDiskFailsIsWholeOrNeverWas) {
  int failed = 0;
  for (int64_t operation = 0;; ++operation) {
    SCOPED_TRACE(operation);
    ModelDisk disk;
    disk.FailAt(operation, Reason::kIoFailed, /*for_ever=*/true);
    RewindLife life;
    {
      auto engine = OpenEngine(disk);
      const absl::Status lived =
          engine.ok() ? LiveAndRewind(**engine, life) : engine.status();
      if (!lived.ok() && life.has_pushed && !life.is_rewound) {
        ++failed;
        // It goes on with what it had, for whoever reads.
        const auto table = (*engine)->Find(kLedger);
        ASSERT_TRUE(table.ok()) << table.status();
        EXPECT_THAT(PushesIn(**table), ::testing::AnyOf(4, 10));
      }
    }
    ModelDisk killed(disk);
    ExpectOneOrTheOther(killed, life.has_pushed, life.is_rewound);
    if (HasFailure() || disk.operation_count() <= operation) {
      break;
    }
  }
  EXPECT_GT(failed, 0);
}

class FailingDiskTest
    : public ::testing::TestWithParam<std::pair<Reason, bool>> {};

// At each operation in turn: whatever was acknowledged is kept, what was not is
// there or not, lookups go on, and a start without the fault goes on.
TEST_P(FailingDiskTest, NothingThatWasAcknowledgedIsLost) {
  const auto [reason, for_ever] = GetParam();
  std::mt19937_64 coin(testing::Seed());
  int64_t failed_at = 0;
  for (int64_t operation = 0;; ++operation) {
    SCOPED_TRACE(operation);
    ModelDisk disk;
    disk.FailAt(operation, reason, for_ever);
    Progress progress;
    absl::Status ended;
    {
      auto engine = OpenEngine(disk);
      ended = engine.status();
      if (engine.ok()) {
        ended = Live(**engine, progress);
        // What was acknowledged is in the rows, and can be read.
        if (const auto table = (*engine)->FindAny(kLedger); table.ok()) {
          EXPECT_GE(PushesIn(**table), progress.acknowledged.load());
        } else {
          EXPECT_FALSE(progress.has_table) << table.status();
        }
        // What failed has failed for good: no change sneaks in later.
        const uint64_t newest = (*engine)->snapshots()->newest_lsn();
        if (ReasonOf(ended) == Reason::kLogFailed) {
          EXPECT_EQ(ReasonOf((*engine)->OpenSession().status()),
                    Reason::kLogFailed);
          // No snapshot either: the newest stays so.
          EXPECT_THAT((*engine)->CreateSnapshot().value_or(0),
                      ::testing::AnyOf(0u, newest));
        }
      }
    }
    if (!ended.ok()) {
      ++failed_at;
      EXPECT_THAT(*ReasonOf(ended),
                  ::testing::AnyOf(Reason::kIoFailed, Reason::kDiskFull,
                                   Reason::kLogFailed))
          << ended;
    }
    auto cut = disk.PowerCut(ModelDisk::Unsynced::kLost, coin);
    ExpectKept(*cut, progress, progress.synced, progress.sent);
    ModelDisk killed(disk);
    ExpectKept(killed, progress, progress.acknowledged, progress.sent);
    if (HasFailure()) {
      return;
    }
    if (disk.operation_count() <= operation) {
      break;  // the fault was never met
    }
  }
  EXPECT_GT(failed_at, 20);
}

INSTANTIATE_TEST_SUITE_P(All, FailingDiskTest,
                         ::testing::Values(std::pair(Reason::kIoFailed, false),
                                           std::pair(Reason::kIoFailed, true),
                                           std::pair(Reason::kDiskFull, false),
                                           std::pair(Reason::kDiskFull, true)));

// Pushes are refused while there is no room, with nothing changed, and go on
// without a restart once there is.
TEST(DiskTest, AFullDiskRefusesPushesAndGoesOnWhenThereIsRoom) {
  ModelDisk disk;
  Progress progress;
  auto engine = OpenEngine(disk);
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto created = (*engine)->CreateTable(LedgerSpec(), v1::IF_EXISTS_ERROR);
  ASSERT_TRUE(created.ok()) << created.status();
  progress.session = *(*engine)->OpenSession();
  disk.SetSpace(0);
  int64_t number = 0;
  absl::Status refused;
  while (number < kPushes && refused.ok()) {
    refused = Push(**engine, created->table, number, progress.session,
                   v1::DURABILITY_WRITTEN)
                  .status();
    number += refused.ok() ? 1 : 0;
  }
  ASSERT_EQ(ReasonOf(refused), Reason::kDiskFull) << refused;
  EXPECT_EQ(PushesIn(*created->table), number);

  disk.SetSpace(1 << 20);
  for (int attempt = 0; attempt < 1000 && !refused.ok(); ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    refused = Push(**engine, created->table, number, progress.session,
                   v1::DURABILITY_SYNCED)
                  .status();
  }
  ASSERT_TRUE(refused.ok()) << refused;
  EXPECT_EQ(PushesIn(*created->table), number + 1);
  created->table.reset();
  engine->reset();
  ExpectKept(disk, progress, number + 1, number + 1);
}

// Holds operations of one name up, until it is released.
class Hold {
 public:
  Hold(ModelDisk& disk, std::string_view name) : disk_(disk) {
    disk_.OnOperation([name, gate = gate_](std::string_view operation) {
      MutexLock lock(gate->mutex);
      while (operation == name && !gate->is_open) {
        gate->changed.Wait(gate->mutex);
      }
    });
  }
  ~Hold() {
    Release();
    disk_.OnOperation(nullptr);
  }

  void Release() {
    MutexLock lock(gate_->mutex);
    gate_->is_open = true;
    gate_->changed.NotifyAll();
  }

 private:
  struct Gate {
    Mutex mutex;
    CondVar changed;
    bool is_open QUIRE_GUARDED_BY(mutex) = false;
  };

  ModelDisk& disk_;
  // Shared with operations that are still on their way out of it.
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
};

// A table of which each push adds 1 to row 0.
class Counter {
 public:
  static constexpr int64_t kDimOfRow = 4;

  explicit Counter(Engine& engine)
      : engine_(engine), table_(MakeTable(engine)) {}

  absl::StatusOr<PushOutcome> Add() { return engine_.ApplyGradient(push()); }
  void Add(const std::optional<PushId>& id,
           std::optional<std::chrono::steady_clock::time_point> deadline,
           Engine::PushDone done) {
    quire::Push one = push();
    one.id = id;
    one.deadline = deadline;
    engine_.ApplyGradient(one, std::move(done));
  }
  float value() const {
    const int64_t id = 0;
    std::vector<float> row(kDimOfRow);
    table_->Lookup({&id, 1}, reinterpret_cast<std::byte*>(row.data()));
    return row[0];
  }
  const TableHandle& table() const { return table_; }

 private:
  static TableHandle MakeTable(Engine& engine) {
    v1::TableSpec spec;
    spec.set_name("counter");
    spec.set_num_embeddings(64);
    spec.set_embedding_dim(kDimOfRow);
    spec.set_shard_count(1);
    spec.mutable_initializer()->mutable_zeros();
    const auto created = engine.CreateTable(spec, v1::IF_EXISTS_VERIFY);
    EXPECT_TRUE(created.ok()) << created.status();
    return created->table;
  }
  quire::Push push() const { return {.parts = {&part_, 1}}; }

  Engine& engine_;
  const TableHandle table_;
  const int64_t id_ = 0;
  const std::vector<float> gradient_ = std::vector<float>(kDimOfRow, -1.0f);
  const Bytes bytes_ = std::as_bytes(std::span(gradient_));
  const PushPart part_ = {.table = table_,
                          .ids = {&id_, 1},
                          .gradient = ByteRange(bytes_),
                          .learning_rate = 1.0};
};

// While snapshots cannot be made the log fills up: pushes are refused, and
// lookups go on. When one can be, the log is cut behind it, though the log that
// two snapshots would keep is all of it; pushes go on without a restart.
TEST(DiskTest, AFullLogRefusesPushesUntilASnapshotHasCutIt) {
  constexpr int64_t kLogBytesMax = 16 * kSmallSegmentBytes;
  ModelDisk disk;
  float pushed = 0;
  {
    journal::LogOptions log = SmallLog();
    log.bytes_max = kLogBytesMax;
    auto engine = OpenEngine(disk, log);
    ASSERT_TRUE(engine.ok()) << engine.status();
    Counter counter(**engine);
    ASSERT_TRUE((*engine)->CreateSnapshot().ok());
    absl::Status refused;
    {
      // A snapshot makes a directory.
      Hold hold(disk, "make directory");
      for (int i = 0; i < 10'000 && refused.ok(); ++i) {
        refused = counter.Add().status();
        pushed += refused.ok() ? 1 : 0;
      }
      ASSERT_EQ(ReasonOf(refused), Reason::kLogFull) << refused;
      EXPECT_TRUE(RetryAfterMsOf(refused).has_value());
      EXPECT_EQ(counter.value(), pushed);
      EXPECT_LE((*engine)->log()->stats().bytes, kLogBytesMax);
    }
    for (int i = 0; i < 10'000 && !refused.ok(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      refused = counter.Add().status();
    }
    ASSERT_TRUE(refused.ok()) << refused;
    ++pushed;
    EXPECT_GT((*engine)->log()->first_lsn(), 1u);
  }
  auto again = OpenEngine(disk);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Counter(**again).value(), pushed);
}

// The log stays within its bound for as long as there are pushes, and no other
// reason to make a snapshot.
TEST(DiskTest, TheLogsBoundAloneLeadsToSnapshots) {
  constexpr int64_t kLogBytesMax = 16 * kSmallSegmentBytes;
  ModelDisk disk;
  journal::LogOptions log = SmallLog();
  log.bytes_max = kLogBytesMax;
  auto engine = OpenEngine(disk, log);
  ASSERT_TRUE(engine.ok()) << engine.status();
  Counter counter(**engine);
  float pushed = 0;
  // Some ten times what the log may have.
  while ((*engine)->log()->stats().appended_bytes < 10 * kLogBytesMax) {
    const absl::Status status = counter.Add().status();
    if (status.ok()) {
      ++pushed;
    } else {
      ASSERT_EQ(ReasonOf(status), Reason::kLogFull) << status;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_LE((*engine)->log()->stats().bytes, kLogBytesMax);
  }
  EXPECT_EQ(counter.value(), pushed);
  EXPECT_GT((*engine)->snapshots()->newest_lsn(), 0u);
}

TEST(DiskTest, APushThatTheLogNeverLetsInIsTooLarge) {
  ModelDisk disk;
  journal::LogOptions log = SmallLog();
  log.bytes_max = 16 * kSmallSegmentBytes;
  auto engine = OpenEngine(disk, log);
  ASSERT_TRUE(engine.ok()) << engine.status();
  Counter counter(**engine);
  const std::vector<int64_t> ids(4096, 1);
  const std::vector<float> gradient(4096 * Counter::kDimOfRow, -1.0f);
  const Bytes bytes = std::as_bytes(std::span(gradient));
  const PushPart part = {
      .table = counter.table(), .ids = ids, .gradient = ByteRange(bytes)};

  const absl::Status refused =
      (*engine)->ApplyGradient(quire::Push{.parts = {&part, 1}}).status();

  EXPECT_EQ(ReasonOf(refused), Reason::kTooLarge) << refused;
  EXPECT_FALSE(RetryAfterMsOf(refused).has_value());
  EXPECT_TRUE(counter.Add().ok());
}

// A push that waits for room is refused at its deadline, also behind one that
// waits for longer; it is not applied and has not used up its number.
TEST(DiskTest, APushWaitsForRoomUntilItsDeadline) {
  ModelDisk disk;
  journal::LogOptions log = SmallLog();
  log.unsynced_bytes_max = 1;
  auto engine = OpenEngine(disk, log);
  ASSERT_TRUE(engine.ok()) << engine.status();
  Counter counter(**engine);
  const PushId id = {
      .session = *(*engine)->OpenSession(), .sequence = 1, .hash = 42};
  std::promise<absl::StatusOr<PushOutcome>> patient;
  std::promise<absl::StatusOr<PushOutcome>> hasty;
  const auto tell = [](std::promise<absl::StatusOr<PushOutcome>>& promise) {
    return [&promise](absl::StatusOr<PushOutcome> outcome) {
      promise.set_value(std::move(outcome));
    };
  };
  // The session, or there would be no room for the first push either.
  for (int i = 0; (*engine)->log()->stats().unsynced_bytes > 0; ++i) {
    ASSERT_LT(i, 10'000);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  {
    Hold hold(disk, "sync");
    // What waits to be synced fills the log's room.
    ASSERT_TRUE(counter.Add().ok());
    counter.Add({}, {}, tell(patient));
    counter.Add(id,
                std::chrono::steady_clock::now() + std::chrono::milliseconds(5),
                tell(hasty));

    const absl::Status refused = hasty.get_future().get().status();

    EXPECT_EQ(ReasonOf(refused), Reason::kDeadline) << refused;
    EXPECT_EQ(counter.value(), 1.0f);
  }
  const auto applied = patient.get_future().get();
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(counter.value(), 2.0f);
  std::promise<absl::StatusOr<PushOutcome>> again;
  counter.Add(id, {}, tell(again));
  const auto repeated = again.get_future().get();
  ASSERT_TRUE(repeated.ok()) << repeated.status();
  EXPECT_FALSE(repeated->is_duplicate);
  EXPECT_EQ(counter.value(), 3.0f);
}

// The end of a push comes on another thread than that which let it in: it could
// be told before that thread had taken the push off the queue, and the process
// aborted when the engine ended in between.
TEST(DiskTest, AnEngineMayEndAsSoonAsAPushThatWaitedForRoomHas) {
  journal::LogOptions log = SmallLog();
  log.unsynced_bytes_max = 1;
  for (int round = 0; round < 300; ++round) {
    ModelDisk disk;
    const auto engine = OpenEngine(disk, log);
    ASSERT_TRUE(engine.ok()) << engine.status();
    Counter counter(**engine);
    for (int push = 0; push < 5; ++push) {
      ASSERT_TRUE(counter.Add().ok());
    }
  }
}

}  // namespace
}  // namespace quire
