// A repaired log starts, with all that was before the cut and nothing behind
// it; and nothing is deleted.

#include "inspect/log_repair.h"

#include <gtest/gtest.h>

#include <mutex>
#include <random>

#include "base/status.h"
#include "inspect/ledger.h"
#include "journal/snapshot_reader.h"
#include "journal/snapshot_writer.h"
#include "journal/snapshots.h"
#include "main/seed.h"

namespace quire::inspect {
namespace {

bool Says(const absl::Status& status, std::string_view words) {
  return std::string_view(status.message().data(), status.message().size())
             .find(words) != std::string_view::npos;
}

absl::StatusOr<RepairPlan> Plan(ModelDisk& disk) {
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files, OpenFiles(disk));
  return PlanRepair(files);
}

// A byte in the payload of the record.
void Damage(ModelDisk& disk, uint64_t lsn) {
  const auto [segment, at] = PlaceOf(disk, lsn);
  Flip(disk, segment, at + journal::kRecordHeaderBytes + 30);
}

// Whether each file of `before` is somewhere on the disk as it was, under its
// own name or a directory's of what is lost.
void ExpectNothingIsGone(const Contents& before, const ModelDisk& disk) {
  const Contents after = ContentsOf(disk);
  for (const auto& [name, bytes] : before) {
    const std::string file = name.substr(name.find('/') + 1);
    // clang 14 captures no names of a structured binding.
    const auto is_it = [&file, &name = name,
                        &bytes = bytes](const auto& entry) {
      return (entry.first == name || (entry.first.starts_with("lost-") &&
                                      entry.first.ends_with("/" + file))) &&
             entry.second == bytes;
    };
    const bool is_there = std::ranges::any_of(after, is_it);
    EXPECT_TRUE(is_there || name == "LOCK") << name;
  }
}

TEST(LogRepairTest, WhatIsBeforeTheDamageStaysAndTheRestIsSetAside) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(40);
  const uint64_t damaged = ledger.lsns()[22];
  Damage(disk, damaged);
  EXPECT_EQ(ReasonOf(PushesOn(disk).status()), Reason::kCorrupt);
  const Contents before = ContentsOf(disk);

  const auto plan = Plan(disk);

  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->cut_lsn, damaged);
  EXPECT_EQ(plan->base_lsn, 0u);
  EXPECT_FALSE(plan->cut_segment.empty());
  EXPECT_FALSE(plan->lost_segments.empty());
  EXPECT_EQ(ContentsOf(disk), before) << "a plan changes nothing";

  const auto repair = RepairLog(disk.Open());

  ASSERT_TRUE(repair.ok()) << repair.status();
  EXPECT_EQ(repair->plan.cut_lsn, damaged);
  EXPECT_EQ(repair->lost_path, "model/lost-" + std::to_string(damaged));
  ExpectNothingIsGone(before, disk);
  EXPECT_EQ(CheckLog(*OpenFiles(disk))->state, LogCheck::State::kWhole);
  EXPECT_EQ(*PushesOn(disk), 22);
  EXPECT_EQ(*PushesOn(disk), 22) << "after another start";
}

TEST(LogRepairTest, AServerGoesOnWhereTheLogWasCut) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(30);
  Damage(disk, ledger.lsns()[10]);
  ASSERT_TRUE(RepairLog(disk.Open()).ok());
  {
    const auto engine = OpenEngine(disk);
    ASSERT_TRUE(engine.ok()) << engine.status();
    ASSERT_TRUE((*engine)->OpenSession().ok());
    EXPECT_EQ((*engine)->log()->appended_lsn(), ledger.lsns()[10]);
  }
  // Damaged at the same place again: what was lost first stays.
  Damage(disk, ledger.lsns()[10]);
  const Contents before = ContentsOf(disk);
  const auto again = Plan(disk);
  // The last record, and nothing behind it says that it was synced: but its
  // bytes are there and wrong.
  ASSERT_TRUE(again.ok()) << again.status();

  const auto repair = RepairLog(disk.Open());

  ASSERT_TRUE(repair.ok()) << repair.status();
  EXPECT_TRUE(repair->lost_path.ends_with("-2")) << repair->lost_path;
  ExpectNothingIsGone(before, disk);
  EXPECT_EQ(*PushesOn(disk), 10);
}

TEST(LogRepairTest, AWholeOrTornLogIsNotRepaired) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(10);
  const Contents before = ContentsOf(disk);

  EXPECT_EQ(ReasonOf(Plan(disk).status()), Reason::kBadValue);
  EXPECT_EQ(ReasonOf(RepairLog(disk.Open()).status()), Reason::kBadValue);
  EXPECT_EQ(ContentsOf(disk), before);

  const auto [segment, at] = PlaceOf(disk, ledger.lsns().back());
  std::vector<std::byte> bytes = disk.Content(segment);
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at) + 64, bytes.end(),
            std::byte{});
  disk.SetContent(segment, bytes);
  const absl::Status torn = RepairLog(disk.Open()).status();
  EXPECT_EQ(ReasonOf(torn), Reason::kBadValue);
  EXPECT_TRUE(Says(torn, "cut by the next start")) << torn;
}

