// "Did you mean …?"

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace quire::terminal {

// Edits that turn one text into the other: a letter put in, left out, changed,
// or two neighbours swapped (optimal string alignment).
size_t EditDistance(std::string_view a, std::string_view b);

// The candidate that `typed` was most likely meant to be: one that begins with
// it, or the one with the least edits, if these are at most a third of the
// letters. Nullopt if none is near.
std::optional<std::string> Suggest(std::string_view typed,
                                   std::span<const std::string> candidates);

// "; did you mean 'glove'?", or nothing.
std::string DidYouMean(std::string_view typed,
                       std::span<const std::string> candidates);

}  // namespace quire::terminal
