// A disk in memory that comes to a bad end at an operation that is chosen
// beforehand, and is then as it was found afterwards.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>

#include "journal/model_disk.h"

namespace quire::crash {

// Thread safety: one thread; but the disk itself is for all, and CutPowerBefore
// comes true on whichever of them does the operation.
class TroubledDisk {
 public:
  // The seed decides how operations fail and what a power cut leaves.
  explicit TroubledDisk(uint64_t seed) : random_(seed) {}

  // Without trouble until something below is called; another one after GoOn.
  journal::ModelDisk& disk() { return *disk_; }

  // --- Trouble; operations are counted from this call, from 0 ---

  // Before that operation the power is cut: `cut` is called, what is left is
  // kept, and all operations from there on fail.
  void CutPowerBefore(int64_t operation, std::function<void()> cut);
  // That operation fails, or it and all after it.
  void FailAt(int64_t operation);
  // Files may grow by that, in bytes, and no more.
  void SetSpace(int64_t bytes) { disk_->SetSpace(bytes); }

  // --- The end ---

  // What is left now if the power is cut, or if the process is killed.
  void KeepAfterPowerCut();
  void KeepAfterKill();
  bool is_kept();
  // Nobody uses the disk any more. It becomes what was kept, or, if nothing
  // was, as it is; the trouble is over.
  void GoOn();

 private:
  void BeforeOperation();
  std::unique_ptr<journal::ModelDisk> AfterPowerCut();

  std::mt19937_64 random_;
  std::unique_ptr<journal::ModelDisk> disk_ =
      std::make_unique<journal::ModelDisk>();
  // Constant while there are operations.
  std::function<void()> cut_;
  journal::ModelDisk::Unsynced unsynced_ = journal::ModelDisk::Unsynced::kLost;
  std::mt19937_64 coin_;

  std::mutex mutex_;
  // Guarded by it.
  int64_t operations_left_ = 0;
  std::unique_ptr<journal::ModelDisk> kept_;
};

}  // namespace quire::crash