TEST(LogRepairTest, AServersDirectoryIsNotTouched) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(10);
  const auto engine = OpenEngine(disk);
  Damage(disk, ledger.lsns()[3]);

  EXPECT_EQ(ReasonOf(Plan(disk).status()), Reason::kDirectoryInUse);
  EXPECT_EQ(ReasonOf(RepairLog(disk.Open()).status()), Reason::kDirectoryInUse);
}

TEST(LogRepairTest, AMissingSegmentIsWhereTheLogIsCut) {
  ModelDisk whole;
  Ledger ledger(whole);
  ledger.Live(40);
  const std::vector<std::string> segments = SegmentsOf(whole);
  ASSERT_GT(segments.size(), 4u);
  for (size_t missing = 1; missing + 2 < segments.size(); ++missing) {
    ModelDisk disk(whole);
    RemoveSegment(disk, segments[missing].substr(4));
    const Contents before = ContentsOf(disk);

    const auto repair = RepairLog(disk.Open());

    ASSERT_TRUE(repair.ok()) << repair.status();
    ExpectNothingIsGone(before, disk);
    EXPECT_EQ(*PushesOn(disk), ledger.PushesBefore(repair->plan.cut_lsn));
    EXPECT_GT(*PushesOn(disk), 0);
  }
}

TEST(LogRepairTest, WithoutItsFirstSegmentALogIsNotCut) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(40);
  RemoveSegment(disk, SegmentsOf(disk)[0].substr(4));
  // Else a server's verdict would be that nothing is wrong with the rest.
  Damage(disk, ledger.lsns().back() - 3);
  const Contents before = ContentsOf(disk);

  const absl::Status refused = RepairLog(disk.Open()).status();

  EXPECT_EQ(ReasonOf(refused), Reason::kCorrupt);
  EXPECT_TRUE(Says(refused, "begins at LSN")) << refused;
  EXPECT_EQ(ContentsOf(disk), before);
}

TEST(LogRepairTest, BehindASnapshotItIsKeptAndStartedFrom) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(20, /*makes_snapshot=*/true);
  ledger.Live(20);
  Damage(disk, ledger.lsns()[30]);

  const auto repair = RepairLog(disk.Open());

  ASSERT_TRUE(repair.ok()) << repair.status();
  EXPECT_EQ(repair->plan.base_lsn, ledger.snapshot_lsns()[0]);
  EXPECT_TRUE(repair->plan.lost_snapshots.empty());
  EXPECT_EQ(*PushesOn(disk), 30);
}

TEST(LogRepairTest, WhatASnapshotHasIsNotGivenUpForACut) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(20, /*makes_snapshot=*/true);
  ledger.Live(20);
  // Far before the snapshot: a start does not look there.
  Damage(disk, ledger.lsns()[1]);
  const Contents before = ContentsOf(disk);

  const absl::Status needless = RepairLog(disk.Open()).status();

  EXPECT_EQ(ReasonOf(needless), Reason::kCorrupt);
  EXPECT_TRUE(Says(needless, "start the server")) << needless;
  EXPECT_EQ(ContentsOf(disk), before);
  EXPECT_EQ(*PushesOn(disk), 40);

  // In the segment in which a start begins to read.
  ModelDisk other;
  Ledger second(other);
  second.Live(3, /*makes_snapshot=*/true);
  second.Live(3, /*makes_snapshot=*/true);
  const uint64_t last = second.snapshot_lsns()[1];
  Damage(other, last);
  const absl::Status refused = RepairLog(other.Open()).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kCorrupt);
  EXPECT_TRUE(Says(refused, "has more than the cut would leave")) << refused;
}

// A snapshot holds changes behind its own LSN. Were it kept when they are cut,
// new changes with their LSNs would be taken for those that it has.
TEST(LogRepairTest, ASnapshotThatHoldsWhatIsCutIsSetAsideToo) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(10, /*makes_snapshot=*/true);
  ledger.Live(10, /*makes_snapshot=*/true);
  ledger.Live(10);
  const uint64_t cut = ledger.lsns()[24];
  const uint64_t newest = ledger.snapshot_lsns()[1];
  {
    // The newest again, its chunks as if they had been copied later.
    const DataFiles files = *OpenFiles(disk);
    const auto reader = journal::SnapshotReader::Open(files.snapshots(),
                                                      files.identity(), newest);
    ASSERT_TRUE(reader.ok()) << reader.status();
    const ModelDisk copy(disk);
    ASSERT_TRUE(journal::RemoveSnapshot(files.snapshots(), newest).ok());
    ModelDisk source(copy);
    const DataFiles from = *OpenFiles(source);
    const auto old = journal::SnapshotReader::Open(from.snapshots(),
                                                   from.identity(), newest);
    const auto writer = journal::SnapshotWriter::Begin(
        files.snapshots(), files.identity(), newest);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (size_t file = 0; file < old->file_count(); ++file) {
      ASSERT_TRUE(
          old->ReadFile(file,
                        [&](const journal::ChunkHeader& header, Bytes payload) {
                          journal::ChunkHeader later = header;
                          later.lsn = cut + 2;
                          return (*writer)->Append(later, {&payload, 1});
                        })
              .ok());
    }
    ASSERT_TRUE((*writer)->Finish(old->body()).ok());
  }
  Damage(disk, cut);
  const Contents before = ContentsOf(disk);

  const auto repair = RepairLog(disk.Open());

  ASSERT_TRUE(repair.ok()) << repair.status();
  EXPECT_EQ(repair->plan.lost_snapshots, std::vector{newest});
  EXPECT_EQ(repair->plan.base_lsn, ledger.snapshot_lsns()[0]);
  EXPECT_EQ(*PushesOn(disk), 24);
  const Contents after = ContentsOf(disk);
  const std::string directory =
      "lost-" + std::to_string(cut) + "/" + journal::SnapshotName(newest) + "/";
  EXPECT_EQ(
      after.at(directory + "MANIFEST"),
      before.at("snapshots/" + journal::SnapshotName(newest) + "/MANIFEST"));
}

