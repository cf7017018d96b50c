// The shape of a tensor: up to eight dims, row-major, by value.

#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/limits.h"

namespace quire {

// A rank of 0 is a scalar (one element); a dim of 0 is an empty tensor.
class Shape {
 public:
  // A scalar.
  Shape() = default;
  // Dims that are known to be legal: at most kRankMax, none negative, a
  // product that fits int64. Checked.
  Shape(std::initializer_list<int64_t> dims);

  // Dims that came from outside: INVALID_ARGUMENT (BAD_SHAPE) for more than
  // `rank_max` of them, for a negative one, or for a product over int64. A dim
  // of 0 makes the product 0 whatever the others are.
  //   rank_max  kRankMax for ids, one more for tensors of rows
  static absl::StatusOr<Shape> Make(std::span<const int64_t> dims,
                                    int rank_max = kRankMax);

  int rank() const { return rank_; }
  int64_t dim(int index) const { return dims_[static_cast<size_t>(index)]; }
  std::span<const int64_t> dims() const {
    return {dims_.data(), static_cast<size_t>(rank_)};
  }
  // The product of all dims; 1 for a scalar.
  int64_t element_count() const { return element_count_; }

  // This shape with one more dim at its end: the shape of a lookup's result.
  // INVALID_ARGUMENT if the product leaves int64. A shape of rank kRankMax
  // may still be appended to once (ids of rank 8 give rows of rank 9).
  absl::StatusOr<Shape> Append(int64_t dim) const;

  // "(3, 2, 5)", "(7,)", "()": as Python prints it.
  std::string ToString() const;

  friend bool operator==(const Shape& a, const Shape& b);

 private:
  int rank_ = 0;
  int64_t element_count_ = 1;
  std::array<int64_t, kRankMax + 1> dims_{};
};

}  // namespace quire
