// Lookups that wait until changes have been applied, each until its deadline.
//
// Whoever applies a change tells nobody: while there are lookups that wait, the
// queue looks, every millisecond.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/worker_pool.h"
#include "engine/live_table.h"
#include "journal/log.h"

namespace quire {

// All changes of these tables, up to which LSN, have been applied: those that
// are LOGGED. Nothing is waited for where none is.
uint64_t AppliedUpTo(const journal::Log& log,
                     std::span<const TableHandle> tables);

class PositionQueue {
 public:
  // Both outlive it.
  PositionQueue(const journal::Log& log, WorkerPool& workers);
  // As Stop.
  ~PositionQueue();
  PositionQueue(const PositionQueue&) = delete;
  PositionQueue& operator=(const PositionQueue&) = delete;

  // Calls `done` once, on a worker, or here if it is refused at once: OK when
  // AppliedUpTo has come to `lsn`; NOT_CAUGHT_UP at `end`; STOPPING; BUSY.
  using Done = std::function<void(absl::Status)>;
  void Add(std::vector<TableHandle> tables, uint64_t lsn,
           std::chrono::steady_clock::time_point end, Done done);

  // Those that wait are told STOPPING, and so are later ones.
  void Stop();

  // How many wait.
  size_t size() const;

 private:
  struct Waiting {
    std::vector<TableHandle> tables;
    uint64_t lsn;
    std::chrono::steady_clock::time_point end;
    Done done;
  };

  void Run();
  // nullopt: it goes on.
  std::optional<absl::Status> EndOf(const Waiting& waiting) const
      QUIRE_REQUIRES(mutex_);
  // Takes those whose wait is over, and tells them on a worker.
  void EndThoseThatAreOver() QUIRE_REQUIRES(mutex_);

  const journal::Log& log_;
  WorkerPool& workers_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  std::vector<Waiting> waiting_ QUIRE_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace quire
