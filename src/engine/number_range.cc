#include "engine/number_range.h"

#include <fmt/format.h>

#include <cmath>

#include "base/status.h"

namespace quire {

bool NumberRange::Contains(double value) const {
  return std::isfinite(value) && (has_low ? value >= low : value > low) &&
         (has_high ? value <= high : value < high);
}

absl::Status CheckNumber(double value, const NumberRange& range,
                         std::string_view field) {
  if (range.Contains(value)) {
    return absl::OkStatus();
  }
  return Error(Reason::kBadValue,
               fmt::format("{} is {}; it must be {}", field, value, range.text),
               field);
}

}  // namespace quire
