#include "client/terminal/suggestion.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace quire::terminal {
namespace {

// A prefix of three letters is no accident.
constexpr size_t kPrefixMin = 3;

}  // namespace

size_t EditDistance(std::string_view a, std::string_view b) {
  // Three rows of the table: for the prefixes of `a` of two letters less, one
  // letter less, and this one.
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1),
      current(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) {
    current[j] = j;
  }
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(current);
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({above[j] + 1, current[j - 1] + 1, changed});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
  }
  return current[b.size()];
}

std::optional<std::string> Suggest(std::string_view typed,
                                   std::span<const std::string> candidates) {
  const std::string* best = nullptr;
  size_t best_distance = std::max<size_t>(1, typed.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const bool completes =
        typed.size() >= kPrefixMin && candidate.starts_with(typed);
    const size_t distance = completes ? 0 : EditDistance(typed, candidate);
    if (distance < best_distance) {
      best = &candidate;
      best_distance = distance;
    }
  }
  return best == nullptr ? std::nullopt : std::optional(*best);
}

std::string DidYouMean(std::string_view typed,
                       std::span<const std::string> candidates) {
  const std::optional<std::string> meant = Suggest(typed, candidates);
  return meant ? fmt::format("; did you mean '{}'?", *meant) : "";
}

}  // namespace quire::terminal
