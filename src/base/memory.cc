#include "base/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/check.h"
#include "base/status.h"

namespace quire {
namespace {

// x86-64. Rows are read at random: with 4 KiB pages most of them also miss the
// TLB, and inside a virtual machine a walk of the page table is dear.
constexpr size_t kHugePageBytes = size_t{2} << 20;

size_t PageBytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

bool MemoryBudget::TryAdd(int64_t bytes) {
  int64_t used = bytes_used_.load(std::memory_order_relaxed);
  do {
    if (bytes > 0 && bytes > bytes_max_ - used) {
      return false;
    }
  } while (!bytes_used_.compare_exchange_weak(used, used + bytes,
                                              std::memory_order_relaxed));
  return true;
}

void MemoryBudget::Charge::Add(Charge other) {
  QUIRE_CHECK(budget_ == other.budget_, "charges of one budget");
  bytes_ += std::exchange(other.bytes_, 0);
}

bool MemoryBudget::TryCharge(int64_t bytes, Charge& charge) {
  if (!TryAdd(bytes)) {
    return false;
  }
  charge = Charge(this, bytes);
  return true;
}

bool MemoryBudget::Charge::TryResize(int64_t bytes) {
  if (!budget_->TryAdd(bytes - bytes_)) {
    return false;
  }
  bytes_ = bytes;
  return true;
}

void MemoryBudget::Charge::Release() {
  if (budget_ != nullptr) {
    budget_->bytes_used_.fetch_sub(bytes_, std::memory_order_relaxed);
    budget_ = nullptr;
    bytes_ = 0;
  }
}

absl::StatusOr<Pages> Pages::Map(size_t bytes) {
  const size_t page = PageBytes();
  const size_t size = std::max(page, (bytes + page - 1) / page * page);
  // Huge pages begin at multiples of their size: map more, and cut.
  const bool is_huge = size >= kHugePageBytes;
  const size_t slack = is_huge ? kHugePageBytes : 0;
  void* mapped = mmap(nullptr, size + slack, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    return Error(Reason::kMemoryFull,
                 fmt::format("the system refused {} bytes of memory: {}", size,
                             std::system_category().message(errno)));
  }
  auto* data = static_cast<std::byte*>(mapped);
  if (is_huge) {
    const size_t begin = -reinterpret_cast<uintptr_t>(mapped) % kHugePageBytes;
    munmap(data, begin);
    munmap(data + begin + size, slack - begin);
    data += begin;
    // Advice: where the system has none, ordinary pages do.
    madvise(data, size, MADV_HUGEPAGE);
  }
  return Pages(data, size);
}

void Pages::Populate(size_t offset, size_t bytes) const {
  const size_t page = PageBytes();
  const size_t begin = offset / page * page;
  const size_t end = std::min(size_, offset + bytes);
  if (begin >= end) {
    return;
  }
#ifdef MADV_POPULATE_WRITE
  if (madvise(data_ + begin, end - begin, MADV_POPULATE_WRITE) == 0) {
    return;
  }
#endif
  // An older kernel: write each page. An atomic OR of nothing keeps what a
  // neighbour, whose range shares the page, may be writing.
  for (size_t at = begin; at < end; at += page) {
    __atomic_fetch_or(reinterpret_cast<uint8_t*>(data_ + at), uint8_t{0},
                      __ATOMIC_RELAXED);
  }
}

Pages::~Pages() {
  if (data_ != nullptr) {
    munmap(data_, size_);
  }
}

}  // namespace quire
