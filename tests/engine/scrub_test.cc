// What the disk loses of snapshots is found while the server has the rows, and
// made good.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "engine/disk_life.h"
#include "engine/engine.h"
#include "journal/model_disk.h"
#include "journal/posix_files.h"
#include "journal/snapshot_reader.h"
#include "journal/snapshots.h"

namespace quire {
namespace {

namespace fs = std::filesystem;
using journal::ModelDisk;
using namespace std::chrono_literals;

constexpr int64_t kRows = 40;
constexpr int64_t kDim = 3;

// What a server is told.
class Findings {
 public:
  void Add(const absl::Status& status) {
    MutexLock lock(mutex_);
    findings_.push_back(status);
  }
  std::vector<absl::Status> All() const {
    MutexLock lock(mutex_);
    return findings_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<absl::Status> findings_ QUIRE_GUARDED_BY(mutex_);
};

class ScrubTest : public ::testing::Test {
 protected:
  absl::Status Open(std::unique_ptr<journal::Directory> files) {
    policy_.rate_bytes = 0;
    policy_.on_damage = [this](const absl::Status& status) {
      findings_.Add(status);
    };
    QUIRE_ASSIGN_OR_RETURN(auto directory,
                           DataDirectory::Open(std::move(files), {}));
    QUIRE_ASSIGN_OR_RETURN(engine_, Engine::Open({.table_bytes_max = 64 << 20,
                                                  .worker_count = 1,
                                                  .log = SmallLog(),
                                                  .snapshots = policy_},
                                                 std::move(directory)));
    return absl::OkStatus();
  }
  absl::Status Open(ModelDisk& disk) { return Open(disk.Open()); }

  void MakeTable() {
    auto made =
        engine_->CreateTable(LedgerSpec(kRows, kDim), v1::IF_EXISTS_VERIFY);
    ASSERT_TRUE(made.ok()) << made.status();
    const std::vector<int64_t> ids = {1};
    const std::vector<std::string_view> labels = {"one"};
    ASSERT_TRUE(engine_->SetLabels(*made->table, ids, labels).ok());
  }
  TableHandle table() const { return *engine_->Find(kLedger); }
  void Push() {
    const Addition addition(table(), {1, 2}, {}, v1::DURABILITY_WRITTEN);
    ::quire::Push push = addition.push();
    push.id.reset();
    const auto pushed = engine_->ApplyGradient(push);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
  }
  uint64_t Snapshot() {
    const auto made = engine_->CreateSnapshot();
    EXPECT_TRUE(made.ok()) << made.status();
    return made.value_or(0);
  }
  void PushAndSnapshot() {
    Push();
    Snapshot();
  }

  Scrubber::Stats stats() const { return engine_->scrubber()->stats(); }
  // Waits for what is to come; the test's own timeout is the bound.
  static void Await(const std::function<bool()>& is_so) {
    while (!is_so()) {
      std::this_thread::sleep_for(1ms);
    }
  }
  // So many findings, and what was damaged has been replaced.
  void AwaitHealed(size_t findings) {
    Await([&] {
      return findings_.All().size() >= findings &&
             engine_->snapshots()->damaged().empty();
    });
  }
  // All that is kept is whole: read again from the first to the last.
  void AwaitWholePass() {
    const int64_t passes = stats().passes;
    const size_t findings = findings_.All().size();
    Await([&] { return stats().passes >= passes + 2; });
    EXPECT_EQ(findings_.All().size(), findings);
    EXPECT_THAT(engine_->snapshots()->damaged(), ::testing::IsEmpty());
  }

