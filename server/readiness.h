// Whether the engine behind the methods can be used yet, and how far it is
// until then.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <atomic>

#include "absl/status/status.h"
#include "engine/recovery_progress.h"
#include "quire/v1/admin.pb.h"

namespace quire {

class Readiness {
 public:
  // OK once the engine serves. UNAVAILABLE (RECOVERING) until then, with how
  // far it is, and advice when to come back.
  absl::Status Check() const;
  bool is_ready() const { return is_ready_.load(std::memory_order_acquire); }
  void SetReady() { is_ready_.store(true, std::memory_order_release); }

  RecoveryProgress& progress() { return progress_; }
  // As the API tells it.
  v1::RecoveryStats Stats() const;

 private:
  RecoveryProgress progress_;
  // Whoever sees it set sees the engine as it has recovered.
  std::atomic<bool> is_ready_ = false;
};

}  // namespace quire
