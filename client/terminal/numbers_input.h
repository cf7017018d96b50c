// Ids, vectors and gradients, from where a person says that they are.
//
// An argument is
//   a literal        '[[2,3],[1,0]]', and for ids also 2 and 0..9
//   a file           @FILE, or a name that ends with .npy
//   standard input   -
// A file, and standard input, holds an array of numpy's, or text: nested
// literals one after the other (JSON lines), each a batch of its own; or, for
// ids, plain ones between spaces, commas and line ends, which are one batch.
// Either may be packed by gzip.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/formats/byte_source.h"
#include "client/terminal/literal.h"
#include "tensor/shape.h"

namespace quire::terminal {

struct IdBatch {
  Shape shape;
  std::vector<int64_t> ids;  // row-major, as many as the shape has elements
};

// Reads what `arguments` say, which is one nested literal, one file, standard
// input, or any number of plain ids: these are one batch of shape [n].
absl::StatusOr<std::vector<IdBatch>> ReadIds(
    std::span<const std::string> arguments);

// Reads one array from one argument.
absl::StatusOr<NestedNumbers<float>> ReadFloats(std::string_view argument);

// "2,3", "(2,3)" or "2x3"; "()" is a scalar.
absl::StatusOr<Shape> ParseShape(std::string_view text);

// The same ids in another shape of as many elements.
absl::StatusOr<IdBatch> Reshape(IdBatch batch, const Shape& shape);

}  // namespace quire::terminal
