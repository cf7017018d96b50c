#include "base/tuning.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include "absl/synchronization/mutex.h"

namespace quire {
namespace {

// Of a thread that gives way.
constexpr int kNiceness = 10;

}  // namespace

void TuneProcess() {
  // The largest threshold that glibc accepts.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

void GiveWayToOthers() {
  // To others of this process too, says Linux of a thread; setpriority(2).
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness);
}

}  // namespace quire