// Of any byte: a repair is refused, or a server starts and has exactly what was
// before the cut.
TEST(LogRepairTest, WhateverIsDamagedAServerHasWhatWasBefore) {
  ModelDisk whole;
  Ledger ledger(whole);
  ledger.Live(12);
  ledger.Live(6);
  int repaired = 0;
  for (const std::string& segment : SegmentsOf(whole)) {
    for (size_t at = 0; at < whole.Content(segment).size(); at += 107) {
      ModelDisk disk(whole);
      Flip(disk, segment, at);
      const Contents before = ContentsOf(disk);
      const auto repair = RepairLog(disk.Open());
      if (!repair.ok()) {
        EXPECT_EQ(ReasonOf(repair.status()), Reason::kBadValue)
            << repair.status();
        EXPECT_EQ(ContentsOf(disk), before);
        EXPECT_TRUE(PushesOn(disk).ok());
        continue;
      }
      ++repaired;
      ExpectNothingIsGone(before, disk);
      const auto pushes = PushesOn(disk);
      ASSERT_TRUE(pushes.ok())
          << segment << " at " << at << ": " << pushes.status();
      EXPECT_EQ(*pushes, ledger.PushesBefore(repair->plan.cut_lsn))
          << segment << " at " << at;
    }
  }
  EXPECT_GT(repaired, 20);
}

TEST(LogRepairTest, APowerCutInTheMiddleLosesNothingAndIsRepairedAgain) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(30);
  Damage(disk, ledger.lsns()[11]);
  const Contents before = ContentsOf(disk);
  // What the test has changed is on the disk.
  std::mt19937_64 coin(testing::Seed());
  const auto start = disk.PowerCut(ModelDisk::Unsynced::kKept, coin);
  std::vector<std::unique_ptr<ModelDisk>> cuts;
  start->OnOperation([&](std::string_view) {
    for (const auto unsynced :
         {ModelDisk::Unsynced::kLost, ModelDisk::Unsynced::kKept,
          ModelDisk::Unsynced::kAsTheCoinFalls,
          ModelDisk::Unsynced::kAsTheCoinFalls}) {
      cuts.push_back(start->PowerCut(unsynced, coin));
    }
  });
  ASSERT_TRUE(RepairLog(start->Open()).ok());
  start->OnOperation(nullptr);
  EXPECT_GT(cuts.size(), 40u);
  for (const auto& cut : cuts) {
    ExpectNothingIsGone(before, *cut);
    const auto again = RepairLog(cut->Open());
    if (!again.ok()) {
      EXPECT_EQ(ReasonOf(again.status()), Reason::kBadValue) << again.status();
    }
    ExpectNothingIsGone(before, *cut);
    const auto pushes = PushesOn(*cut);
    ASSERT_TRUE(pushes.ok()) << pushes.status();
    EXPECT_EQ(*pushes, 11);
    if (HasFailure()) {
      return;
    }
  }
}

TEST(LogRepairTest, ADiskThatFailsIsToldAndTheNextRepairGoesOn) {
  ModelDisk whole;
  Ledger ledger(whole);
  ledger.Live(30);
  Damage(whole, ledger.lsns()[11]);
  const Contents before = ContentsOf(whole);
  for (int64_t operation = 0;; ++operation) {
    ModelDisk disk(whole);
    disk.FailAt(disk.operation_count() + operation, Reason::kDiskFull,
                /*for_ever=*/true);
    const auto repair = RepairLog(disk.Open());
    disk.FailAt(-1, Reason::kDiskFull, /*for_ever=*/false);
    ExpectNothingIsGone(before, disk);
    if (repair.ok()) {
      EXPECT_GT(operation, 8);
      break;
    }
    EXPECT_EQ(ReasonOf(repair.status()), Reason::kDiskFull);
    const auto again = RepairLog(disk.Open());
    EXPECT_TRUE(again.ok() || ReasonOf(again.status()) == Reason::kBadValue)
        << again.status();
    EXPECT_EQ(*PushesOn(disk), 11);
  }
}

}  // namespace
}  // namespace quire::inspect
