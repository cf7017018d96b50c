// Numbers as people type them: '[[2,3],[1,0],[8,6]]', 2, 0..9.
//
//   nested := number | "[" [nested {"," nested}] "]"      (JSON)
//   plain  := id | id ".." id                             (both ends included)

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/limits.h"

namespace quire::terminal {

// Ids of one command: 512 MiB of them.
inline constexpr int64_t kIdsTypedMax = int64_t{1} << 26;

// Numbers of any shape, row-major; a single number has no dims.
template <typename T>
struct NestedNumbers {
  std::vector<int64_t> dims;
  std::vector<T> values;
};

// Reads one nested literal of `text` from `position` on, which is left behind
// it. Errors name the place and what was found there: ragged nesting, numbers
// that are no ids (negative, fractions, over 2^63 - 1), more than `rank_max`
// levels.
absl::StatusOr<NestedNumbers<int64_t>> ParseNestedIds(std::string_view text,
                                                      size_t& position);
absl::StatusOr<NestedNumbers<float>> ParseNestedFloats(std::string_view text,
                                                       size_t& position);

// The same for a text that holds one literal and nothing else.
absl::StatusOr<NestedNumbers<int64_t>> ParseNestedIds(std::string_view text);
absl::StatusOr<NestedNumbers<float>> ParseNestedFloats(std::string_view text);

// Appends the ids of one plain literal. Errors quote it.
absl::Status AppendPlainIds(std::string_view text, std::vector<int64_t>& ids);

}  // namespace quire::terminal
