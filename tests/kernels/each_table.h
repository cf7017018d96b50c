// What the tests of the kernels share: the tables that run here, and numbers
// that are hard on them.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "main/seed.h"

namespace quire::kernels {

// Scalar first.
inline std::vector<const Kernels*> TablesThatRunHere() {
  std::vector<const Kernels*> tables = {&ScalarKernels()};
  for (const Kernels* table : {Avx2Kernels(), Avx512Kernels()}) {
    if (table != nullptr) {
      tables.push_back(table);
    }
  }
  return tables;
}

// A test that is run for each table: TEST_P, GetParam() is the table.
class EachTable : public ::testing::TestWithParam<const Kernels*> {};

inline std::string NameOf(
    const ::testing::TestParamInfo<const Kernels*>& table) {
  return table.param->name;
}

#define QUIRE_RUN_ON_EACH_TABLE(suite)    \
  INSTANTIATE_TEST_SUITE_P(Tables, suite, \
                           ::testing::ValuesIn(TablesThatRunHere()), NameOf)

inline uint32_t BitsOf(float x) { return std::bit_cast<uint32_t>(x); }

// The one NaN that a kernel computes.
inline constexpr uint32_t kComputedNan = 0x7FC00000;

// What a kernel stores when the arithmetic gives x.
inline uint32_t StoredBits(float x) {
  return x != x ? kComputedNan : BitsOf(x);
}

// A batch of rows to step, with the scratch that it needs. What would not be
// finite is stored all the same, unless asked otherwise.
class Steps {
 public:
  Steps(const std::vector<RowUpdate>& rows, size_t dim, size_t state_floats,
        Stripes& stripes, size_t ahead = 0)
      : scratch_(StepScratchFloats(dim, state_floats)),
        batch_{.rows = rows.data(),
               .count = rows.size() - ahead,
               .ahead = ahead,
               .dim = dim,
               .state_floats = state_floats,
               .stripes = &stripes,
               .scratch = scratch_.data(),
               .keep_finite = false} {}

  Steps& KeepFinite() {
    batch_.keep_finite = true;
    return *this;
  }
  Steps& Ascend() {
    batch_.gradient_sign = -1.0f;
    return *this;
  }
  Steps& Renormed(const Renorm& renorm) {
    batch_.renorm = &renorm;
    return *this;
  }

  const StepBatch& batch() const { return batch_; }

 private:
  std::vector<float> scratch_;
  StepBatch batch_;
};

// Numbers, one in `special_one_in` of which is a special one (0: none).
class HardFloats {
 public:
  HardFloats(uint64_t seed, int special_one_in)
      : generator_(seed), special_one_in_(special_one_in) {}

  float Next() {
    if (special_one_in_ != 0 && generator_() % special_one_in_ == 0) {
      return std::bit_cast<float>(kSpecial[generator_() % kSpecial.size()]);
    }
    return normal_(generator_);
  }

  std::vector<float> Take(size_t count) {
    std::vector<float> floats(count);
    for (float& x : floats) {
      x = Next();
    }
    return floats;
  }

 private:
  // Zeros, denormals, extremes, infinities, NaNs quiet and signalling.
  static constexpr std::array<uint32_t, 16> kSpecial = {
      0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000,
      0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000,
      0x7FC12345, 0xFFEABCDE, 0x7F812345, 0xFF800001};

  std::mt19937_64 generator_;
  std::normal_distribution<float> normal_;
  int special_one_in_;
};

// Bytes that start `offset` bytes after an address of alignment 64, between
// guards that must not change.
class GuardedBytes {
 public:
  GuardedBytes(size_t size, size_t offset)
      : size_(size), memory_(size + offset + 3 * kGuard, kPattern) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(memory_.data());
    start_ = (kGuard - address % kGuard) + kGuard + offset;
  }

  GuardedBytes(std::span<const float> floats, size_t offset)
      : GuardedBytes(floats.size_bytes(), offset) {
    if (!floats.empty()) {
      std::memcpy(data(), floats.data(), floats.size_bytes());
    }
  }

  std::byte* data() { return memory_.data() + start_; }
  // At an offset that is a multiple of 4.
  float* floats() { return reinterpret_cast<float*>(data()); }
  size_t size() const { return size_; }

  std::vector<uint32_t> words() {
    std::vector<uint32_t> words(size_ / sizeof(uint32_t));
    if (!words.empty()) {
      std::memcpy(words.data(), data(), size_);
    }
    return words;
  }

  bool GuardsAreIntact() const {
    for (size_t i = 0; i < memory_.size(); ++i) {
      if ((i < start_ || i >= start_ + size_) && memory_[i] != kPattern) {
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr std::byte kPattern{0xA5};

  size_t size_;
  size_t start_;
  std::vector<std::byte> memory_;
};

// What the 16 lanes give: element i into lane i % 16 by `accumulate(i, lane)`,
// then halves are added.
template <typename Accumulate>
float SumOfLanes(size_t count, Accumulate accumulate) {
  std::array<float, 16> lane = {};
  for (size_t i = 0; i < count; ++i) {
    lane[i % 16] = accumulate(i, lane[i % 16]);
  }
  for (size_t half : {8, 4, 2, 1}) {
    for (size_t j = 0; j < half; ++j) {
      lane[j] = lane[j] + lane[j + half];
    }
  }
  return lane[0];
}

}  // namespace quire::kernels
