// The numbers that a field of a specification may have.

#pragma once

#include <limits>
#include <string_view>

#include "absl/status/status.h"

namespace quire {

// An interval of finite numbers: infinite bounds are never reached.
struct NumberRange {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool has_low = true;   // low itself is in it
  bool has_high = true;  // high itself is in it
  // What the number must be: "finite and 0 or more".
  std::string_view text;

  bool Contains(double value) const;
};

inline constexpr NumberRange kAnyFinite = {.text = "finite"};
inline constexpr NumberRange kAtLeastZero = {.low = 0,
                                             .text = "finite and 0 or more"};
inline constexpr NumberRange kAboveZero = {
    .low = 0, .has_low = false, .text = "finite and more than 0"};
inline constexpr NumberRange kAtMostZero = {.high = 0,
                                            .text = "finite and 0 or less"};
inline constexpr NumberRange kShare = {
    .low = 0, .high = 1, .text = "in [0, 1]"};
// A decay rate, which 1 would make of no end.
inline constexpr NumberRange kBelowOne = {
    .low = 0, .high = 1, .has_high = false, .text = "in [0, 1)"};

// OK, or BAD_VALUE: "FIELD is VALUE; it must be RANGE".
absl::Status CheckNumber(double value, const NumberRange& range,
                         std::string_view field);

}  // namespace quire
