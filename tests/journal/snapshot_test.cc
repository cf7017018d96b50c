// Snapshots, written, listed, read and removed: orderly ends, kills, power
// cuts, faults. snapshot_damage_test.cc is about damage.

#include "journal/snapshot_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/memory.h"
#include "base/status.h"
#include "journal/posix_files.h"
#include "journal/snapshot_history.h"
#include "main/seed.h"
#include "main/temp_dir.h"

namespace quire::journal {
namespace {

using Lsns = std::vector<uint64_t>;
using Names = std::vector<std::string>;
using Unsynced = ModelDisk::Unsynced;

class SnapshotTest : public ::testing::Test {
 protected:
  SnapshotList List() {
    auto list = ListSnapshots(*snapshots_);
    EXPECT_TRUE(list.ok()) << list.status();
    return list.value_or(SnapshotList{});
  }

  ModelDisk disk_;
  std::unique_ptr<Directory> snapshots_ = MakeSnapshots(disk_);
};

TEST_F(SnapshotTest, WhatIsWrittenIsReadOverSeveralFiles) {
  const Content content = PlanSnapshot(testing::Seed(), 60, 900);

  ASSERT_TRUE(WriteSnapshot(*snapshots_, 42, content).ok());

  const auto back = ReadSnapshot(*snapshots_, 42);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, content);
  const auto reader = SnapshotReader::Open(*snapshots_, kIdentity, 42);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_GT(reader->file_count(), 10u);
  EXPECT_EQ(reader->Verify(), absl::OkStatus());
  EXPECT_EQ(List().lsns, Lsns{42});
  EXPECT_EQ(List().drafts, Names{});
}

TEST_F(SnapshotTest, WithoutChunksThereIsOnlyTheBody) {
  const Content content = {.chunks = {}, .body = PayloadOf(1, 33)};

  ASSERT_TRUE(WriteSnapshot(*snapshots_, 0, content).ok());
  ASSERT_TRUE(WriteSnapshot(*snapshots_, ~uint64_t{0}, {}).ok());

  EXPECT_EQ(ReadSnapshot(*snapshots_, 0).value(), content);
  EXPECT_EQ(ReadSnapshot(*snapshots_, ~uint64_t{0}).value(), Content{});
  EXPECT_EQ(disk_.Names(), (Names{"snapshots/0000000000000000/MANIFEST",
                                  "snapshots/ffffffffffffffff/MANIFEST"}));
  EXPECT_EQ(List().lsns, (Lsns{~uint64_t{0}, 0}));
}

TEST_F(SnapshotTest, PayloadsMayBeEmptyAndOfAnySizeAndLieAligned) {
  Content content;
  for (size_t size = 0; size < 200; ++size) {
    content.chunks.push_back(
        {.header = {.index = size}, .payload = PayloadOf(size, size)});
    content.chunks.push_back({.header = {.index = size}, .payload = {}});
  }
  ASSERT_TRUE(WriteSnapshot(*snapshots_, 1, content).ok());

  EXPECT_EQ(ReadSnapshot(*snapshots_, 1).value(), content);
  const auto reader = SnapshotReader::Open(*snapshots_, kIdentity, 1);
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (size_t i = 0; i < reader->file_count(); ++i) {
    EXPECT_TRUE(
        reader
            ->ReadFile(i,
                       [](const ChunkHeader&, Bytes payload) {
                         EXPECT_EQ(
                             reinterpret_cast<uintptr_t>(payload.data()) % 64,
                             0u);
                         return absl::OkStatus();
                       })
            .ok());
  }
}

TEST_F(SnapshotTest, AFileIsNoLongerThanItsLimitUnlessItsOnlyChunkIs) {
  const Content content = PlanSnapshot(testing::Seed(), 100, 1500);
  auto writer =
      SnapshotWriter::Begin(*snapshots_, kIdentity, 1, kSmallSnapshot);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const TestChunk& chunk : content.chunks) {
    ASSERT_TRUE(Append(**writer, chunk).ok());
  }
  ASSERT_TRUE((*writer)->Finish(content.body).ok());

