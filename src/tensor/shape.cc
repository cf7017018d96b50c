#include "tensor/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/check.h"
#include "base/status.h"

namespace quire {
namespace {

// The product, or -1 if it leaves int64. Zero absorbs: it is looked for first.
int64_t Product(std::span<const int64_t> dims) {
  if (std::ranges::find(dims, 0) != dims.end()) {
    return 0;
  }
  int64_t product = 1;
  for (int64_t dim : dims) {
    if (__builtin_mul_overflow(product, dim, &product)) {
      return -1;
    }
  }
  return product;
}

absl::Status TooMany(std::string_view dims) {
  return Error(Reason::kBadShape,
               fmt::format("a shape of {} has more than 2^63 elements", dims));
}

}  // namespace

Shape::Shape(std::initializer_list<int64_t> dims) {
  absl::StatusOr<Shape> shape =
      Make(std::span<const int64_t>(dims.begin(), dims.size()));
  QUIRE_CHECK(shape.ok(), "a literal shape is legal");
  *this = *shape;
}

absl::StatusOr<Shape> Shape::Make(std::span<const int64_t> dims, int rank_max) {
  QUIRE_CHECK(rank_max <= kRankMax + 1, "no shape is longer than a row tensor");
  if (dims.size() > static_cast<size_t>(rank_max)) {
    return Error(Reason::kBadShape,
                 fmt::format("a shape of rank {}; at most {} dims are allowed",
                             dims.size(), rank_max));
  }
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0) {
      return Error(Reason::kBadShape,
                   fmt::format("dims[{}] of a shape is {}; dims are 0 or more",
                               i, dims[i]));
    }
  }
  Shape shape;
  shape.rank_ = static_cast<int>(dims.size());
  std::ranges::copy(dims, shape.dims_.begin());
  shape.element_count_ = Product(dims);
  if (shape.element_count_ < 0) {
    return TooMany(shape.ToString());
  }
  return shape;
}

absl::StatusOr<Shape> Shape::Append(int64_t dim) const {
  QUIRE_CHECK(rank_ <= kRankMax && dim >= 0, "a shape is appended to once");
  Shape longer = *this;
  longer.dims_[static_cast<size_t>(longer.rank_++)] = dim;
  longer.element_count_ = Product(longer.dims());
  if (longer.element_count_ < 0) {
    return TooMany(longer.ToString());
  }
  return longer;
}

std::string Shape::ToString() const {
  return fmt::format("({}{})", fmt::join(dims(), ", "), rank_ == 1 ? "," : "");
}

bool operator==(const Shape& a, const Shape& b) {
  return std::ranges::equal(a.dims(), b.dims());
}

}  // namespace quire
