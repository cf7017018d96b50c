#include "base/tuning.h"

#include <malloc.h>

#include "absl/synchronization/mutex.h"

namespace quire {

void TuneProcess() {
  // The largest threshold that glibc accepts.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace quire
