// What is said of a log is what a server would find.

#include "inspect/log_report.h"

#include <gtest/gtest.h>

#include "base/status.h"
#include "inspect/ledger.h"

namespace quire::inspect {
namespace {

using State = LogCheck::State;

bool Says(const absl::Status& status, std::string_view words) {
  return std::string_view(status.message().data(), status.message().size())
             .find(words) != std::string_view::npos;
}

// Where the last byte ends that is not zero.
int64_t ContentBytes(const std::vector<std::byte>& bytes) {
  const auto last =
      std::ranges::find_if(bytes.rbegin(), bytes.rend(),
                           [](std::byte byte) { return byte != std::byte{}; });
  return bytes.rend() - last;
}

TEST(LogReportTest, TheStatusTellsWhatThereIsAndWhatAStartReads) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(20);
  {
    const auto files = OpenFiles(disk);
    ASSERT_TRUE(files.ok()) << files.status();
    const auto status = ReadLogStatus(*files);
    ASSERT_TRUE(status.ok()) << status.status();
    EXPECT_FALSE(status->is_in_use);
    EXPECT_EQ(status->epoch, 1u);
    EXPECT_EQ(status->first_lsn, 1u);
    EXPECT_EQ(status->last_lsn, ledger.lsns().back());
    EXPECT_EQ(status->oldest_lsn, 1u);
    EXPECT_EQ(status->start_snapshot_lsn, 0u);
    int64_t content = 0;
    for (const std::string& segment : SegmentsOf(disk)) {
      const int64_t bytes = ContentBytes(disk.Content(segment));
      // A prepared segment is not read.
      content += bytes > journal::kSegmentHeaderBytes ? bytes : 0;
    }
    EXPECT_EQ(status->start_log_bytes, content);
    EXPECT_GT(status->segment_count, 2);
    EXPECT_EQ(status->segment_bytes, status->segment_count << 12);
  }

  ledger.Live(10, /*makes_snapshot=*/true);
  ledger.Live(10, /*makes_snapshot=*/true);
  ledger.Live(10, /*makes_snapshot=*/true);
  ledger.Live(1);

  const auto files = OpenFiles(disk);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto status = ReadLogStatus(*files);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->epoch, 5u);
  EXPECT_EQ(status->last_lsn, ledger.lsns().back());
  ASSERT_EQ(status->snapshots.size(), 2u);
  EXPECT_EQ(status->snapshots[0].lsn, ledger.snapshot_lsns()[2]);
  EXPECT_EQ(status->snapshots[1].lsn, ledger.snapshot_lsns()[1]);
  EXPECT_GT(status->first_lsn, 1u);
  EXPECT_EQ(status->oldest_lsn, ledger.snapshot_lsns()[1]);
  EXPECT_EQ(status->start_snapshot_lsn, ledger.snapshot_lsns()[2]);
  EXPECT_EQ(status->start_snapshot_bytes, status->snapshots[0].bytes);
  // The last segment of the start before, and that of the last.
  EXPECT_LT(status->start_log_bytes, 2 << 12);
  EXPECT_GT(status->start_log_bytes, 0);
  EXPECT_DOUBLE_EQ(status->start_time.count(),
                   static_cast<double>(status->start_snapshot_bytes) / 1e9 +
                       static_cast<double>(status->start_log_bytes) / 0.5e9);
}

TEST(LogReportTest, AServerAtWorkIsSeenAndNotDisturbed) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(20);
  const auto engine = OpenEngine(disk);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const Contents before = ContentsOf(disk);

  const auto files = OpenFiles(disk);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto status = ReadLogStatus(*files);
  const auto check = CheckLog(*files);

  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_TRUE(status->is_in_use);
  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_EQ(check->state, State::kWhole);
  // Segments are prepared meanwhile; what was there is as it was.
  const Contents after = ContentsOf(disk);
  for (const auto& [name, bytes] : before) {
    EXPECT_TRUE(!after.contains(name) || after.at(name) == bytes) << name;
  }
}

TEST(LogReportTest, EveryRecordOfAWholeLogIsCounted) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(20);
  ledger.Live(7);
  const Contents before = ContentsOf(disk);
  const auto files = OpenFiles(disk);

  const auto check = CheckLog(*files);

  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_EQ(check->state, State::kWhole);
  EXPECT_EQ(check->first_lsn, 1u);
  EXPECT_EQ(check->end.next_lsn, ledger.lsns().back() + 1);
  EXPECT_EQ(check->record_count, static_cast<int64_t>(ledger.lsns().back()));
  EXPECT_EQ(ContentsOf(disk), before) << "looking has changed something";
}

