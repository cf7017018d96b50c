// Random numbers for tests, all from one seed.

#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

namespace quire::wire::testing {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  uint64_t Bits() { return engine_(); }

  // In [low, high].
  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }

  // In [0, size); size is not 0.
  size_t Index(size_t size) {
    return std::uniform_int_distribution<size_t>(0, size - 1)(engine_);
  }

  // True once in `n` times.
  bool OneIn(int64_t n) { return Between(1, n) == 1; }

  template <typename Range>
  auto OneOf(const Range& range) {
    return range[Index(std::size(range))];
  }

  // Where standard algorithms want a generator.
  std::mt19937_64& engine() { return engine_; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace quire::wire::testing
