// A data directory that tests damage: an engine's, of one table in which each
// push adds 1 to a row of its own.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "inspect/data_files.h"
#include "journal/model_disk.h"

namespace quire::inspect {

using journal::ModelDisk;

inline constexpr int64_t kLedgerRows = 64;
inline constexpr int64_t kLedgerDim = 4;

inline absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(ModelDisk& disk) {
  QUIRE_ASSIGN_OR_RETURN(auto directory, DataDirectory::Open(disk.Open(), {}));
  return Engine::Open({.table_bytes_max = 1 << 20,
                       .worker_count = 1,
                       .log = {.segment_bytes = 1 << 12},
                       .snapshots = {.rate_bytes = 0}},
                      std::move(directory));
}

inline absl::StatusOr<DataFiles> OpenFiles(ModelDisk& disk) {
  return DataFiles::Open(disk.Open());
}

// Makes the ledger of an engine on a disk.
class Ledger {
 public:
  explicit Ledger(ModelDisk& disk) : disk_(disk) {}

  // A start of a server that pushes `count` times, then makes a snapshot if
  // that is wanted, and ends.
  void Live(int64_t count, bool makes_snapshot = false) {
    auto engine = OpenEngine(disk_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    v1::TableSpec spec;
    spec.set_name("ledger");
    spec.set_num_embeddings(kLedgerRows);
    spec.set_embedding_dim(kLedgerDim);
    spec.set_shard_count(2);
    spec.mutable_initializer()->mutable_zeros();
    const auto table = (*engine)->CreateTable(spec, v1::IF_EXISTS_VERIFY);
    ASSERT_TRUE(table.ok()) << table.status();
    for (int64_t i = 0; i < count; ++i) {
      Push(**engine, table->table);
    }
    if (makes_snapshot) {
      const auto lsn = (*engine)->CreateSnapshot();
      ASSERT_TRUE(lsn.ok()) << lsn.status();
      snapshot_lsns_.push_back(*lsn);
    }
  }

  // Of each push.
  const std::vector<uint64_t>& lsns() const { return lsns_; }
  const std::vector<uint64_t>& snapshot_lsns() const { return snapshot_lsns_; }

  int64_t PushesBefore(uint64_t lsn) const {
    return std::ranges::lower_bound(lsns_, lsn) - lsns_.begin();
  }

  // The next push.
  void Push(Engine& engine, const TableHandle& table) {
    const int64_t id = std::ssize(lsns_);
    ASSERT_LT(id, kLedgerRows);
    const std::vector<float> gradient(kLedgerDim, -1.0f);
    const Bytes bytes = std::as_bytes(std::span(gradient));
    const PushPart part = {.table = table,
                           .ids = {&id, 1},
                           .gradient = ByteRange(bytes),
                           .learning_rate = 1.0};
    const auto outcome = engine.ApplyGradient(quire::Push{
        .parts = {&part, 1}, .min_durability = v1::DURABILITY_SYNCED});
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    lsns_.push_back(outcome->lsn);
  }

 private:
  ModelDisk& disk_;
  std::vector<uint64_t> lsns_;
  std::vector<uint64_t> snapshot_lsns_;
};

// How many pushes an engine on `disk` has: the first ones, whole, and none
// behind; -1, and a failure, if that is not so. An error if it does not start.
inline absl::StatusOr<int64_t> PushesOn(ModelDisk& disk) {
  QUIRE_ASSIGN_OR_RETURN(const auto engine, OpenEngine(disk));
  const absl::StatusOr<TableHandle> table = engine->FindAny("ledger");
  if (!table.ok()) {
    return 0;
  }
  std::vector<int64_t> ids(kLedgerRows);
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<float> rows(ids.size() * kLedgerDim);
  (*table)->rows().Gather(ids, reinterpret_cast<std::byte*>(rows.data()));
  const int64_t count = std::ranges::find(rows, 0.0f) - rows.begin();
  const bool is_whole =
      count % kLedgerDim == 0 &&
      std::all_of(rows.begin(), rows.begin() + count,
                  [](float value) { return value == 1.0f; }) &&
      std::all_of(rows.begin() + count, rows.end(),
                  [](float value) { return value == 0.0f; });
  EXPECT_TRUE(is_whole) << "after " << count << " floats";
  return is_whole ? count / kLedgerDim : -1;
}

// --- Damage ---

using Contents = std::map<std::string, std::vector<std::byte>>;

inline Contents ContentsOf(const ModelDisk& disk) {
  Contents contents;
  for (const std::string& name : disk.Names()) {
    contents[name] = disk.Content(name);
  }
  return contents;
}

// The segments of the log, in order: "log/0000000000000001.log".
inline std::vector<std::string> SegmentsOf(const ModelDisk& disk) {
  std::vector<std::string> segments;
  for (const std::string& name : disk.Names()) {
    if (name.starts_with("log/") && name.ends_with(".log")) {
      segments.push_back(name);
    }
  }
  return segments;
}

inline void Flip(ModelDisk& disk, const std::string& file, size_t at) {
  std::vector<std::byte> bytes = disk.Content(file);
  bytes[at] ^= std::byte{0x10};
  disk.SetContent(file, std::move(bytes));
}

// A file of the log: "0000000000000001.log".
inline void RemoveSegment(ModelDisk& disk, const std::string& name) {
  const auto log = disk.Open()->OpenDirectory("log");
  ASSERT_TRUE(log.ok());
  ASSERT_TRUE((*log)->Remove(name).ok());
}

// The segment, and where in it the record of that LSN begins.
inline std::pair<std::string, size_t> PlaceOf(const ModelDisk& disk,
                                              uint64_t lsn) {
  for (const std::string& segment : SegmentsOf(disk)) {
    const std::vector<std::byte> bytes = disk.Content(segment);
    const auto header = journal::DecodeSegmentHeader(
        std::span(bytes).first<journal::kSegmentHeaderBytes>());
    for (size_t at = journal::kSegmentHeaderBytes;
         header && at + journal::kRecordHeaderBytes <= bytes.size();
         at += journal::kRecordAlignment) {
      const auto record = journal::DecodeRecordHeader(
          std::span(bytes).subspan(at).first<journal::kRecordHeaderBytes>(),
          header->seed, static_cast<int64_t>(at));
      if (record && record->lsn == lsn && record->type != journal::kLinkType) {
        return {segment, at};
      }
    }
  }
  ADD_FAILURE() << "there is no record " << lsn;
  return {};
}

}  // namespace quire::inspect
