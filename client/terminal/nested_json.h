// Tensors as JSON.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tensor/shape.h"

namespace quire::terminal {

// Appends lists within lists, on one line; a scalar is a number. A float is
// the shortest number that reads back as the same float32, or null if it is
// not finite, for which JSON has no number. `values` has as many elements as
// `shape`.
void AppendNestedJson(const Shape& shape, std::span<const float> values,
                      std::string& out);
void AppendNestedJson(const Shape& shape, std::span<const int64_t> values,
                      std::string& out);

// Appends a string; what is no UTF-8 becomes U+FFFD, as JSON must be UTF-8.
void AppendJsonString(std::string_view text, std::string& out);

}  // namespace quire::terminal
