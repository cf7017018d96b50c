// Memory that is counted before it is taken.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/statusor.h"

namespace quire {

// A number of bytes that may be in use at once.
//
// Thread safety: all functions may be called from any thread.
class MemoryBudget {
 public:
  // The right to use some of the budget; gives it back when it dies.
  class Charge {
   public:
    Charge() = default;
    Charge(Charge&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)),
          bytes_(std::exchange(other.bytes_, 0)) {}
    Charge& operator=(Charge&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Charge() { Release(); }

    int64_t bytes() const { return bytes_; }
    void Release();

    // Changes the charge to `bytes`, or returns false and changes nothing.
    // To less always succeeds. Only on a charge that came from a budget.
    [[nodiscard]] bool TryResize(int64_t bytes);

    // Takes over another charge of the same budget.
    void Add(Charge other);

   private:
    friend class MemoryBudget;
    Charge(MemoryBudget* budget, int64_t bytes)
        : budget_(budget), bytes_(bytes) {}

    MemoryBudget* budget_ = nullptr;
    int64_t bytes_ = 0;
  };

  explicit MemoryBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // Takes `bytes`, or returns false and takes nothing.
  [[nodiscard]] bool TryCharge(int64_t bytes, Charge& charge);

  // A charge of nothing, to be resized.
  Charge Nothing() { return Charge(this, 0); }

  int64_t bytes_max() const { return bytes_max_; }
  int64_t bytes_used() const {
    return bytes_used_.load(std::memory_order_relaxed);
  }

 private:
  bool TryAdd(int64_t bytes);

  const int64_t bytes_max_;
  // Only ever compared with bytes_max_: relaxed.
  std::atomic<int64_t> bytes_used_ = 0;
};

// Zeroed anonymous pages, huge where there are enough, given back to the system
// when it dies.
class Pages {
 public:
  Pages() = default;
  Pages(Pages&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Pages();

  // Maps at least `bytes`; RESOURCE_EXHAUSTED if the system refuses. The pages
  // are not yet backed by memory: the first touch of each faults.
  static absl::StatusOr<Pages> Map(size_t bytes);

  // Faults in the pages of [offset, offset + bytes), so that no later access
  // does.
  void Populate(size_t offset, size_t bytes) const;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  Pages(std::byte* data, size_t size) : data_(data), size_(size) {}

  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace quire
