// Logs that tests write and read.

#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "journal/log.h"
#include "journal/log_reader.h"
#include "journal/model_disk.h"

namespace quire::journal {

inline constexpr Identity kIdentity = {std::byte{7}, std::byte{8}};

// Small, so that a short history has many segments.
inline const LogOptions kSmallLog = {
    .segment_bytes = 8192,
    .sync_interval = std::chrono::milliseconds(1),
    .unsynced_bytes_max = 1 << 20,
    .room_retry_interval = std::chrono::milliseconds(1)};

// A payload that shows which record it is of: of `size` bytes, with runs of
// zeros.
inline std::vector<std::byte> PayloadOf(uint64_t seed, size_t size) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> payload(size);
  for (size_t i = 0; i < size;) {
    const bool zeros = random() % 3 == 0;
    const size_t end = std::min(size, i + 1 + random() % 1500);
    for (; i < end; ++i) {
      payload[i] = zeros ? std::byte{} : static_cast<std::byte>(random());
    }
  }
  return payload;
}

// A record and what became of it.
class TestEntry final : public LogEntry {
 public:
  TestEntry(uint8_t type, std::vector<std::byte> payload, bool wants_sync)
      : bytes_(std::move(payload)) {
    const auto half =
        std::span<const std::byte>(bytes_).first(bytes_.size() / 2);
    pieces_ = {half, std::span<const std::byte>(bytes_).subspan(half.size())};
    Fill(type, pieces_, wants_sync);
  }

  void Reached(const absl::Status& status) override {
    MutexLock lock(mutex_);
    status_ = status;
    is_told_ = true;
    told_.NotifyAll();
  }

  absl::Status Wait() {
    MutexLock lock(mutex_);
    while (!is_told_) {
      told_.Wait(mutex_);
    }
    return status_;
  }
  bool is_acknowledged() {
    MutexLock lock(mutex_);
    return is_told_ && status_.ok();
  }

 private:
  const std::vector<std::byte> bytes_;
  std::vector<Bytes> pieces_;
  Mutex mutex_;
  CondVar told_;
  bool is_told_ QUIRE_GUARDED_BY(mutex_) = false;
  absl::Status status_ QUIRE_GUARDED_BY(mutex_);
};

// What a log holds.
struct ReadBack {
  struct Record {
    uint64_t lsn;
    uint64_t epoch;
    uint8_t type;
    std::vector<std::byte> payload;
  };
  std::vector<Record> records;
  LogEnd end;
};

inline absl::StatusOr<ReadBack> Read(Directory& directory,
                                     uint64_t from_lsn = 1) {
  QUIRE_ASSIGN_OR_RETURN(const LogReader reader,
                         LogReader::Open(directory, kIdentity));
  ReadBack back;
  QUIRE_ASSIGN_OR_RETURN(
      back.end, reader.Read(from_lsn, [&](const LogRecord& record) {
        back.records.push_back(
            {.lsn = record.lsn,
             .epoch = record.epoch,
             .type = record.type,
             .payload = {record.payload.begin(), record.payload.end()}});
        return absl::OkStatus();
      }));
  return back;
}

inline absl::StatusOr<std::unique_ptr<Log>> StartLog(
    Directory& directory, const LogOptions& options = kSmallLog) {
  QUIRE_ASSIGN_OR_RETURN(const ReadBack back, Read(directory));
  return Log::Start(directory, kIdentity, back.end, options);
}

// Size and level of the records of a history, which are PayloadOf their LSN.
struct Planned {
  size_t size;
  bool wants_sync;
};

inline std::vector<Planned> PlanHistory(uint64_t seed, size_t count,
                                        size_t bytes_max) {
  std::mt19937_64 random(seed);
  std::vector<Planned> plan(count);
  for (Planned& planned : plan) {
    planned = {.size = random() % bytes_max, .wants_sync = random() % 4 == 0};
  }
  return plan;
}

}  // namespace quire::journal
