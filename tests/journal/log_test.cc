// The log, written and read: orderly ends, kills, power cuts, damage, faults.

#include "journal/log.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "journal/log_history.h"
#include "main/seed.h"

namespace quire::journal {
namespace {

using Unsynced = ModelDisk::Unsynced;

// Appends one record and does not wait for it; nullptr if it is refused.
std::unique_ptr<TestEntry> AppendOne(Log& log, uint64_t lsn,
                                     const Planned& planned) {
  auto entry = std::make_unique<TestEntry>(static_cast<uint8_t>(1 + lsn % 5),
                                           PayloadOf(lsn, planned.size),
                                           planned.wants_sync);
  if (!log.WaitForRoom(entry->payload_bytes()).ok()) {
    return nullptr;
  }
  EXPECT_EQ(log.Append(*entry), lsn);
  return entry;
}

// What went wrong in `records`: they are the first ones of a history, and each
// is whole; empty if nothing did.
std::string WhatIsWrong(const ReadBack& back, const std::vector<Planned>& plan,
                        uint64_t first_lsn = 1) {
  uint64_t lsn = first_lsn;
  for (const ReadBack::Record& record : back.records) {
    if (record.lsn != lsn || lsn > plan.size()) {
      return fmt::format("LSN {} where {} was due", record.lsn, lsn);
    }
    if (record.payload != PayloadOf(lsn, plan[lsn - 1].size) ||
        record.type != 1 + lsn % 5) {
      return fmt::format("record {} is another one", lsn);
    }
    ++lsn;
  }
  return back.end.next_lsn == lsn ? "" : "the end is elsewhere";
}

class LogTest : public ::testing::Test {
 protected:
  ModelDisk disk_;
  std::unique_ptr<Directory> directory_ = disk_.Open();
};

TEST_F(LogTest, WhatIsAppendedIsReadOverSegmentsAndStarts) {
  const auto plan = PlanHistory(testing::Seed(), 120, 3000);
  uint64_t lsn = 0;
  for (uint64_t epoch = 1; epoch <= 3; ++epoch) {
    auto log = StartLog(*directory_);
    ASSERT_TRUE(log.ok()) << log.status();
    EXPECT_EQ((*log)->epoch(), epoch);
    std::vector<std::unique_ptr<TestEntry>> entries;
    for (int i = 0; i < 40; ++i) {
      ++lsn;
      entries.push_back(AppendOne(**log, lsn, plan[lsn - 1]));
      ASSERT_NE(entries.back(), nullptr);
    }
    for (const auto& entry : entries) {
      EXPECT_TRUE(entry->Wait().ok());
    }
    EXPECT_EQ((*log)->written_lsn(), lsn);
  }
  const auto back = Read(*directory_);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(WhatIsWrong(*back, plan), "");
  EXPECT_EQ(back->records.size(), 120u);
  EXPECT_EQ(back->records[39].epoch, 1u);
  EXPECT_EQ(back->records[40].epoch, 2u);
  EXPECT_GT(back->end.kept.size(), 10u);
  EXPECT_FALSE(back->end.torn) << *back->end.torn;

  // From any LSN on.
  for (uint64_t from = 1; from <= 121; ++from) {
    const auto part = Read(*directory_, from);
    ASSERT_TRUE(part.ok()) << part.status();
    EXPECT_EQ(part->records.size(), 121 - from);
    EXPECT_EQ(WhatIsWrong(*part, plan, from), "");
  }
  EXPECT_EQ(ReasonOf(Read(*directory_, 122).status()), Reason::kCorrupt);
}

// What is behind the record that was wanted, half written or not, is no
// damage.
TEST_F(LogTest, ALogThatIsBeingWrittenIsReadUpToWhatIsWritten) {
  const auto plan = PlanHistory(testing::Seed(), 600, 3000);
  auto log = StartLog(*directory_);
  ASSERT_TRUE(log.ok()) << log.status();
  std::atomic<bool> is_over = false;
  std::thread writer([&] {
    std::vector<std::unique_ptr<TestEntry>> entries;
    for (uint64_t lsn = 1; lsn <= plan.size(); ++lsn) {
      entries.push_back(AppendOne(**log, lsn, plan[lsn - 1]));
    }
    for (const auto& entry : entries) {
      EXPECT_TRUE(entry->Wait().ok());
    }
    is_over = true;
  });
  std::mt19937_64 random(testing::Seed());
  for (bool is_last = false; !is_last;) {
    is_last = is_over;
    const uint64_t written = (*log)->written_lsn();
    const uint64_t until = is_last ? written : random() % (written + 1);
    const uint64_t from = 1 + random() % (until + 1);
    const auto reader =
        LogReader::OpenUntil(*directory_, kIdentity, (*log)->kept(), until);
    ASSERT_TRUE(reader.ok()) << reader.status();
    ReadBack back;
    back.end.next_lsn = until + 1;
    const absl::Status read = reader->ReadUntil(
        from, until, [&](const LogRecord& record) -> absl::Status {
          back.records.push_back(
              {.lsn = record.lsn,
               .epoch = record.epoch,
               .type = record.type,
               .payload = {record.payload.begin(), record.payload.end()}});
          return absl::OkStatus();
        });
    EXPECT_TRUE(read.ok()) << read;
    EXPECT_EQ(back.records.size(), until + 1 - from);
    EXPECT_EQ(WhatIsWrong(back, plan, from), "");
    if (HasFailure()) {
      break;
    }
  }
  writer.join();

  // What had been written and is gone is damage, though it may look torn.
  const uint64_t written = (*log)->written_lsn();
  const std::vector<KeptSegment> kept = (*log)->kept();
  log->reset();
  const auto reader =
      LogReader::OpenUntil(*directory_, kIdentity, kept, written + 1);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(
      ReasonOf(reader->ReadUntil(
          1, written + 1, [](const LogRecord&) { return absl::OkStatus(); })),
      Reason::kCorrupt);
}

TEST_F(LogTest, ARecordLargerThanASegmentGetsOneOfItsOwn) {
  auto log = StartLog(*directory_);
  ASSERT_TRUE(log.ok()) << log.status();
  const std::vector<Planned> plan = {{100, false}, {50'000, true}, {100, true}};
  std::vector<std::unique_ptr<TestEntry>> entries;
  for (uint64_t lsn = 1; lsn <= 3; ++lsn) {
    entries.push_back(AppendOne(**log, lsn, plan[lsn - 1]));
    EXPECT_TRUE(entries.back()->Wait().ok());
  }
  log->reset();
  const auto back = Read(*directory_);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->records.size(), 3u);
  EXPECT_EQ(WhatIsWrong(*back, plan), "");
}

TEST_F(LogTest, RoomThatWasPromisedIsNotGivenUpForALargerRecord) {
  auto log = StartLog(*directory_);
  ASSERT_TRUE(log.ok()) << log.status();
  const std::vector<Planned> plan = {
      {7000, false}, {3000, false}, {50'000, true}};
  EXPECT_TRUE(AppendOne(**log, 1, plan[0])->Wait().ok());
  // It goes to the next segment, which a larger record wants replaced.
  TestEntry small(3, PayloadOf(2, plan[1].size), plan[1].wants_sync);
  ASSERT_TRUE((*log)->WaitForRoom(small.payload_bytes()).ok());
  ASSERT_EQ(*(*log)->HasRoom(small.payload_bytes()), true);
  const auto has_room = (*log)->WaitForRoom(
      50'000, std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
  ASSERT_TRUE(has_room.ok()) << has_room.status();
  EXPECT_FALSE(*has_room);
  EXPECT_EQ((*log)->Append(small), 2u);
  EXPECT_TRUE(small.Wait().ok());
  EXPECT_TRUE(AppendOne(**log, 3, plan[2])->Wait().ok());
  log->reset();
  const auto back = Read(*directory_);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(WhatIsWrong(*back, plan), "");
}

TEST_F(LogTest, OldSegmentsAreRemovedAndTheRestIsRead) {
  const auto plan = PlanHistory(testing::Seed(), 60, 3000);
  auto log = StartLog(*directory_);
  std::vector<std::unique_ptr<TestEntry>> entries;
  for (uint64_t lsn = 1; lsn <= 60; ++lsn) {
    entries.push_back(AppendOne(**log, lsn, plan[lsn - 1]));
    EXPECT_TRUE(entries.back()->Wait().ok());
  }
  const int64_t bytes = (*log)->stats().bytes;
  ASSERT_TRUE((*log)->RemoveBefore(40).ok());
  const uint64_t first = (*log)->first_lsn();
  EXPECT_GT(first, 1u);
  EXPECT_LE(first, 40u);
  EXPECT_LT((*log)->stats().bytes, bytes);
  log->reset();

  const auto back = Read(*directory_, first);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(WhatIsWrong(*back, plan, first), "");
  EXPECT_EQ(back->end.next_lsn, 61u);
  EXPECT_EQ(ReasonOf(Read(*directory_, first - 1).status()), Reason::kCorrupt);
}

// The next removal begins with the segment that is left.
TEST_F(LogTest, ASegmentThatCannotBeRemovedLeavesNoGapBehindIt) {
  const auto plan = PlanHistory(testing::Seed(), 60, 3000);
  auto log = StartLog(*directory_);
  std::vector<std::unique_ptr<TestEntry>> entries;
  for (uint64_t lsn = 1; lsn <= 60; ++lsn) {
    entries.push_back(AppendOne(**log, lsn, plan[lsn - 1]));
    EXPECT_TRUE(entries.back()->Wait().ok());
  }
  disk_.OnOperation([this](std::string_view operation) {
    if (operation == "remove") {
      disk_.FailAt(disk_.operation_count(), Reason::kIoFailed,
                   /*for_ever=*/false);
    }
  });
  EXPECT_EQ(ReasonOf((*log)->RemoveBefore(40)), Reason::kIoFailed);
  disk_.OnOperation(nullptr);

  ASSERT_TRUE((*log)->RemoveBefore(50).ok());

  const uint64_t first = (*log)->first_lsn();
  EXPECT_GT(first, 1u);
  log->reset();
  const auto back = Read(*directory_, first);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(WhatIsWrong(*back, plan, first), "");
  EXPECT_EQ(ReasonOf(Read(*directory_, first - 1).status()), Reason::kCorrupt);
}

// Before each operation on the disk the process may die: what had been
// acknowledged is there.
TEST_F(LogTest, AKillLosesNothingAcknowledged) {
  const auto plan = PlanHistory(testing::Seed(), 40, 2000);
  std::vector<std::unique_ptr<TestEntry>> entries;
  entries.reserve(plan.size());
  std::atomic<size_t> entry_count = 0;
  std::mutex mutex;
  std::vector<std::pair<std::unique_ptr<ModelDisk>, uint64_t>> found;
  auto log = StartLog(*directory_);
  ASSERT_TRUE(log.ok()) << log.status();
  disk_.OnOperation([&](std::string_view) {
    // First what is acknowledged, then the disk: it may be ahead, not behind.
    uint64_t acknowledged = 0;
    for (size_t i = 0; i < entry_count; ++i) {
      acknowledged = entries[i]->is_acknowledged() ? i + 1 : acknowledged;
    }
    auto copy = std::make_unique<ModelDisk>(disk_);
    std::scoped_lock lock(mutex);
    found.emplace_back(std::move(copy), acknowledged);
  });
  for (uint64_t lsn = 1; lsn <= plan.size(); ++lsn) {
    entries.push_back(AppendOne(**log, lsn, plan[lsn - 1]));
    ++entry_count;
    if (lsn % 3 == 0) {
      EXPECT_TRUE(entries.back()->Wait().ok());
    }
  }
  log->reset();
  disk_.OnOperation(nullptr);
  EXPECT_GT(found.size(), 20u);
  for (const auto& [disk, acknowledged] : found) {
    const auto directory = disk->Open();
    const auto back = Read(*directory);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(WhatIsWrong(*back, plan), "");
    EXPECT_GE(back->records.size(), acknowledged);
  }
}

// A log that is found after a crash goes on.
void GoOn(ModelDisk& disk, const ReadBack& back, std::vector<Planned> plan) {
  const auto directory = disk.Open();
  auto log = StartLog(*directory);
  ASSERT_TRUE(log.ok()) << log.status();
  const uint64_t lsn = back.end.next_lsn;
  plan.resize(std::max<size_t>(plan.size(), lsn));
  plan[lsn - 1] = {.size = 700, .wants_sync = true};
  const auto entry = AppendOne(**log, lsn, plan[lsn - 1]);
  ASSERT_NE(entry, nullptr);
  EXPECT_TRUE(entry->Wait().ok());
  log->reset();
  const auto again = Read(*directory);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(WhatIsWrong(*again, plan), "");
  EXPECT_EQ(again->records.size(), lsn);
  EXPECT_EQ(again->end.epoch, back.end.epoch + 1);
}

// At each sync, of a file or of names, before and after it, the power goes in
// 100 ways: what had been acknowledged as synced is there, what is there is
// whole and without a hole, and the log goes on.
TEST_F(LogTest, APowerCutLosesNothingSynced) {
  auto plan = PlanHistory(testing::Seed(), 24, 2500);
  // Each sync finds three records that nothing has synced before.
  for (size_t i = 0; i < plan.size(); ++i) {
    plan[i].size += 600;
    plan[i].wants_sync = i % 4 == 3;
  }
  LogOptions options = kSmallLog;
  options.sync_interval = std::chrono::hours(1);
  std::mt19937_64 coin(testing::Seed());
  std::vector<std::unique_ptr<TestEntry>> entries;
  entries.reserve(plan.size());
  std::atomic<size_t> entry_count = 0;
  std::mutex mutex;
  std::vector<std::pair<std::unique_ptr<ModelDisk>, uint64_t>> boundaries;
  disk_.OnOperation([&](std::string_view operation) {
    if (!operation.starts_with("sync")) {
      return;
    }
    uint64_t synced = 0;
    for (size_t i = 0; i < entry_count; ++i) {
      if (plan[i].wants_sync && entries[i]->is_acknowledged()) {
        synced = i + 1;
      }
    }
    auto copy = std::make_unique<ModelDisk>(disk_);
    std::scoped_lock lock(mutex);
    boundaries.emplace_back(std::move(copy), synced);
  });
  for (int start = 0; start < 2; ++start) {
    auto log = StartLog(*directory_, options);
    ASSERT_TRUE(log.ok()) << log.status();
    for (size_t i = 0; i < plan.size() / 2; ++i) {
      const uint64_t lsn = entry_count + 1;
      entries.push_back(AppendOne(**log, lsn, plan[lsn - 1]));
      ++entry_count;
      EXPECT_TRUE(entries.back()->Wait().ok());
    }
  }
  disk_.OnOperation(nullptr);
  EXPECT_GT(boundaries.size(), 10u);
  int64_t torn = 0;
  for (const auto& [disk, synced] : boundaries) {
    for (int outcome = 0; outcome < 100; ++outcome) {
      const auto unsynced = outcome == 0   ? Unsynced::kLost
                            : outcome == 1 ? Unsynced::kKept
                                           : Unsynced::kAsTheCoinFalls;
      const auto found = disk->PowerCut(unsynced, coin);
      const auto directory = found->Open();
      const auto back = Read(*directory);
      ASSERT_TRUE(back.ok()) << back.status();
      ASSERT_EQ(WhatIsWrong(*back, plan), "");
      ASSERT_GE(back->records.size(), synced);
      torn += back->end.torn ? 1 : 0;
      if (outcome % 10 < 2) {
        GoOn(*found, *back, plan);
      }
    }
  }
  EXPECT_GT(torn, 0) << "no cut tore a record: the test proves little";
}

// The power goes while a log that it has cut before goes on.
TEST_F(LogTest, APowerCutAfterAPowerCut) {
  const auto plan = PlanHistory(testing::Seed(), 400, 2500);
  std::mt19937_64 coin(testing::Seed());
  // Nothing is synced that nobody waits for: cuts reach back over segments.
  LogOptions options = kSmallLog;
  options.sync_interval = std::chrono::hours(1);
  auto disk = std::make_unique<ModelDisk>();
  for (int cut = 0; cut < 30; ++cut) {
    uint64_t synced = 0;
    std::unique_ptr<ModelDisk> at_cut;
    {
      const auto directory = disk->Open();
      auto log = StartLog(*directory, options);
      ASSERT_TRUE(log.ok()) << log.status();
      const auto begun = Read(*directory);
      ASSERT_TRUE(begun.ok()) << begun.status();
      EXPECT_FALSE(begun->end.torn) << "what was cut is gone";
      uint64_t lsn = (*log)->appended_lsn();
      std::vector<std::unique_ptr<TestEntry>> entries;
      for (int i = 0; i < 12; ++i) {
        ++lsn;
        Planned planned = plan[lsn - 1];
        planned.wants_sync = coin() % 10 == 0;
        entries.push_back(AppendOne(**log, lsn, planned));
        EXPECT_TRUE(entries.back()->Wait().ok());
        synced = planned.wants_sync ? lsn : synced;
      }
      at_cut = disk->PowerCut(Unsynced::kAsTheCoinFalls, coin);
      log->reset();
    }
    disk = std::move(at_cut);
    const auto directory = disk->Open();
    const auto back = Read(*directory);
    ASSERT_TRUE(back.ok()) << back.status() << " after cut " << cut;
    ASSERT_EQ(WhatIsWrong(*back, plan), "");
    ASSERT_GE(back->records.size(), synced);
  }
}

// --- Damage ---

class DamageTest : public LogTest {
 protected:
  static constexpr size_t kRecords = 7;

  DamageTest() {
    LogOptions options = kSmallLog;
    options.segment_bytes = 4096;
    for (const auto& [begin, end] :
         {std::pair<uint64_t, uint64_t>{1, 4}, {5, kRecords}}) {
      auto log = StartLog(*directory_, options);
      std::vector<std::unique_ptr<TestEntry>> entries;
      for (uint64_t lsn = begin; lsn <= end; ++lsn) {
        entries.push_back(AppendOne(**log, lsn, plan_[lsn - 1]));
        EXPECT_TRUE(entries.back()->Wait().ok());
      }
    }
  }

  // Reads the disk; what is silently wrong, or empty.
  std::string SilentlyWrong(ModelDisk& disk) {
    const auto directory = disk.Open();
    const auto back = Read(*directory);
    if (!back.ok()) {
      ++refused_;
      return "";
    }
    ++harmless_;
    const std::string wrong = WhatIsWrong(*back, plan_);
    if (wrong.empty() && back->records.size() != kRecords) {
      return fmt::format("{} records", back->records.size());
    }
    return wrong;
  }

  const std::vector<Planned> plan_ = {{300, true},  {1500, false}, {0, false},
                                      {1200, true}, {700, false},  {504, true},
                                      {1300, true}};
  int64_t refused_ = 0;
  int64_t harmless_ = 0;
};

TEST_F(DamageTest, AFlipOfAnyBitIsHarmlessOrRefused) {
  for (const std::string& name : disk_.Names()) {
    const std::vector<std::byte> content = disk_.Content(name);
    ModelDisk damaged(disk_);
    for (size_t bit = 0; bit < content.size() * 8; ++bit) {
      std::vector<std::byte> bytes = content;
      bytes[bit / 8] ^= std::byte{1} << bit % 8;
      damaged.SetContent(name, std::move(bytes));
      ASSERT_EQ(SilentlyWrong(damaged), "") << name << " bit " << bit;
    }
  }
  EXPECT_GT(refused_, 10'000);
  EXPECT_GT(harmless_, 1'000);
}

TEST_F(DamageTest, ACutOfAnyFileAtAnyByteIsRefused) {
  for (const std::string& name : disk_.Names()) {
    const std::vector<std::byte> content = disk_.Content(name);
    ModelDisk damaged(disk_);
    for (size_t size = 0; size < content.size(); ++size) {
      damaged.SetContent(name,
                         {content.begin(),
                          content.begin() + static_cast<std::ptrdiff_t>(size)});
      ASSERT_EQ(SilentlyWrong(damaged), "") << name << " of " << size;
    }
  }
  EXPECT_EQ(harmless_, 0);
}

// A sector that the disk has lost, and gives as zeros: what a later record says
// was synced is not given up.
TEST_F(DamageTest, ALostSectorOfWhatWasSyncedIsRefused) {
  const auto whole = Read(*directory_);
  ASSERT_TRUE(whole.ok()) << whole.status();
  // Records 1 to 6 were synced before record 7 was written, which begins a
  // sector.
  for (const std::string& name : disk_.Names()) {
    const std::vector<std::byte> content = disk_.Content(name);
    for (size_t begin = 0; begin < content.size(); begin += kSectorBytes) {
      std::vector<std::byte> bytes = content;
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                  kSectorBytes, std::byte{});
      ModelDisk damaged(disk_);
      damaged.SetContent(name, std::move(bytes));
      const auto directory = damaged.Open();
      const auto back = Read(*directory);
      if (back.ok()) {
        ++harmless_;
        EXPECT_GE(back->records.size(), 6u) << name << " at " << begin;
        EXPECT_EQ(WhatIsWrong(*back, plan_), "");
      } else {
        ++refused_;
      }
    }
  }
  EXPECT_GT(refused_, 10);
  // At least those of zeros; more if another segment is prepared.
  EXPECT_GT(harmless_, 3);
}

TEST_F(DamageTest, TheMessageNamesFilePlaceAndLsn) {
  const std::string name = disk_.Names().front();
  std::vector<std::byte> bytes = disk_.Content(name);
  bytes[700] ^= std::byte{1};  // in the first record's payload
  disk_.SetContent(name, std::move(bytes));
  const absl::Status status = Read(*directory_).status();
  EXPECT_EQ(ReasonOf(status), Reason::kCorrupt);
  EXPECT_THAT(std::string(status.message()),
              ::testing::AllOf(::testing::HasSubstr(name),
                               ::testing::HasSubstr("at 640"),
                               ::testing::HasSubstr("LSN 1 ")));
}

TEST_F(DamageTest, AMissingSegmentIsRefused) {
  ASSERT_TRUE(StartLog(*directory_).ok());  // and a third one
  for (const std::string& name : {disk_.Names()[0], disk_.Names()[1]}) {
    ModelDisk damaged(disk_);
    ASSERT_TRUE(damaged.Open()->Remove(name).ok());
    EXPECT_EQ(SilentlyWrong(damaged), "") << name;
  }
  EXPECT_EQ(refused_, 2);
}

TEST_F(DamageTest, AFileOfAnotherDirectoryIsRefused) {
  const auto reader = LogReader::Open(*directory_, Identity{std::byte{9}});
  EXPECT_EQ(ReasonOf(reader.status()), Reason::kForeignData);
}

TEST_F(DamageTest, AFileOfALaterVersionIsRefusedAsSuch) {
  const std::string name = disk_.Names().front();
  std::vector<std::byte> bytes = disk_.Content(name);
  SegmentHeaderBytes first;
  std::copy_n(bytes.begin(), first.size(), first.begin());
  SegmentHeader header = *DecodeSegmentHeader(first);
  header.incompatible_features = 4;
  const SegmentHeaderBytes changed = Encode(header);
  std::ranges::copy(changed, bytes.begin());
  disk_.SetContent(name, std::move(bytes));
  EXPECT_EQ(ReasonOf(Read(*directory_).status()), Reason::kFormatTooNew);
}

// --- Faults ---

struct Outcome {
  uint64_t acknowledged = 0;
  bool has_failed = false;
  int64_t operations = 0;
};

// Writes a history on a disk of which an operation fails, and holds what was
// told against what is there.
Outcome WriteOnFailingDisk(const std::vector<Planned>& plan, int64_t fail_at,
                           Reason reason, bool for_ever) {
  ModelDisk disk;
  const auto directory = disk.Open();
  disk.FailAt(fail_at, reason, for_ever);
  Outcome outcome;
  std::vector<std::unique_ptr<TestEntry>> entries;
  if (auto log = StartLog(*directory); log.ok()) {
    for (uint64_t lsn = 1; lsn <= plan.size(); ++lsn) {
      auto entry = AppendOne(**log, lsn, plan[lsn - 1]);
      if (entry == nullptr) {
        break;
      }
      const bool acknowledged = entry->Wait().ok();
      EXPECT_TRUE(!acknowledged || outcome.acknowledged + 1 == lsn)
          << "nothing is acknowledged after what was not";
      outcome.acknowledged += acknowledged ? 1 : 0;
      entries.push_back(std::move(entry));
    }
    outcome.has_failed = (*log)->stats().has_failed;
  }
  outcome.operations = disk.operation_count();
  disk.FailAt(-1, reason, false);
  const auto back = Read(*directory);
  EXPECT_TRUE(back.ok()) << back.status();
  if (back.ok()) {
    EXPECT_EQ(WhatIsWrong(*back, plan), "");
    EXPECT_GE(back->records.size(), outcome.acknowledged);
  }
  return outcome;
}

TEST(FaultTest, WhateverFailsNothingIsAcknowledgedFalsely) {
  const auto plan = PlanHistory(testing::Seed(), 25, 2500);
  const Outcome whole = WriteOnFailingDisk(plan, -1, Reason::kIoFailed, false);
  ASSERT_EQ(whole.acknowledged, plan.size());
  int failed = 0;
  for (int64_t n = 0; n < whole.operations; ++n) {
    for (const bool for_ever : {false, true}) {
      for (const Reason reason : {Reason::kIoFailed, Reason::kDiskFull}) {
        const Outcome outcome = WriteOnFailingDisk(plan, n, reason, for_ever);
        failed += outcome.has_failed ? 1 : 0;
      }
    }
  }
  EXPECT_GT(failed, whole.operations);
}

// A failed sync is not followed by another one of anything.
TEST(FaultTest, AfterAFailedSyncThereIsNoOther) {
  for (int64_t n = 0; n < 40; ++n) {
    ModelDisk disk;
    const auto directory = disk.Open();
    auto log = StartLog(*directory);
    ASSERT_TRUE(log.ok());
    // Wait until the next segment is there: only syncs of records remain.
    TestEntry large(1, PayloadOf(1, 8000), false);
    ASSERT_TRUE((*log)->WaitForRoom(large.payload_bytes()).ok());
    std::atomic<int> syncs_after = -1;
    std::atomic<int64_t> syncs = 0;
    disk.OnOperation([&](std::string_view operation) {
      if (operation != "sync") {
        return;
      }
      if (syncs_after >= 0) {
        ++syncs_after;
      } else if (syncs++ == n % 4) {
        disk.FailAt(disk.operation_count(), Reason::kIoFailed, true);
        syncs_after = 0;
      }
    });
    for (int i = 0; i < 20; ++i) {
      TestEntry entry(1, PayloadOf(2, 100), true);
      if (!(*log)->WaitForRoom(entry.payload_bytes()).ok()) {
        break;
      }
      (*log)->Append(entry);
      const absl::Status status = entry.Wait();
      EXPECT_TRUE(status.ok() || ReasonOf(status) == Reason::kLogFailed);
    }
    log->reset();
    disk.OnOperation(nullptr);
    EXPECT_EQ(syncs_after, 0);
  }
}

TEST_F(LogTest, OnAFullDiskRecordsAreRefusedAndTakenAgainWhenThereIsRoom) {
  auto log = StartLog(*directory_);
  ASSERT_TRUE(log.ok());
  const std::vector<Planned> plan(100, {.size = 1000, .wants_sync = false});
  std::vector<std::unique_ptr<TestEntry>> entries;
  const auto append = [&] {
    auto entry = AppendOne(**log, entries.size() + 1, plan[entries.size()]);
    if (entry != nullptr) {
      entries.push_back(std::move(entry));
    }
    return entries.size();
  };
  append();
  disk_.SetSpace(100);
  size_t count = 0;
  while (count != append() && entries.size() < plan.size() / 2) {
    count = entries.size();
  }
  ASSERT_LT(entries.size(), plan.size() / 2) << "the disk was full";
  EXPECT_EQ(ReasonOf((*log)->WaitForRoom(1000)), Reason::kDiskFull);
  for (const auto& entry : entries) {
    EXPECT_TRUE(entry->Wait().ok()) << "what was taken is kept";
  }
  disk_.SetSpace(1 << 20);
  for (int tries = 0; tries < 10'000 && !(*log)->WaitForRoom(1000).ok();
       ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GT(append(), count);
  EXPECT_FALSE((*log)->stats().has_failed);
  log->reset();
  const auto back = Read(*directory_);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->records.size(), entries.size());
  EXPECT_EQ(WhatIsWrong(*back, plan), "");
}

TEST_F(LogTest, ALogHasItsLimit) {
  LogOptions options = kSmallLog;
  options.bytes_max = 4 * options.segment_bytes;
  auto log = StartLog(*directory_, options);
  std::vector<std::unique_ptr<TestEntry>> entries;
  absl::Status status;
  uint64_t lsn = 1;
  for (; lsn < 100; ++lsn) {
    auto entry = std::make_unique<TestEntry>(1, PayloadOf(lsn, 1000), false);
    status = (*log)->WaitForRoom(1000);
    if (!status.ok()) {
      break;
    }
    (*log)->Append(*entry);
    EXPECT_TRUE(entry->Wait().ok());
    entries.push_back(std::move(entry));
  }
  EXPECT_EQ(ReasonOf(status), Reason::kLogFull);
  EXPECT_GT(lsn, 20u);
  ASSERT_TRUE((*log)->RemoveBefore(lsn).ok());
  for (int tries = 0; tries < 10'000 && !(*log)->WaitForRoom(1000).ok();
       ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE((*log)->WaitForRoom(1000).ok());
}

}  // namespace
}  // namespace quire::journal
