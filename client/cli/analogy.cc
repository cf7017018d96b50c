#include "client/cli/analogy.h"

#include <cmath>

#include "client/formats/input_error.h"

namespace quire::cli {

absl::StatusOr<std::vector<SignedWord>> ParseAnalogy(
    std::span<const std::string> terms) {
  std::vector<SignedWord> words;
  for (const std::string& term : terms) {
    const bool has_sign =
        term.size() > 1 && (term.front() == '-' || term.front() == '+');
    words.push_back({.word = has_sign ? term.substr(1) : term,
                     .sign = has_sign && term.front() == '-' ? -1.0f : 1.0f});
    if (words.back().word.empty()) {
      return formats::InputError("an empty word");
    }
  }
  return words;
}

std::string AnalogyText(std::span<const SignedWord> words) {
  std::string text;
  for (const SignedWord& word : words) {
    if (!text.empty()) {
      text += word.sign < 0 ? " - " : " + ";
    } else if (word.sign < 0) {
      text += "-";
    }
    text += word.word;
  }
  return text;
}

std::vector<float> AnalogyVector(std::span<const SignedWord> words,
                                 std::span<const float> rows, bool normalize) {
  const size_t dim = rows.size() / words.size();
  std::vector<float> sum(dim);
  for (size_t i = 0; i < words.size(); ++i) {
    const std::span<const float> row = rows.subspan(i * dim, dim);
    double squares = 0;
    for (const float value : row) {
      squares += double{value} * value;
    }
    const bool scaled = normalize && squares > 0;
    const double factor = words[i].sign / (scaled ? std::sqrt(squares) : 1.0);
    for (size_t j = 0; j < dim; ++j) {
      sum[j] += static_cast<float>(factor * row[j]);
    }
  }
  return sum;
}

}  // namespace quire::cli