  int64_t bytes = 0;
  int longer = 0;
  for (const std::string& name : disk_.Names()) {
    if (!name.ends_with(".chunks")) {
      continue;
    }
    const std::vector<std::byte> file = disk_.Content(name);
    bytes += std::ssize(file);
    if (std::ssize(file) > kSmallSnapshot.file_bytes_max) {
      ++longer;
      int64_t payload_bytes = 0;
      std::memcpy(&payload_bytes, file.data() + 24, sizeof(payload_bytes));
      EXPECT_EQ(kChunkHeaderBytes + ChunkBodyBytes(payload_bytes),
                std::ssize(file));
    }
  }
  EXPECT_EQ((*writer)->bytes_written(), bytes);
  EXPECT_GT(longer, 0);
}

TEST_F(SnapshotTest, FilesAreReadFromSeveralThreads) {
  const Content content = PlanSnapshot(testing::Seed(), 200, 900);
  ASSERT_TRUE(WriteSnapshot(*snapshots_, 1, content).ok());
  const auto reader = SnapshotReader::Open(*snapshots_, kIdentity, 1);
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<std::vector<TestChunk>> files(reader->file_count());

  std::vector<std::thread> threads;
  for (size_t first = 0; first < 4; ++first) {
    threads.emplace_back([&, first] {
      for (size_t i = first; i < files.size(); i += 4) {
        const auto status =
            reader->ReadFile(i, [&](const ChunkHeader& header, Bytes payload) {
              files[i].push_back({.header = header,
                                  .payload = {payload.begin(), payload.end()}});
              return absl::OkStatus();
            });
        EXPECT_TRUE(status.ok()) << status;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }

  std::vector<TestChunk> all;
  for (auto& file : files) {
    std::ranges::move(file, std::back_inserter(all));
  }
  EXPECT_EQ(all, content.chunks);
}

TEST_F(SnapshotTest, AnErrorOfTheTakerEndsTheReading) {
  ASSERT_TRUE(WriteSnapshot(*snapshots_, 1,
                            PlanSnapshot(testing::Seed(), 9, 300),
                            SnapshotOptions{})
                  .ok());
  const auto reader = SnapshotReader::Open(*snapshots_, kIdentity, 1);
  ASSERT_TRUE(reader.ok()) << reader.status();
  int taken = 0;

  const absl::Status status =
      reader->ReadFile(0, [&](const ChunkHeader&, Bytes) {
        return ++taken == 3 ? absl::CancelledError("enough") : absl::OkStatus();
      });

  EXPECT_EQ(status, absl::CancelledError("enough"));
  EXPECT_EQ(taken, 3);
}

TEST_F(SnapshotTest, WhatIsNotFinishedIsRemoved) {
  const Content content = PlanSnapshot(testing::Seed(), 9, 900);
  {
    auto writer =
        SnapshotWriter::Begin(*snapshots_, kIdentity, 7, kSmallSnapshot);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const TestChunk& chunk : content.chunks) {
      ASSERT_TRUE(Append(**writer, chunk).ok());
    }
    EXPECT_EQ(List().drafts, Names{DraftName(7)});
    EXPECT_EQ(List().lsns, Lsns{});
    EXPECT_EQ(ReasonOf(ReadSnapshot(*snapshots_, 7).status()),
              Reason::kIoFailed);
  }
  EXPECT_EQ(snapshots_->List().value(), Names{});
}

TEST_F(SnapshotTest, ADraftOfAnyContentGivesWay) {
  const Content content = PlanSnapshot(testing::Seed(), 9, 900);
  auto draft = snapshots_->MakeDirectory(DraftName(7)).value();
  ASSERT_TRUE(draft->Create("00000000.chunks").ok());
  ASSERT_TRUE(draft->Create("MANIFEST").ok());
  ASSERT_TRUE(draft->MakeDirectory("deep").value()->Create("file").ok());
  ASSERT_TRUE(snapshots_->Create(DraftName(8)).ok());

  EXPECT_TRUE(WriteSnapshot(*snapshots_, 7, content).ok());
  EXPECT_TRUE(WriteSnapshot(*snapshots_, 8, content).ok());

  EXPECT_EQ(ReadSnapshot(*snapshots_, 7).value(), content);
  EXPECT_EQ(ReadSnapshot(*snapshots_, 8).value(), content);
  EXPECT_EQ(List().drafts, Names{});
}

TEST_F(SnapshotTest, ASecondOneOfAnLsnIsRefused) {
  const Content content = PlanSnapshot(testing::Seed(), 3, 900);
  ASSERT_TRUE(WriteSnapshot(*snapshots_, 7, content).ok());

  EXPECT_EQ(ReasonOf(WriteSnapshot(*snapshots_, 7, {})), Reason::kBadValue);

  EXPECT_EQ(ReadSnapshot(*snapshots_, 7).value(), content);
}

TEST_F(SnapshotTest, TheNewestIsListedFirstAndOthersArePassedOver) {
  for (const uint64_t lsn : {5, 0x1000, 70}) {
    ASSERT_TRUE(WriteSnapshot(*snapshots_, lsn, {}).ok());
  }
  ASSERT_TRUE(snapshots_->MakeDirectory("lost+found").ok());
  ASSERT_TRUE(snapshots_->MakeDirectory("other.draft").ok());
  ASSERT_TRUE(snapshots_->MakeDirectory(DraftName(9)).ok());

  EXPECT_EQ(List().lsns, (Lsns{0x1000, 70, 5}));
  EXPECT_EQ(List().drafts, Names{DraftName(9)});
  EXPECT_TRUE(RemoveDrafts(*snapshots_).ok());
  EXPECT_TRUE(RemoveSnapshot(*snapshots_, 70).ok());
  EXPECT_EQ(ReasonOf(RemoveSnapshot(*snapshots_, 70)), Reason::kIoFailed);
  EXPECT_EQ(snapshots_->List().value(),
            (Names{SnapshotName(5), SnapshotName(0x1000), "lost+found",
                   "other.draft"}));
}

// A power cut may bring back a draft that had become the snapshot.
TEST_F(SnapshotTest, ASnapshotBesideItsDraftIsRemoved) {
  ASSERT_TRUE(WriteSnapshot(*snapshots_, 7, {}).ok());
  auto draft = snapshots_->MakeDirectory(DraftName(7)).value();
  ASSERT_TRUE(draft->Create("MANIFEST").ok());

  EXPECT_TRUE(RemoveSnapshot(*snapshots_, 7).ok());

  EXPECT_EQ(snapshots_->List().value(), Names{});
}

TEST_F(SnapshotTest, ABodyHasItsLimit) {
  auto writer = SnapshotWriter::Begin(*snapshots_, kIdentity, 7);
  ASSERT_TRUE(writer.ok()) << writer.status();
  // Never touched, and so without memory.
  const auto body = Pages::Map(kManifestBytesMax);
  ASSERT_TRUE(body.ok()) << body.status();

  EXPECT_EQ(
      ReasonOf((*writer)->Finish({body->data(), size_t{kManifestBytesMax}})),
      Reason::kTooLarge);

  EXPECT_EQ(snapshots_->List().value(), Names{});
}

TEST(SnapshotFilesTest, RealFilesKeepASnapshot) {
  const quire::testing::TempDir temp;
  auto snapshots = OpenDirectory(temp.Path("snapshots"));
  ASSERT_TRUE(snapshots.ok()) << snapshots.status();
  const Content content = PlanSnapshot(testing::Seed(), 40, 900);

  ASSERT_TRUE(WriteSnapshot(**snapshots, 41, {}).ok());
  ASSERT_TRUE(WriteSnapshot(**snapshots, 42, content).ok());

  EXPECT_EQ(ReadSnapshot(**snapshots, 42).value(), content);
  EXPECT_EQ(ReasonOf(WriteSnapshot(**snapshots, 42, {})), Reason::kBadValue);
  EXPECT_TRUE(RemoveSnapshot(**snapshots, 41).ok());
  ASSERT_TRUE((*snapshots)->MakeDirectory(DraftName(9)).ok());
  EXPECT_EQ(ListSnapshots(**snapshots)->drafts, Names{DraftName(9)});
  EXPECT_TRUE(RemoveDrafts(**snapshots).ok());
  EXPECT_EQ((*snapshots)->List().value(), Names{SnapshotName(42)});
  EXPECT_EQ(ReadSnapshot(**snapshots, 42).value(), content);
}

// --- Crashes ---

// Of two files; what the chunks are is random, their sizes are not.
Content TwoFiles(uint64_t seed) {
  Content content = PlanSnapshot(seed, 3, 1);
  for (size_t i = 0; i < 3; ++i) {
    content.chunks[i].payload =
        PayloadOf(seed + i, std::vector<size_t>{700, 300, 500}[i]);
  }
  return content;
}

// The snapshots that a server makes and removes in its life.
class Life {
 public:
  Life() {
    for (const uint64_t lsn : {10, 20, 30, 40}) {
      contents_[lsn] = TwoFiles(testing::Seed() + lsn);
    }
  }

  // Goes on whatever fails; how many calls did.
  int Run(Directory& snapshots) {
    int failed = 0;
    const auto count = [&](const absl::Status& status) {
      failed += status.ok() ? 0 : 1;
    };
    count(Write(snapshots, 10));
    count(Write(snapshots, 20));
    count(Remove(snapshots, 10));
    count(Abandon(snapshots, 30));
    count(Write(snapshots, 30));
    count(Remove(snapshots, 20));
    return failed;
  }

  absl::Status Write(Directory& snapshots, uint64_t lsn) {
    const absl::Status status =
        WriteSnapshot(snapshots, lsn, contents_.at(lsn));
    if (status.ok()) {
      promised_.insert(lsn);
    }
    return status;
  }

  // Those that must be there.
  const std::set<uint64_t>& promised() const { return promised_; }
  void set_promised(const Lsns& lsns) {
    promised_ = {lsns.begin(), lsns.end()};
  }
  const Content& content(uint64_t lsn) const { return contents_.at(lsn); }

 private:
  absl::Status Remove(Directory& snapshots, uint64_t lsn) {
    promised_.erase(lsn);
    return RemoveSnapshot(snapshots, lsn);
  }
  absl::Status Abandon(Directory& snapshots, uint64_t lsn) const {
    QUIRE_ASSIGN_OR_RETURN(
        const auto writer,
        SnapshotWriter::Begin(snapshots, kIdentity, lsn, kSmallSnapshot));
    return Append(*writer, contents_.at(lsn).chunks.front());
  }

  std::map<uint64_t, Content> contents_;
  std::set<uint64_t> promised_;
};

// What is on the disk after a crash: all that was promised, nothing that is not
// whole; drafts go, and life goes on.
void Check(ModelDisk& disk, Life life) {
  const auto snapshots = OpenSnapshots(disk);
  ASSERT_NE(snapshots, nullptr);
  const auto list = ListSnapshots(*snapshots);
  ASSERT_TRUE(list.ok()) << list.status();
  for (const uint64_t lsn : list->lsns) {
    const auto back = ReadSnapshot(*snapshots, lsn);
    ASSERT_TRUE(back.ok()) << back.status();
    ASSERT_EQ(*back, life.content(lsn)) << lsn;
  }
  for (const uint64_t lsn : life.promised()) {
    ASSERT_EQ(std::ranges::count(list->lsns, lsn), 1) << lsn;
  }
  const absl::Status removed = RemoveDrafts(*snapshots);
  ASSERT_TRUE(removed.ok()) << removed;
  ASSERT_EQ(ListSnapshots(*snapshots)->drafts, Names{});
  ASSERT_EQ(ListSnapshots(*snapshots)->lsns, list->lsns);
  ASSERT_EQ(snapshots->List()->size(), list->lsns.size());
  const absl::Status written = life.Write(*snapshots, 40);
  ASSERT_TRUE(written.ok()) << written;
  ASSERT_EQ(ReadSnapshot(*snapshots, 40).value(), life.content(40));
}

// The disk and what was promised, at a moment.
struct Moment {
  std::unique_ptr<ModelDisk> disk;
  Life life;
};

// Before each operation of `run`, and at its end.
std::vector<Moment> MomentsOf(ModelDisk& disk, Life& life,
                              const std::function<void()>& run) {
  std::vector<Moment> moments;
  const auto keep = [&](std::string_view) {
    moments.push_back({std::make_unique<ModelDisk>(disk), life});
  };
  disk.OnOperation(keep);
  run();
  disk.OnOperation(nullptr);
  keep("the end");
  return moments;
}

Unsynced Fate(int outcome) {
  return outcome == 0   ? Unsynced::kLost
         : outcome == 1 ? Unsynced::kKept
                        : Unsynced::kAsTheCoinFalls;
}

class SnapshotCrashTest : public SnapshotTest {
 protected:
  std::vector<Moment> LifesMoments() {
    return MomentsOf(disk_, life_,
                     [&] { EXPECT_EQ(life_.Run(*snapshots_), 0); });
  }

  Life life_;
  std::mt19937_64 coin_{testing::Seed()};
};

TEST_F(SnapshotCrashTest, AKillLeavesWhatWasFinishedAndDraftsToRemove) {
  const auto moments = LifesMoments();
  RecordProperty("kills", std::ssize(moments));
  ASSERT_GT(moments.size(), 50u);

  for (size_t i = 0; i < moments.size(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_NO_FATAL_FAILURE(Check(*moments[i].disk, moments[i].life));
  }
}

TEST_F(SnapshotCrashTest, APowerCutLeavesWhatWasFinishedAndNothingThatIsNot) {
  const auto moments = LifesMoments();

  std::set<Names> found;
  for (size_t i = 0; i < moments.size(); ++i) {
    SCOPED_TRACE(i);
    for (int outcome = 0; outcome < 100; ++outcome) {
      const auto cut = moments[i].disk->PowerCut(Fate(outcome), coin_);
      found.insert(cut->Names());
      ASSERT_NO_FATAL_FAILURE(Check(*cut, moments[i].life));
    }
  }
  RecordProperty("boundaries", std::ssize(moments));
  RecordProperty("outcomes", std::ssize(found));
  EXPECT_GT(found.size(), 30u) << "the cuts are much alike";
}

// A process that was killed has left what is on no disk yet. What the next one
// lists is there from then on, whenever the power goes.
TEST_F(SnapshotCrashTest, APowerCutWhileTheNextProcessRemovesDrafts) {
  int64_t cuts = 0;
  for (Moment& killed : LifesMoments()) {
    const auto snapshots = OpenSnapshots(*killed.disk);
    const auto moments = MomentsOf(*killed.disk, killed.life, [&] {
      const auto list = ListSnapshots(*snapshots);
      ASSERT_TRUE(list.ok()) << list.status();
      killed.life.set_promised(list->lsns);
      ASSERT_TRUE(RemoveDrafts(*snapshots).ok());
    });
    for (const Moment& moment : moments) {
      for (int outcome = 0; outcome < 15; ++outcome) {
        const auto cut = moment.disk->PowerCut(Fate(outcome), coin_);
        ASSERT_NO_FATAL_FAILURE(Check(*cut, moment.life));
        ++cuts;
      }
    }
  }
  RecordProperty("cuts", cuts);
  EXPECT_GT(cuts, 3'000);
}

// Of the snapshots of one life after the other each is PlanSnapshot of its LSN.
absl::StatusOr<Lsns> ListWhole(ModelDisk& disk) {
  const auto snapshots = OpenSnapshots(disk);
  QUIRE_ASSIGN_OR_RETURN(const SnapshotList list, ListSnapshots(*snapshots));
  for (const uint64_t lsn : list.lsns) {
    QUIRE_ASSIGN_OR_RETURN(const Content back, ReadSnapshot(*snapshots, lsn));
    EXPECT_EQ(back, PlanSnapshot(lsn, 3, 900)) << lsn;
  }
  return list.lsns;
}

// Each life goes on from what the one before has left, and nobody removes
// drafts.
TEST_F(SnapshotCrashTest, APowerCutAfterAPowerCut) {
  auto disk = std::make_unique<ModelDisk>(disk_);
  for (uint64_t cut = 0; cut < 500; ++cut) {
    SCOPED_TRACE(cut);
    const auto before = ListWhole(*disk);
    ASSERT_TRUE(before.ok()) << before.status();
    // The same again, where it has not been finished.
    const uint64_t lsn = before->empty() ? 1 : before->front() + 1;
    disk->FailAt(disk->operation_count() + static_cast<int64_t>(coin_() % 25),
                 Reason::kIoFailed, true);
    bool written = false;
    {
      const auto snapshots = OpenSnapshots(*disk);
      written = WriteSnapshot(*snapshots, lsn, PlanSnapshot(lsn, 3, 900)).ok();
      if (written && !before->empty()) {
        RemoveSnapshot(*snapshots, before->back()).IgnoreError();
      }
    }

    disk = disk->PowerCut(Unsynced::kAsTheCoinFalls, coin_);

    const auto after = ListWhole(*disk);
    ASSERT_TRUE(after.ok()) << after.status();
    ASSERT_TRUE(!written || after->front() == lsn);
    ASSERT_TRUE(before->empty() || after->front() >= before->front());
  }
  EXPECT_GT(ListWhole(*disk)->front(), 50u);
}

// --- Faults ---

// The process stops in the middle of an operation, which may be a write.
TEST_F(SnapshotCrashTest, WhateverFailsForEverWhatWasFinishedIsThere) {
  const int64_t begin = disk_.operation_count();
  ModelDisk whole(disk_);
  ASSERT_EQ(Life().Run(*OpenSnapshots(whole)), 0);
  ASSERT_GT(whole.operation_count(), 50);
  for (int64_t n = 0; n < whole.operation_count(); ++n) {
    SCOPED_TRACE(n);
    ModelDisk disk(disk_);
    Life life;
    disk.FailAt(n, n % 2 == 0 ? Reason::kIoFailed : Reason::kDiskFull, true);
    EXPECT_GT(life.Run(*OpenSnapshots(disk)), 0);
    disk.FailAt(-1, Reason::kIoFailed, false);
    for (int outcome = 0; outcome < 20; ++outcome) {
      ASSERT_NO_FATAL_FAILURE(
          Check(*disk.PowerCut(Fate(outcome), coin_), life));
    }
    ASSERT_NO_FATAL_FAILURE(Check(disk, life));
  }
  EXPECT_EQ(disk_.operation_count(), begin);
}

// One operation fails: the error is told, the draft is gone, the snapshot that
// was there stays, and the next try succeeds.
TEST_F(SnapshotCrashTest, AfterAFaultTheDiskIsAsBefore) {
  ASSERT_TRUE(life_.Write(*snapshots_, 10).ok());
  const Names before = disk_.Names();
  ModelDisk whole(disk_);
  ASSERT_TRUE(Life(life_).Write(*OpenSnapshots(whole), 20).ok());
  const int64_t operations = whole.operation_count();
  ASSERT_GT(operations, 12);
  for (int64_t n = 0; n < operations; ++n) {
    for (const Reason reason : {Reason::kIoFailed, Reason::kDiskFull}) {
      SCOPED_TRACE(n);
      ModelDisk disk(disk_);
      Life life(life_);
      const auto snapshots = OpenSnapshots(disk);
      disk.FailAt(n, reason, false);

      EXPECT_EQ(ReasonOf(life.Write(*snapshots, 20)), reason);

      EXPECT_EQ(disk.Names(), before);
      EXPECT_EQ(snapshots->List().value(), Names{SnapshotName(10)});
      ASSERT_NO_FATAL_FAILURE(
          Check(*disk.PowerCut(Unsynced::kAsTheCoinFalls, coin_), life));
      EXPECT_TRUE(life.Write(*snapshots, 20).ok());
      ASSERT_NO_FATAL_FAILURE(Check(disk, life));
    }
  }
}

TEST_F(SnapshotCrashTest, AFaultInARemovalLeavesTheSnapshotOrADraft) {
  ASSERT_TRUE(life_.Write(*snapshots_, 10).ok());
  ASSERT_TRUE(life_.Write(*snapshots_, 20).ok());
  Life without_10;
  without_10.set_promised({20});
  ModelDisk whole(disk_);
  ASSERT_TRUE(RemoveSnapshot(*OpenSnapshots(whole), 10).ok());
  for (int64_t n = 0; n < whole.operation_count(); ++n) {
    SCOPED_TRACE(n);
    ModelDisk disk(disk_);
    disk.FailAt(n, Reason::kIoFailed, false);

    EXPECT_EQ(ReasonOf(RemoveSnapshot(*OpenSnapshots(disk), 10)),
              Reason::kIoFailed);

    for (int outcome = 0; outcome < 50; ++outcome) {
      ASSERT_NO_FATAL_FAILURE(
          Check(*disk.PowerCut(Fate(outcome), coin_), without_10));
    }
    ASSERT_NO_FATAL_FAILURE(Check(disk, without_10));
  }
}

TEST_F(SnapshotTest, AfterAnErrorThereIsThatErrorAndNothingOnTheDisk) {
  const Content content = PlanSnapshot(testing::Seed(), 9, 900);
  // More than is written at once.
  const TestChunk large = {.header = {}, .payload = PayloadOf(1, 600'000)};
  auto writer = SnapshotWriter::Begin(*snapshots_, kIdentity, 7);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(Append(**writer, content.chunks[0]).ok());
  disk_.FailAt(disk_.operation_count(), Reason::kDiskFull, false);

  const absl::Status status = Append(**writer, large);

  EXPECT_EQ(ReasonOf(status), Reason::kDiskFull);
  EXPECT_EQ(snapshots_->List().value(), Names{}) << "at once";
  const int64_t operations = disk_.operation_count();
  EXPECT_EQ(Append(**writer, content.chunks[2]), status);
  EXPECT_EQ((*writer)->Finish(content.body), status);
  writer->reset();
  EXPECT_EQ(disk_.operation_count(), operations);
}

TEST_F(SnapshotTest, AFullDiskGetsItsSpaceBack) {
  const auto of_one_chunk = [](size_t bytes) {
    return Content{.chunks = {{.header = {}, .payload = PayloadOf(1, bytes)}},
                   .body = {}};
  };
  // A block, and a manifest.
  disk_.SetSpace(static_cast<int64_t>(kBlockBytes) + 1000);

  EXPECT_EQ(ReasonOf(WriteSnapshot(*snapshots_, 7, of_one_chunk(9000))),
            Reason::kDiskFull);

  EXPECT_EQ(snapshots_->List().value(), Names{});
  EXPECT_TRUE(WriteSnapshot(*snapshots_, 8, of_one_chunk(1000)).ok());
}

}  // namespace
}  // namespace quire::journal
