#include "base/allocator.h"

#include <malloc.h>

namespace quire {

void TuneMallocForLargeMessages() {
  // The largest threshold that glibc accepts.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

}  // namespace quire
