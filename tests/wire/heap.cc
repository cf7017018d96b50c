#include "tests/wire/heap.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace quire::wire::testing {
namespace {

// Figures for tests of one thread: relaxed.
std::atomic<int64_t> allocation_count_now = 0;
std::atomic<int64_t> bytes_now = 0;
std::atomic<int64_t> bytes_most = 0;
int64_t bytes_at_start = 0;

void* Allocate(size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  const auto usable = static_cast<int64_t>(malloc_usable_size(memory));
  const int64_t bytes = bytes_now += usable;
  if (bytes > bytes_most) {
    bytes_most = bytes;
  }
  ++allocation_count_now;
  return memory;
}

void Free(void* memory) {
  bytes_now -= static_cast<int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

HeapWatch::HeapWatch() {
  allocation_count_now = 0;
  bytes_at_start = bytes_now;
  bytes_most = bytes_at_start;
}

int64_t HeapWatch::allocation_count() const { return allocation_count_now; }

int64_t HeapWatch::bytes_max() const { return bytes_most - bytes_at_start; }

}  // namespace quire::wire::testing

void* operator new(size_t size) { return quire::wire::testing::Allocate(size); }
void operator delete(void* memory) noexcept {
  quire::wire::testing::Free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  quire::wire::testing::Free(memory);
}
