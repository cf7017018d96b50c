#include "client/terminal/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>

namespace quire::terminal {
namespace {

// Three digits and the unit that suits: `units` are `step` apart.
std::string Scaled(double value, double step,
                   std::span<const std::string_view> units) {
  size_t unit = 0;
  // What would be rounded to 1000 goes to the next unit.
  while (unit + 1 < units.size() && value >= std::min(step, 999.5)) {
    value /= step;
    ++unit;
  }
  const int decimals = unit == 0       ? 0
                       : value < 9.995 ? 2
                       : value < 99.95 ? 1
                                       : 0;
  const std::string number = fmt::format("{:.{}f}", value, decimals);
  return units[unit].empty() ? number
                             : fmt::format("{} {}", number, units[unit]);
}

}  // namespace

std::string FormatCount(int64_t count) {
  std::string text = fmt::format("{}", count);
  const size_t first_digit = text.starts_with('-') ? 1 : 0;
  for (size_t i = text.size(); i > first_digit + 3;) {
    i -= 3;
    text.insert(i, 1, ',');
  }
  return text;
}

std::string FormatCount(int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", FormatCount(count), noun,
                     count == 1 ? "" : "s");
}

std::string FormatBytes(int64_t bytes) {
  constexpr auto kUnits =
      std::to_array<std::string_view>({"B", "KiB", "MiB", "GiB", "TiB", "PiB"});
  return Scaled(static_cast<double>(bytes), 1024, kUnits);
}

std::string FormatRate(double per_second) {
  constexpr auto kUnits = std::to_array<std::string_view>({"", "k", "M", "G"});
  return Scaled(per_second, 1000, kUnits);
}

std::string FormatLatency(std::chrono::nanoseconds latency) {
  constexpr auto kUnits =
      std::to_array<std::string_view>({"ns", "µs", "ms", "s"});
  return Scaled(static_cast<double>(latency.count()), 1000, kUnits);
}

std::string FormatClock(std::chrono::seconds duration) {
  const int64_t seconds = std::max<int64_t>(0, duration.count());
  return seconds < 3600 ? fmt::format("{}:{:02}", seconds / 60, seconds % 60)
                        : fmt::format("{}:{:02}:{:02}", seconds / 3600,
                                      seconds / 60 % 60, seconds % 60);
}

}  // namespace quire::terminal
