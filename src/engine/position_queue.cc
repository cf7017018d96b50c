#include "engine/position_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/limits.h"
#include "base/status.h"

namespace quire {
namespace {

constexpr std::chrono::milliseconds kLookInterval{1};

constexpr int64_t kRetryMs = 50;

absl::Status NotCaughtUp(uint64_t wanted, uint64_t applied) {
  return WithRetryAfterMs(
      Error(Reason::kNotCaughtUp,
            fmt::format("LSN {} is wanted, and by the deadline the changes of "
                        "these tables are applied up to LSN {}. Try again, "
                        "with more time",
                        wanted, applied),
            "min_position"),
      kRetryMs);
}

absl::Status TooManyWait(size_t count) {
  return WithRetryAfterMs(
      Error(Reason::kBusy,
            fmt::format("{} lookups wait for a position; try again", count)),
      kRetryMs);
}

}  // namespace

uint64_t AppliedUpTo(const journal::Log& log,
                     std::span<const TableHandle> tables) {
  const uint64_t written = log.written_lsn();
  uint64_t lsn = std::numeric_limits<uint64_t>::max();
  for (const TableHandle& table : tables) {
    if (table->is_logged()) {
      lsn = std::min(lsn, table->AppliedUpTo(written));
    }
  }
  return lsn;
}

PositionQueue::PositionQueue(const journal::Log& log, WorkerPool& workers)
    : log_(log), workers_(workers), thread_([this] { Run(); }) {}

PositionQueue::~PositionQueue() {
  Stop();
  thread_.join();
}

void PositionQueue::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

size_t PositionQueue::size() const {
  MutexLock lock(mutex_);
  return waiting_.size();
}

void PositionQueue::Add(std::vector<TableHandle> tables, uint64_t lsn,
                        std::chrono::steady_clock::time_point end, Done done) {
  absl::Status refused;
  {
    MutexLock lock(mutex_);
    if (stopping_) {
      refused = IsStopping();
    } else if (waiting_.size() >= kWaitingLookupsMax) {
      refused = TooManyWait(waiting_.size());
    } else {
      waiting_.push_back({std::move(tables), lsn, end, std::move(done)});
      changed_.NotifyAll();
      return;
    }
  }
  done(refused);
}

std::optional<absl::Status> PositionQueue::EndOf(const Waiting& waiting) const {
  const uint64_t applied = AppliedUpTo(log_, waiting.tables);
  if (applied >= waiting.lsn) {
    return absl::OkStatus();
  }
  if (stopping_) {
    return IsStopping();
  }
  if (std::chrono::steady_clock::now() >= waiting.end) {
    return NotCaughtUp(waiting.lsn, applied);
  }
  return std::nullopt;
}

void PositionQueue::EndThoseThatAreOver() {
  std::vector<Waiting> left;
  for (Waiting& waiting : waiting_) {
    if (auto end = EndOf(waiting)) {
      workers_.Post([done = std::move(waiting.done), end = *std::move(end)] {
        done(end);
      });
    } else {
      left.push_back(std::move(waiting));
    }
  }
  waiting_.swap(left);
}

void PositionQueue::Run() {
  MutexLock lock(mutex_);
  while (true) {
    EndThoseThatAreOver();
    if (stopping_) {
      return;
    }
    if (waiting_.empty()) {
      changed_.Wait(mutex_);
    } else {
      changed_.WaitUntil(mutex_,
                         std::chrono::steady_clock::now() + kLookInterval);
    }
  }
}

}  // namespace quire
