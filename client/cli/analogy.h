// Words with signs: king - man + woman.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quire::cli {

struct SignedWord {
  std::string word;
  float sign = 1;
};

// "king", "-man", "+woman": without a sign a word counts as added. A sign may
// be quoted by another: "+-" is the word "-".
absl::StatusOr<std::vector<SignedWord>> ParseAnalogy(
    std::span<const std::string> terms);

// "king - man + woman"
std::string AnalogyText(std::span<const SignedWord> words);

// The sum of the rows, signs observed.
//   rows       [words, dim]
//   normalize  each row to length 1 first, so that no word outweighs another
std::vector<float> AnalogyVector(std::span<const SignedWord> words,
                                 std::span<const float> rows, bool normalize);

}  // namespace quire::cli
