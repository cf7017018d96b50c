#include "tests/formats/heap_watch.h"

#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace quire::formats::testing {
namespace {

bool watching = false;
size_t largest_bytes = 0;
size_t live_bytes = 0;
size_t peak_bytes = 0;

void OnAllocate(const volatile void*, size_t size) {
  if (watching) {
    largest_bytes = std::max(largest_bytes, size);
    live_bytes += size;
    peak_bytes = std::max(peak_bytes, live_bytes);
  }
}

void OnFree(const volatile void* pointer) {
  if (watching && pointer != nullptr) {
    const size_t size =
        __sanitizer_get_allocated_size(const_cast<const void*>(pointer));
    live_bytes -= std::min(size, live_bytes);
  }
}

}  // namespace

HeapWatch::HeapWatch() {
  static const int installed =
      __sanitizer_install_malloc_and_free_hooks(OnAllocate, OnFree);
  if (installed == 0) {
    std::fputs("no hooks for malloc\n", stderr);
    std::abort();
  }
  largest_bytes = live_bytes = peak_bytes = 0;
  watching = true;
}

HeapWatch::~HeapWatch() { watching = false; }

size_t HeapWatch::largest() const { return largest_bytes; }
size_t HeapWatch::peak() const { return peak_bytes; }

void ExpectModest(const HeapWatch& watch, size_t size, size_t slack) {
  // Values of a pickle take more than their opcodes.
  constexpr size_t kTimes = 64;
  if (watch.largest() > std::max(size, kTimes * size / 2) + slack ||
      watch.peak() > kTimes * size + 2 * slack) {
    std::fprintf(stderr,
                 "an input of %zu bytes made allocations of up to %zu bytes, "
                 "%zu together\n",
                 size, watch.largest(), watch.peak());
    std::abort();
  }
}

}  // namespace quire::formats::testing