  SnapshotPolicy policy_ = {.scrub_interval = 5ms, .scrub_rate_bytes = 0};
  Findings findings_;
  ModelDisk disk_;
  std::unique_ptr<Engine> engine_;
};

std::vector<std::string> SnapshotFiles(const ModelDisk& disk) {
  std::vector<std::string> names = disk.Names();
  std::erase_if(names, [](const std::string& name) {
    return !name.starts_with("snapshots/");
  });
  return names;
}

void FlipABit(ModelDisk& disk, const std::string& name, size_t bit) {
  std::vector<std::byte> bytes = disk.Content(name);
  bytes[bit / 8 % bytes.size()] ^= std::byte{1} << bit % 8;
  disk.SetContent(name, std::move(bytes));
}

// Whether the newest is damaged or the one before, and whether there have been
// changes since or not.
TEST_F(ScrubTest, AFlippedBitInAnyFileIsFoundAndMadeGood) {
  ASSERT_TRUE(Open(disk_).ok());
  MakeTable();
  PushAndSnapshot();
  PushAndSnapshot();
  size_t findings = 0;
  for (const bool is_changed : {false, true}) {
    for (size_t nth = 0; nth < SnapshotFiles(disk_).size(); ++nth) {
      while (SnapshotFiles(disk_).size() < 4) {  // two files in each of two
        PushAndSnapshot();
      }
      const std::string name = SnapshotFiles(disk_)[nth];
      SCOPED_TRACE(name);
      AwaitWholePass();
      if (is_changed) {
        Push();
      }
      FlipABit(disk_, name, 8 * 40 * nth + 801);
      AwaitHealed(++findings);
      AwaitWholePass();

      const absl::Status found = findings_.All().back();
      EXPECT_EQ(ReasonOf(found), Reason::kCorrupt);
      EXPECT_THAT(found.message(), ::testing::HasSubstr(name));
      EXPECT_THAT(found.message(), ::testing::HasSubstr("replaces"));
      EXPECT_EQ(stats().findings, static_cast<int64_t>(findings));

      // A start after a kill finds nothing to pass over.
      ModelDisk killed(disk_);
      auto again = ::quire::OpenEngine(killed);
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_THAT((*again)->damaged_snapshots(), ::testing::IsEmpty());
      EXPECT_EQ((*again)->snapshots()->newest_lsn(),
                engine_->snapshots()->newest_lsn());
      EXPECT_EQ(RowsOf(**(*again)->Find(kLedger)), RowsOf(*table()));
    }
  }
}

TEST_F(ScrubTest, AFileThatIsGoneIsFoundAndMadeGood) {
  std::string path = (fs::temp_directory_path() / "quire-XXXXXX").string();
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  auto files = journal::OpenDirectory(path + "/data");
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_TRUE(Open(*std::move(files)).ok());
  MakeTable();
  PushAndSnapshot();
  const fs::path newest =
      fs::path(path) / "data" / "snapshots" / fmt::format("{:016x}", [&] {
        Push();
        return Snapshot();
      }());
  size_t findings = 0;
  for (const char* name : {"MANIFEST", "00000000.chunks"}) {
    fs::remove(newest / name);
    AwaitHealed(++findings);
    EXPECT_TRUE(fs::exists(newest / name));
  }
  for (const char* name : {"MANIFEST", "00000000.chunks"}) {
    std::fstream bytes(newest / name,
                       std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekg(70);
    const int byte = bytes.get();
    bytes.seekp(70);
    bytes.put(static_cast<char>(byte ^ 4));
    bytes.close();
    AwaitHealed(++findings);
  }
  AwaitWholePass();
  engine_.reset();
  fs::remove_all(path);
}

// While a file is read, those snapshots are made that take it away.
TEST_F(ScrubTest, WhatIsRemovedWhileItIsReadIsNoFinding) {
  ASSERT_TRUE(Open(disk_).ok());
  MakeTable();
  PushAndSnapshot();
  PushAndSnapshot();
  std::atomic<int> removals = 0;
  std::atomic<int> reads = 0;
  std::atomic<bool> is_removing = false;
  disk_.OnRead([&](size_t) {
    // At each of the reads of a pass, in turn.
    if (removals >= 30 || ++reads % 5 != 0 || is_removing.exchange(true)) {
      return;
    }
    PushAndSnapshot();
    PushAndSnapshot();
    ++removals;
    is_removing = false;
  });
  Await([&] { return removals >= 30; });
  AwaitWholePass();
  disk_.OnRead(nullptr);
  EXPECT_THAT(findings_.All(), ::testing::IsEmpty());
  EXPECT_EQ(stats().findings, 0);
}

TEST_F(ScrubTest, AStopDoesNotWaitForItsPace) {
  policy_.scrub_rate_bytes = 1;  // days
  ASSERT_TRUE(Open(disk_).ok());
  MakeTable();
  PushAndSnapshot();
  Await([&] { return stats().bytes_read > 0; });

  engine_.reset();

  ASSERT_TRUE(Open(disk_).ok());
  Await([&] { return stats().bytes_read > 0; });
  const auto deadline = std::chrono::steady_clock::now() + 1h;
  EXPECT_TRUE(engine_->SaveMemoryTables(deadline).ok());
  EXPECT_EQ(stats().passes, 0);
}

TEST_F(ScrubTest, ItReadsNoFasterThanItMay) {
  constexpr int64_t kRate = 2'000'000;
  constexpr int64_t kShards = 64;
  constexpr int64_t kShardRows = 64;
  policy_.scrub_rate_bytes = kRate;
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_TRUE(Open(disk_).ok());
  v1::TableSpec spec = LedgerSpec(kShards * kShardRows, 64);
  spec.set_shard_count(kShards);
  const auto made = engine_->CreateTable(spec, v1::IF_EXISTS_ERROR);
  ASSERT_TRUE(made.ok()) << made.status();
  std::vector<int64_t> ids;
  for (int64_t id = 0; id < kShards * kShardRows; ++id) {
    ids.push_back(id);
  }
  const std::vector<float> values(ids.size() * 64, 1.0f);
  ASSERT_TRUE(engine_->WriteRows(*made->table, ids, values, {}).ok());
  Snapshot();

  constexpr int64_t kChunkBytes = kShardRows * 64 * 4 + 64;
  while (stats().bytes_read < kShards * kChunkBytes) {
    const auto bytes = static_cast<double>(stats().bytes_read);
    const std::chrono::duration<double> elapsed =
        std::chrono::steady_clock::now() - begun;
    // The last chunk is paid for after it has been read.
    EXPECT_LE(bytes - kChunkBytes, elapsed.count() * kRate);
    std::this_thread::sleep_for(1ms);
  }
}

TEST_F(ScrubTest, WithNothingToStandInForItADamagedOneStaysUntilThereIs) {
  policy_.keep = 1;
  ASSERT_TRUE(Open(disk_).ok());
  MakeTable();
  while (engine_->log()->first_lsn() == 1) {
    PushAndSnapshot();
  }
  const std::string data = SnapshotFiles(disk_)[0];
  FlipABit(disk_, data, 1000);
  Await([&] { return !findings_.All().empty(); });
  const auto refused = engine_->CreateSnapshot();
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kCorrupt) << refused.status();
  EXPECT_THAT(refused.status().message(),
              ::testing::HasSubstr("--snapshot-keep"));
  EXPECT_THAT(SnapshotFiles(disk_), ::testing::Contains(data));
  EXPECT_EQ(engine_->snapshots()->damaged().size(), 1u);

  PushAndSnapshot();

  EXPECT_THAT(engine_->snapshots()->damaged(), ::testing::IsEmpty());
  EXPECT_THAT(SnapshotFiles(disk_), ::testing::SizeIs(2));
  EXPECT_THAT(SnapshotFiles(disk_), ::testing::Not(::testing::Contains(data)));
}

// Two are kept, and one that a start passed over is none of them.
TEST_F(ScrubTest, OneThatAStartPassedOverDoesNotCount) {
  policy_.scrub_interval = 0ms;
  ASSERT_TRUE(Open(disk_).ok());
  EXPECT_FALSE(stats().is_on);
  MakeTable();
  PushAndSnapshot();
  const uint64_t first = engine_->snapshots()->newest_lsn();
  PushAndSnapshot();
  engine_.reset();
  FlipABit(disk_, SnapshotFiles(disk_).back(), 2000);
  ASSERT_TRUE(Open(disk_).ok());
  EXPECT_EQ(engine_->snapshots()->newest_lsn(), first);
  EXPECT_EQ(engine_->snapshots()->damaged().size(), 1u);

  PushAndSnapshot();

  const auto list = [&] {
    const auto snapshots = (*disk_.Open()).OpenDirectory("snapshots");
    return journal::ListSnapshots(**snapshots)->lsns;
  };
  EXPECT_THAT(list(), ::testing::ElementsAre(engine_->snapshots()->newest_lsn(),
                                             first));
  EXPECT_LE(engine_->log()->first_lsn(), first + 1);
  EXPECT_THAT(engine_->snapshots()->damaged(), ::testing::IsEmpty());
}

TEST_F(ScrubTest, ATableIsVerifiedWhenThatIsAskedFor) {
  policy_.scrub_interval = 0ms;
  ASSERT_TRUE(Open(disk_).ok());
  MakeTable();
  const auto verify = [&] {
    return engine_->VerifyTable(*table(), [] { return false; });
  };
  auto verified = verify();
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->snapshot_lsn, 0u);
  EXPECT_EQ(verified->chunk_count, 0);
  PushAndSnapshot();
  verified = verify();
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->snapshot_lsn, engine_->snapshots()->newest_lsn());
  const int64_t chunk_count = verified->chunk_count;
  EXPECT_GE(chunk_count, 2);  // of rows, and of labels
  const auto given_up =
      engine_->VerifyTable(*table(), [] { return true; }).status();
  EXPECT_EQ(ReasonOf(given_up), Reason::kCancelled) << given_up;

  const std::string name = SnapshotFiles(disk_)[0];
  FlipABit(disk_, name, 1000);
  const absl::Status damaged = verify().status();
  EXPECT_EQ(ReasonOf(damaged), Reason::kCorrupt) << damaged;
  EXPECT_THAT(damaged.message(), ::testing::HasSubstr(name));
  AwaitHealed(1);
  verified = verify();
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->chunk_count, chunk_count);

  v1::TableSpec spec = LedgerSpec(4, 1);
  spec.set_name("memory");
  spec.set_persistence(v1::PERSISTENCE_MEMORY);
  const auto memory = engine_->CreateTable(spec, v1::IF_EXISTS_ERROR);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(
      ReasonOf(
          engine_->VerifyTable(*memory->table, [] { return false; }).status()),
      Reason::kNotKept);
}

}  // namespace
}  // namespace quire
