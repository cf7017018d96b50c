// A backup is of one position, and what is restored from it has exactly that.

#include "inspect/restore.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "engine/backup.h"
#include "inspect/ledger.h"
#include "inspect/snapshot_report.h"

namespace quire::inspect {
namespace {

bool Says(const absl::Status& status, std::string_view words) {
  return std::string_view(status.message().data(), status.message().size())
             .find(words) != std::string_view::npos;
}

absl::StatusOr<Restored> Restore(ModelDisk& backup, ModelDisk& target) {
  const auto root = target.Open();
  return RestoreBackup(backup.Open(), *root);
}

// A backup of a ledger with snapshots and a log of some segments.
void MakeBackup(ModelDisk& backup, Ledger& ledger, ModelDisk& disk) {
  ledger.Live(10, /*makes_snapshot=*/true);
  ledger.Live(15);
  const auto engine = OpenEngine(disk);
  ASSERT_TRUE(engine.ok()) << engine.status();
  ledger.Push(**engine, *(*engine)->FindAny("ledger"));
  const auto root = backup.Open();
  const auto made = (*engine)->BackUp(*root);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->lsn, ledger.lsns().back());
}

TEST(RestoreTest, ABackupOfAServerAtWorkIsOfExactlyItsPosition) {
  for (int round = 0; round < 8; ++round) {
    ModelDisk disk;
    Ledger ledger(disk);
    ledger.Live(5, /*makes_snapshot=*/round % 2 == 0);
    ModelDisk backup;
    uint64_t lsn = 0;
    {
      const auto engine = OpenEngine(disk);
      ASSERT_TRUE(engine.ok()) << engine.status();
      std::atomic<int> pushed = 0;
      std::thread pusher([&] {
        const TableHandle table = *(*engine)->FindAny("ledger");
        for (; pushed < 50; ++pushed) {
          ledger.Push(**engine, table);
        }
      });
      while (pushed < round * 5) {
        std::this_thread::yield();
      }
      const auto root = backup.Open();
      const auto made = (*engine)->BackUp(*root);
      pusher.join();
      ASSERT_TRUE(made.ok()) << made.status();
      lsn = made->lsn;
      EXPECT_GE(ledger.PushesBefore(lsn + 1), 5 + round * 5);
    }
    EXPECT_EQ(*PushesOn(disk), 55);
    const Contents before = ContentsOf(backup);
    ModelDisk target;

    const auto restored = Restore(backup, target);

    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ(restored->lsn, lsn);
    EXPECT_NE(restored->identity, OpenFiles(disk)->identity());
    EXPECT_EQ(restored->identity, OpenFiles(target)->identity());
    EXPECT_EQ(*PushesOn(target), ledger.PushesBefore(lsn + 1));
    EXPECT_EQ(ContentsOf(backup), before);
  }
}

// Snapshots that are made meanwhile would remove what is being copied.
TEST(RestoreTest, WhatABackupCopiesStaysWhileItDoes) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(10);
  ModelDisk backup;
  uint64_t lsn = 0;
  {
    const auto engine = OpenEngine(disk);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const TableHandle table = *(*engine)->FindAny("ledger");
    bool is_first = true;
    backup.OnOperation([&](std::string_view) {
      const int snapshots = std::exchange(is_first, false) ? 4 : 0;
      for (int i = 0; i < snapshots; ++i) {
        for (int push = 0; push < 8; ++push) {
          ledger.Push(**engine, table);
        }
        const auto made = (*engine)->CreateSnapshot();
        EXPECT_TRUE(made.ok()) << made.status();
      }
    });
    const auto root = backup.Open();
    const auto made = (*engine)->BackUp(*root);
    backup.OnOperation(nullptr);
    ASSERT_TRUE(made.ok()) << made.status();
    lsn = made->lsn;
    EXPECT_EQ(std::ssize(ledger.lsns()), 42);
    EXPECT_EQ(ledger.PushesBefore(lsn + 1), 10);
    // What was held goes with the next snapshot.
    ledger.Push(**engine, table);
    ASSERT_TRUE((*engine)->CreateSnapshot().ok());
    EXPECT_GT((*engine)->log()->first_lsn(), lsn);
  }
  EXPECT_EQ(ListSnapshots(*OpenFiles(disk))->size(), 2u);
  ModelDisk target;
  ASSERT_TRUE(Restore(backup, target).ok());
  EXPECT_EQ(*PushesOn(target), 10);
}

TEST(RestoreTest, AServerWithoutAnyChangeIsBackedUpAsWell) {
  ModelDisk disk;
  ModelDisk backup;
  {
    const auto engine = OpenEngine(disk);
    const auto root = backup.Open();
    const auto made = (*engine)->BackUp(*root);
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->lsn, 0u);
  }
  ModelDisk target;

  const auto restored = Restore(backup, target);

  ASSERT_TRUE(restored.ok()) << restored.status();
  const auto engine = OpenEngine(target);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_TRUE((*engine)->List().empty());
}

TEST(RestoreTest, SessionsComeAlong) {
  ModelDisk disk;
  ModelDisk backup;
  SessionId session;
  {
    const auto engine = OpenEngine(disk);
    session = *(*engine)->OpenSession();
    const auto root = backup.Open();
    ASSERT_TRUE((*engine)->BackUp(*root).ok());
  }
  ModelDisk target;
  ASSERT_TRUE(Restore(backup, target).ok());

  const auto engine = OpenEngine(target);

  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_TRUE((*engine)->CloseSession(session).ok());
}

