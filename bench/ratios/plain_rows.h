// Rows as a ceiling has them: one array, an id is an index; no locks, no
// checks, no shards. On the same kind of pages as a table's.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/memory.h"
#include "kernels/kernels.h"

namespace quire::bench {

inline constexpr float kPlainLearningRate = 0.01f;
inline constexpr float kPlainEps = 1e-8f;

// kRows rows of kW1.dim floats, and row-wise Adagrad's state.
//
// Thread safety: none; a gather beside an Apply may see torn rows.
class PlainRows {
 public:
  PlainRows();

  // The prefetched memcpy loop.
  //   out  float32 [n, dim]
  void Gather(std::span<const int64_t> ids, std::byte* out) const;

  // The kernel on the rows in the order of ids, none of them twice.
  //   gradient  float32 [n, dim]
  void Apply(std::span<const int64_t> ids, const std::byte* gradient);

 private:
  float* ValuesAt(int64_t id) const;

  const Pages values_;
  const Pages state_;
  std::vector<kernels::RowUpdate> updates_;
};

}  // namespace quire::bench