TEST(LogReportTest, ATornEndIsToldFromDamage) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(20);
  const auto [segment, at] = PlaceOf(disk, ledger.lsns().back());
  // As if the sectors of the payload had never been written.
  std::vector<std::byte> bytes = disk.Content(segment);
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at) +
                journal::kRecordHeaderBytes,
            bytes.end(), std::byte{});
  disk.SetContent(segment, bytes);
  const auto files = OpenFiles(disk);

  const auto torn = CheckLog(*files);

  ASSERT_TRUE(torn.ok()) << torn.status();
  EXPECT_EQ(torn->state, State::kTorn);
  EXPECT_EQ(torn->end.next_lsn, ledger.lsns().back());
  EXPECT_EQ(torn->torn_bytes, journal::kRecordHeaderBytes);
  EXPECT_TRUE(ReadLogStatus(*files)->torn.starts_with("model/" + segment));
}

TEST(LogReportTest, DamageIsToldWithItsPlaceAndWhatLiesBehind) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(30);
  const uint64_t damaged = ledger.lsns()[12];
  const auto [segment, at] = PlaceOf(disk, damaged);
  // A byte of the payload: the header stays whole.
  Flip(disk, segment, at + journal::kRecordHeaderBytes + 30);
  const auto files = OpenFiles(disk);

  const auto check = CheckLog(*files);

  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_EQ(check->state, State::kDamaged);
  EXPECT_TRUE(Says(check->damage, segment)) << check->damage;
  EXPECT_TRUE(Says(check->damage, std::to_string(at))) << check->damage;
  EXPECT_EQ(check->end.next_lsn, damaged);
  EXPECT_EQ(check->behind.first_lsn, damaged);
  EXPECT_EQ(check->behind.last_lsn, ledger.lsns().back());
  EXPECT_EQ(check->behind.header_count, 18);
  EXPECT_EQ(check->behind.readable_count, 17);
}

TEST(LogReportTest, ALostHeaderTakesItsSegmentWithIt) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(40);
  const std::vector<std::string> segments = SegmentsOf(disk);
  ASSERT_GT(segments.size(), 4u);
  Flip(disk, segments[1], 20);
  const auto files = OpenFiles(disk);

  const auto check = CheckLog(*files);

  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_EQ(check->state, State::kDamaged);
  EXPECT_TRUE(Says(check->damage, "its header is damaged")) << check->damage;
  EXPECT_EQ(check->behind.unreadable, std::vector{segments[1].substr(4)});
  EXPECT_EQ(check->behind.last_lsn, ledger.lsns().back());
  EXPECT_EQ(check->behind.readable_count, check->behind.header_count);
  // All but those of the segment.
  EXPECT_EQ(static_cast<uint64_t>(check->behind.header_count),
            ledger.lsns().back() + 1 - check->behind.first_lsn);
  EXPECT_GT(check->behind.first_lsn, check->end.next_lsn);
}

TEST(LogReportTest, ALogThatDoesNotReachASnapshotIsToldAsSuch) {
  ModelDisk disk;
  Ledger ledger(disk);
  ledger.Live(40);
  RemoveSegment(disk, SegmentsOf(disk)[0].substr(4));

  const auto late = CheckLog(*OpenFiles(disk));

  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_EQ(ReasonOf(late->reach), Reason::kCorrupt);
  EXPECT_TRUE(Says(late->reach, "begins at LSN")) << late->reach;
  EXPECT_EQ(ReasonOf(PushesOn(disk).status()), Reason::kCorrupt);

  ModelDisk other;
  Ledger second(other);
  second.Live(40, /*makes_snapshot=*/true);
  EXPECT_TRUE(CheckLog(*OpenFiles(other))->reach.ok());
  const std::vector<std::string> segments = SegmentsOf(other);
  for (size_t i = segments.size() - 1; i > 0; --i) {
    RemoveSegment(other, segments[i].substr(4));
  }

  const auto early = CheckLog(*OpenFiles(other));

  ASSERT_TRUE(early.ok()) << early.status();
  EXPECT_EQ(ReasonOf(early->reach), Reason::kCorrupt);
  EXPECT_TRUE(Says(early->reach, "ends before LSN")) << early->reach;
  EXPECT_EQ(ReasonOf(PushesOn(other).status()), Reason::kCorrupt);
}

// What a server says by its start: whole or torn, or damaged.
TEST(LogReportTest, TheVerdictIsThatOfAServer) {
  ModelDisk whole;
  Ledger ledger(whole);
  ledger.Live(15);
  ledger.Live(3);
  int damaged = 0;
  for (const std::string& segment : SegmentsOf(whole)) {
    for (size_t at = 0; at < whole.Content(segment).size(); at += 83) {
      ModelDisk disk(whole);
      Flip(disk, segment, at);
      const auto check = CheckLog(*OpenFiles(disk));
      const auto pushes = PushesOn(disk);
      ASSERT_TRUE(check.ok()) << check.status();
      ASSERT_EQ(check->state == State::kDamaged,
                ReasonOf(pushes.status()) == Reason::kCorrupt)
          << segment << " at " << at << ": " << pushes.status();
      if (pushes.ok()) {
        EXPECT_EQ(*pushes, ledger.PushesBefore(check->end.next_lsn))
            << segment << " at " << at;
      } else {
        ++damaged;
      }
    }
  }
  EXPECT_GT(damaged, 20);
}

}  // namespace
}  // namespace quire::inspect
