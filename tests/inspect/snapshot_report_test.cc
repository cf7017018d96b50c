// What is said of snapshots is what is in them.

#include "inspect/snapshot_report.h"

#include <gtest/gtest.h>

#include "base/status.h"
#include "inspect/ledger.h"
#include "journal/snapshot_format.h"

namespace quire::inspect {
namespace {

TEST(SnapshotReportTest, SnapshotsAreListedWithWhatTheyAreOf) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(10, /*makes_snapshot=*/true);
  ledger.Live(10, /*makes_snapshot=*/true);
  const auto files = OpenFiles(disk);

  const auto snapshots = ListSnapshots(*files);

  ASSERT_TRUE(snapshots.ok()) << snapshots.status();
  ASSERT_EQ(snapshots->size(), 2u);
  const SnapshotReport& newest = snapshots->front();
  EXPECT_EQ(newest.lsn, ledger.snapshot_lsns()[1]);
  EXPECT_TRUE(newest.damage.ok());
  EXPECT_EQ(newest.epoch, 2u);
  EXPECT_EQ(snapshots->back().lsn, ledger.snapshot_lsns()[0]);
  int64_t bytes = 0;
  for (const auto& [name, content] : ContentsOf(disk)) {
    if (name.starts_with("snapshots/" + journal::SnapshotName(newest.lsn))) {
      bytes += std::ssize(content);
    }
  }
  EXPECT_EQ(newest.bytes, bytes);
  ASSERT_EQ(newest.tables.size(), 1u);
  EXPECT_EQ(newest.tables[0].name, "ledger");
  EXPECT_EQ(newest.tables[0].rows, kLedgerRows);
  EXPECT_EQ(newest.tables[0].dim, kLedgerDim);
  EXPECT_EQ(newest.tables[0].step, 20);
  EXPECT_TRUE(newest.tables[0].has_rows);
}

TEST(SnapshotReportTest, EveryByteThatIsNotAsWrittenIsFound) {
  ModelDisk whole;
  Ledger ledger(whole);
  ledger.Live(10, /*makes_snapshot=*/true);
  const uint64_t lsn = ledger.snapshot_lsns()[0];
  const auto verified = VerifySnapshot(*OpenFiles(whole), lsn);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->chunk_count, 2) << "one for each shard";
  EXPECT_EQ(verified->last_lsn, lsn);

  int flipped = 0;
  for (const std::string& name : whole.Names()) {
    if (!name.starts_with("snapshots/")) {
      continue;
    }
    for (size_t at = 0; at < whole.Content(name).size(); at += 13) {
      ModelDisk disk(whole);
      Flip(disk, name, at);
      const absl::Status status =
          VerifySnapshot(*OpenFiles(disk), lsn).status();
      EXPECT_TRUE(ReasonOf(status) == Reason::kCorrupt ||
                  ReasonOf(status) == Reason::kFormatTooNew)
          << name << " at " << at << ": " << status;
      ++flipped;
    }
  }
  EXPECT_GT(flipped, 50);
}

TEST(SnapshotReportTest, ADamagedOneIsListedAsSuchAndAMissingOneIsAnError) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(10, /*makes_snapshot=*/true);
  const uint64_t lsn = ledger.snapshot_lsns()[0];
  Flip(disk, "snapshots/" + journal::SnapshotName(lsn) + "/MANIFEST", 130);
  const auto files = OpenFiles(disk);

  const auto snapshots = ListSnapshots(*files);

  ASSERT_TRUE(snapshots.ok()) << snapshots.status();
  ASSERT_EQ(snapshots->size(), 1u);
  EXPECT_EQ(snapshots->front().lsn, lsn);
  EXPECT_EQ(ReasonOf(snapshots->front().damage), Reason::kCorrupt);
  EXPECT_EQ(ReasonOf(VerifySnapshot(*files, lsn + 1).status()),
            Reason::kIoFailed);
}

}  // namespace
}  // namespace quire::inspect
