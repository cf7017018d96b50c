#include "crash/troubled_disk.h"

#include <string_view>
#include <utility>

#include "base/status.h"

namespace quire::crash {

using journal::ModelDisk;

void TroubledDisk::CutPowerBefore(int64_t operation,
                                  std::function<void()> cut) {
  constexpr ModelDisk::Unsynced kOutcomes[] = {
      ModelDisk::Unsynced::kLost, ModelDisk::Unsynced::kKept,
      ModelDisk::Unsynced::kAsTheCoinFalls,
      ModelDisk::Unsynced::kAsTheCoinFalls};
  unsynced_ = kOutcomes[random_() % std::size(kOutcomes)];
  coin_.seed(random_());
  cut_ = std::move(cut);
  operations_left_ = operation;
  disk_->OnOperation([this](std::string_view) { BeforeOperation(); });
}

void TroubledDisk::BeforeOperation() {
  {
    const std::lock_guard lock(mutex_);
    if (operations_left_-- != 0) {
      return;
    }
  }
  cut_();
  auto left = disk_->PowerCut(unsynced_, coin_);
  disk_->FailAt(0, Reason::kIoFailed, /*for_ever=*/true);
  const std::lock_guard lock(mutex_);
  kept_ = std::move(left);
}

void TroubledDisk::FailAt(int64_t operation) {
  const Reason reason =
      random_() % 2 == 0 ? Reason::kIoFailed : Reason::kDiskFull;
  disk_->FailAt(disk_->operation_count() + operation, reason,
                /*for_ever=*/random_() % 2 == 0);
}

void TroubledDisk::KeepAfterPowerCut() {
  const bool is_all_lost = random_() % 3 == 0;
  coin_.seed(random_());
  kept_ = disk_->PowerCut(is_all_lost ? ModelDisk::Unsynced::kLost
                                      : ModelDisk::Unsynced::kAsTheCoinFalls,
                          coin_);
}

void TroubledDisk::KeepAfterKill() {
  kept_ = std::make_unique<ModelDisk>(*disk_);
}

bool TroubledDisk::is_kept() {
  const std::lock_guard lock(mutex_);
  return kept_ != nullptr;
}

void TroubledDisk::GoOn() {
  if (kept_ == nullptr) {
    KeepAfterKill();
  }
  disk_ = std::move(kept_);
}

}  // namespace quire::crash