TEST(RestoreTest, AServerDoesNotStartOnABackup) {
  ModelDisk disk;
  Ledger ledger(disk);
  ModelDisk backup;
  MakeBackup(backup, ledger, disk);
  const Contents before = ContentsOf(backup);

  const absl::Status refused = OpenEngine(backup).status();

  EXPECT_EQ(ReasonOf(refused), Reason::kForeignData);
  EXPECT_TRUE(Says(refused, "quire snapshot restore")) << refused;
  EXPECT_EQ(ContentsOf(backup), before);
}

TEST(RestoreTest, OnlyABackupIsRestoredAndOnlyIntoNothing) {
  ModelDisk disk;
  Ledger ledger(disk);
  ModelDisk backup;
  MakeBackup(backup, ledger, disk);
  ModelDisk target;

  EXPECT_EQ(ReasonOf(Restore(disk, target).status()), Reason::kForeignData);
  EXPECT_TRUE(target.Names().empty());

  const Contents before = ContentsOf(disk);
  EXPECT_EQ(ReasonOf(Restore(backup, disk).status()), Reason::kForeignData);
  EXPECT_EQ(ContentsOf(disk), before);
}

TEST(RestoreTest, ABackupThatWasMadeSurvivesAPowerCut) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(10, /*makes_snapshot=*/true);
  ledger.Live(5);
  ModelDisk backups;
  {
    const auto engine = OpenEngine(disk);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const auto made = (*engine)->BackUp(*backups.Open(), "monday");
    ASSERT_TRUE(made.ok()) << made.status();
  }
  std::mt19937_64 coin(1);
  const auto cut = backups.PowerCut(ModelDisk::Unsynced::kLost, coin);
  auto monday = cut->Open()->OpenDirectory("monday");
  ASSERT_TRUE(monday.ok()) << monday.status();
  ModelDisk target;

  const auto restored = RestoreBackup(*std::move(monday), *target.Open());

  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(*PushesOn(target), 15);
}

TEST(RestoreTest, AFailingDiskLeavesNoBackup) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(25, /*makes_snapshot=*/true);
  const auto engine = OpenEngine(disk);
  ASSERT_TRUE(engine.ok()) << engine.status();
  for (int64_t operation = 0;; ++operation) {
    ModelDisk backups;
    backups.FailAt(operation, Reason::kDiskFull, /*for_ever=*/false);
    const auto root = backups.Open();
    const auto made = (*engine)->BackUp(*root, "monday");
    if (made.ok()) {
      EXPECT_GT(operation, 20);
      break;
    }
    EXPECT_EQ(ReasonOf(made.status()), Reason::kDiskFull);
    EXPECT_EQ(root->List().value(), std::vector<std::string>())
        << "after " << operation;
  }
}

TEST(RestoreTest, AFailingDiskLeavesTheTargetEmpty) {
  ModelDisk disk;
  Ledger ledger(disk);
  ModelDisk backup;
  MakeBackup(backup, ledger, disk);
  for (int64_t operation = 0;; ++operation) {
    ModelDisk target;
    target.FailAt(operation, Reason::kIoFailed, /*for_ever=*/false);
    const auto restored = Restore(backup, target);
    if (restored.ok()) {
      EXPECT_GT(operation, 20);
      break;
    }
    EXPECT_EQ(ReasonOf(restored.status()), Reason::kIoFailed);
    EXPECT_TRUE(target.Names().empty()) << "after " << operation;
  }
}

// Each byte of a backup is as it was made, or nothing is restored; but for
// zeros behind its end, where a flipped bit is a write that tore.
TEST(RestoreTest, ADamagedBackupIsNotRestored) {
  ModelDisk disk;
  Ledger ledger(disk);
  ModelDisk whole;
  MakeBackup(whole, ledger, disk);
  int refused = 0;
  for (const std::string& name : whole.Names()) {
    for (size_t at = 0; at < whole.Content(name).size(); at += 61) {
      ModelDisk backup(whole);
      Flip(backup, name, at);
      ModelDisk target;
      const auto restored = Restore(backup, target);
      if (!restored.ok()) {
        EXPECT_TRUE(target.Names().empty()) << name << " at " << at;
        ++refused;
        continue;
      }
      EXPECT_EQ(*PushesOn(target), 26) << name << " at " << at;
    }
  }
  EXPECT_GT(refused, 40);
}

// Missing files at the end of a log are no damage of what is left: only the
// mark tells.
TEST(RestoreTest, ABackupWithoutItsLastSegmentIsNotRestored) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(30);
  ModelDisk backup;
  {
    const auto engine = OpenEngine(disk);
    const TableHandle table = *(*engine)->FindAny("ledger");
    const auto root = backup.Open();
    ledger.Push(**engine, table);
    ASSERT_TRUE((*engine)->BackUp(*root).ok());
  }
  const std::vector<std::string> segments = SegmentsOf(backup);
  ASSERT_FALSE(segments.empty());
  RemoveSegment(backup, segments.back().substr(4));
  ModelDisk target;

  EXPECT_EQ(ReasonOf(Restore(backup, target).status()), Reason::kCorrupt);
  EXPECT_TRUE(target.Names().empty());
}

}  // namespace
}  // namespace quire::inspect
