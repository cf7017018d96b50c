// Tensors as torch prints them.

#pragma once

#include <span>
#include <string>

#include "tensor/shape.h"

namespace quire::terminal {

// The text of print(torch.tensor(…)), with these choices of ours:
//
//   - Numbers are scientific only if fixed ones would say nothing: the largest
//     is under 1e-3, or 1e8 or more. (Torch also looks at their ratio, and
//     shows most vectors of words like that.)
//   - A vector of more than 16 numbers is cut to its first and last three, and
//     the other dims likewise where more than 1000 numbers would be left.
//     (Torch cuts all dims, if there are more than 1000 numbers.)
//
// `full`: nothing is cut. `values` has as many elements as `shape`.
std::string TensorText(const Shape& shape, std::span<const float> values,
                       bool full);

}  // namespace quire::terminal
