// "1:16:1": a row of numbers to try.

#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace quire::cli {

// "4" is one number, "1:16" every one from 1 to 16, "1:16:5" 1, 6, 11, 16: both
// ends included. From 1 up, at most `max`.
absl::StatusOr<std::vector<int>> ParseSweep(std::string_view text, int max);

}  // namespace quire::cli
