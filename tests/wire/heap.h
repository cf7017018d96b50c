// What code takes from the heap. Linking heap.cc replaces operator new.

#pragma once

#include <cstdint>

namespace quire::wire::testing {

// Counts from its construction on, on all threads; one at a time.
class HeapWatch {
 public:
  HeapWatch();

  // Calls of operator new.
  int64_t allocation_count() const;
  // The most that was in use at once, beyond what was at the beginning.
  int64_t bytes_max() const;
};

}  // namespace quire::wire::testing
