// Positions: what they promise of the rows, and who waits for one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "engine/disk_life.h"
#include "engine/engine.h"
#include "journal/model_disk.h"

namespace quire {
namespace {

using journal::ModelDisk;
using namespace std::chrono_literals;

constexpr int64_t kRows = 4;

// While it is closed, what is to be synced waits.
class SyncGate {
 public:
  explicit SyncGate(ModelDisk& disk) : disk_(disk) {
    disk_.OnOperation([this](std::string_view operation) {
      MutexLock lock(mutex_);
      while (is_closed_ && operation == "sync") {
        changed_.Wait(mutex_);
      }
    });
  }
  ~SyncGate() {
    Set(false);
    disk_.OnOperation(nullptr);
  }
  void Set(bool is_closed) {
    MutexLock lock(mutex_);
    is_closed_ = is_closed;
    changed_.NotifyAll();
  }

 private:
  ModelDisk& disk_;
  Mutex mutex_;
  CondVar changed_;
  bool is_closed_ QUIRE_GUARDED_BY(mutex_) = false;
};

class PositionTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    engine_.reset();
    auto engine = OpenEngine(disk_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  TableHandle Make(const std::string& name, bool is_logged = true) {
    v1::TableSpec spec = LedgerSpec(kRows, 1);
    spec.set_name(name);
    if (!is_logged) {
      spec.set_persistence(v1::PERSISTENCE_MEMORY);
    }
    const auto made = engine_->CreateTable(spec, v1::IF_EXISTS_ERROR);
    EXPECT_TRUE(made.ok()) << made.status();
    return made->table;
  }
  // Adds 1 to row 1; tells the LSN when that is done.
  std::future<uint64_t> Push(
      const TableHandle& table,
      v1::Durability durability = v1::DURABILITY_WRITTEN) {
    struct Pushing {
      Pushing(const TableHandle& table, v1::Durability durability)
          : addition(table, {1}, {}, durability) {}
      const Addition addition;
      std::promise<uint64_t> lsn;
    };
    auto pushing = std::make_shared<Pushing>(table, durability);
    ::quire::Push push = pushing->addition.push();
    push.id.reset();
    auto lsn = pushing->lsn.get_future();
    engine_->ApplyGradient(push, [pushing](absl::StatusOr<PushOutcome> end) {
      pushing->lsn.set_value(end.ok() ? end->lsn : 0);
    });
    return lsn;
  }
  std::optional<Position> Of(const std::vector<TableHandle>& tables) const {
    return engine_->PositionOf(tables);
  }
  uint64_t LsnOf(const TableHandle& table) const { return Of({table})->lsn; }
  // How a wait for it ends, within `time`.
  std::future<absl::Status> Await(const std::vector<TableHandle>& tables,
                                  const Position& position,
                                  std::chrono::milliseconds time = 1h) {
    auto end = std::make_shared<std::promise<absl::Status>>();
    engine_->WhenApplied(
        tables, position, std::chrono::steady_clock::now() + time,
        [end](absl::Status status) { end->set_value(std::move(status)); });
    return end->get_future();
  }
  Position Here(uint64_t lsn) const { return {engine_->log()->epoch(), lsn}; }
  static bool IsOver(const std::future<absl::Status>& end) {
    return end.wait_for(0s) == std::future_status::ready;
  }

  ModelDisk disk_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(PositionTest, WhatWasAcknowledgedIsInIt) {
  const TableHandle one = Make("one");
  const TableHandle two = Make("two");
  const TableHandle memory = Make("memory", /*is_logged=*/false);
  for (int i = 0; i < 50; ++i) {
    const uint64_t lsn = Push(i % 3 == 0 ? two : one).get();
    EXPECT_EQ(Of({one}), Here(lsn));
    EXPECT_EQ(Of({two, memory, one}), Here(lsn));
  }
  EXPECT_EQ(Of({memory}), std::nullopt);
  EXPECT_EQ(Of({}), std::nullopt);
}

// One SYNCED push that waits holds up its own table, and no other.
TEST_F(PositionTest, AChangeOnItsWayHoldsUpItsTable) {
  SyncGate gate(disk_);
  const TableHandle one = Make("one");
  const TableHandle two = Make("two");
  const uint64_t before = Push(two).get();
  gate.Set(true);
  std::future<uint64_t> waiting = Push(one, v1::DURABILITY_SYNCED);
  const uint64_t after = Push(two).get();

  // It took the place between the two.
  EXPECT_EQ(LsnOf(two), after);
  EXPECT_EQ(LsnOf(one), before);
  EXPECT_EQ(Of({one, two}), Here(before));
  EXPECT_TRUE(Await({two}, Here(after)).get().ok());
  EXPECT_TRUE(Await({one}, Here(before)).get().ok());
  const absl::Status late = Await({one}, Here(before + 1), 30ms).get();
  EXPECT_EQ(ReasonOf(late), Reason::kNotCaughtUp) << late;
  EXPECT_TRUE(RetryAfterMsOf(late).has_value());
  const auto patient = Await({one, two}, Here(before + 1));
  EXPECT_FALSE(IsOver(patient));

  gate.Set(false);

  EXPECT_EQ(waiting.get(), before + 1);
  EXPECT_GE(LsnOf(one), after);
}

TEST_F(PositionTest, AWaitEndsWithTheChange) {
  const TableHandle one = Make("one");
  const TableHandle two = Make("two");
  const uint64_t last = Push(one).get();
  std::vector<std::future<absl::Status>> waiting;
  for (int i = 0; i < 20; ++i) {
    waiting.push_back(Await({one, two}, Here(last + 3)));
  }
  Push(one).get();
  Push(two).get();
  EXPECT_TRUE(std::ranges::none_of(waiting, IsOver));
  Push(one).get();
  for (auto& end : waiting) {
    const absl::Status status = end.get();
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_F(PositionTest, AStopEndsAllWaits) {
  const TableHandle table = Make("one");
  auto waiting = Await({table}, Here(1000));
  EXPECT_FALSE(IsOver(waiting));
  engine_->GiveUpPositions();
  EXPECT_EQ(ReasonOf(waiting.get()), Reason::kStopping);
  EXPECT_EQ(ReasonOf(Await({table}, Here(1000)).get()), Reason::kStopping);
  EXPECT_TRUE(Await({table}, Here(1)).get().ok());
}

TEST_F(PositionTest, APositionOutlivesItsStartAsFarAsThatGot) {
  TableHandle table = Make("one");
  const Position last = Here(Push(table).get());
  const auto lost = [&](const Position& position) {
    return ReasonOf(Await({table}, position).get()) == Reason::kPositionLost;
  };
  for (int start = 0; start < 3; ++start) {
    table.reset();
    Open();
    table = *engine_->Find("one");
    EXPECT_TRUE(Await({table}, last).get().ok());
    EXPECT_TRUE(lost({last.epoch, last.lsn + 1}));
    EXPECT_TRUE(lost({engine_->log()->epoch() + 1, 1}));
    Push(table).get();
    // An LSN that another epoch has by now.
    EXPECT_TRUE(lost({last.epoch, last.lsn + 1}));
  }
  // Snapshots remember what of the log is gone.
  while (engine_->log()->first_lsn() <= last.lsn + 3) {
    Push(table).get();
    ASSERT_TRUE(engine_->CreateSnapshot().ok());
  }
  table.reset();
  Open();
  table = *engine_->Find("one");
  EXPECT_TRUE(Await({table}, last).get().ok());
  EXPECT_TRUE(lost({last.epoch, last.lsn + 1}));
  EXPECT_TRUE(Await({table}, {last.epoch + 1, last.lsn + 1}).get().ok());
  EXPECT_TRUE(lost({last.epoch + 1, last.lsn + 2}));
  Engine without_log({});
  std::optional<absl::Status> refused;
  without_log.WhenApplied({}, {1, 1}, {},
                          [&](absl::Status status) { refused = status; });
  EXPECT_EQ(ReasonOf(*refused), Reason::kPositionLost);
}

// Pushes of 1 to two tables, several on their way, some SYNCED: a row that is
// read after a position has at least as many as there were up to it.
TEST_F(PositionTest, RowsHaveAllChangesUpToTheirPosition) {
  constexpr int kPushes = 3000;
  struct Look {
    uint64_t lsn;
    float value;
  };
  struct OfTable {
    TableHandle table;
    std::vector<uint64_t> lsns;
    std::vector<Look> looks;
  };
  std::vector<OfTable> all(2);
  all[0].table = Make("one");
  all[1].table = Make("two");
  std::atomic<int> writing = 2;
  std::vector<std::thread> threads;
  for (OfTable& of : all) {
    threads.emplace_back([&, this] {
      std::vector<std::future<uint64_t>> pushes;
      for (int i = 0; i < kPushes; ++i) {
        pushes.push_back(Push(of.table, i % 7 == 0 ? v1::DURABILITY_SYNCED
                                                   : v1::DURABILITY_WRITTEN));
        if (pushes.size() == 8) {
          for (auto& push : pushes) {
            of.lsns.push_back(push.get());
          }
          pushes.clear();
        }
      }
      --writing;
    });
    threads.emplace_back([&, this] {
      const int64_t id = 1;
      while (writing > 0) {
        Look look{};
        look.lsn = LsnOf(of.table);
        of.table->Lookup({&id, 1}, reinterpret_cast<std::byte*>(&look.value));
        of.looks.push_back(look);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (OfTable& of : all) {
    ASSERT_EQ(of.lsns.size(), kPushes / 8 * 8);
    // One that waits for room is overtaken.
    std::ranges::sort(of.lsns);
    ASSERT_GT(of.lsns.front(), 0u) << "a push was refused";
    EXPECT_TRUE(std::ranges::is_sorted(of.looks, {}, &Look::lsn));
    for (const Look& look : of.looks) {
      const auto pushed =
          std::ranges::upper_bound(of.lsns, look.lsn) - of.lsns.begin();
      ASSERT_GE(look.value, static_cast<float>(pushed)) << "at " << look.lsn;
    }
    EXPECT_GT(of.looks.back().lsn, of.lsns.front());
  }
}

}  // namespace
}  // namespace quire
