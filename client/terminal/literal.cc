#include "client/terminal/literal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <string>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/numbers.h"

namespace quire::terminal {
namespace {

using formats::InputError;

// Rows of ids of the highest rank: a gradient has one dim more.
constexpr size_t kNestingMax = kRankMax + 1;

constexpr std::string_view kSpace = " \t\r\n";

// "character 7", or "line 3, character 7" in a text of several lines.
std::string Place(std::string_view text, size_t position) {
  const std::string_view before = text.substr(0, position);
  const auto line = std::ranges::count(before, '\n') + 1;
  const size_t column = position - (before.find_last_of('\n') + 1) + 1;
  return line == 1 ? fmt::format("character {}", column)
                   : fmt::format("line {}, character {}", line, column);
}

// What `text` holds as an id, or why it is none.
absl::Status ParseNumber(std::string_view text, int64_t& id) {
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, id);
  const bool whole = end == last && error != std::errc::invalid_argument;
  if (!whole) {
    return InputError(
        fmt::format("'{}' is no id: ids are whole numbers", text));
  }
  if (text.starts_with('-')) {
    return InputError(fmt::format("{} is no id: ids are 0 or more", text));
  }
  if (error == std::errc::result_out_of_range) {
    return InputError(fmt::format("{} is no id: it is over 2^63 - 1", text));
  }
  return absl::OkStatus();
}

absl::Status ParseNumber(std::string_view text, float& value) {
  return formats::ParseFloat(text, value)
             ? absl::OkStatus()
             : InputError(fmt::format("'{}' is no number", text));
}

template <typename T>
class NestedParser {
 public:
  NestedParser(std::string_view text, size_t position)
      : text_(text), position_(position) {}

  size_t position() const { return position_; }

  absl::StatusOr<NestedNumbers<T>> Parse() {
    QUIRE_RETURN_IF_ERROR(ParseValue());
    for (const std::optional<int64_t>& dim : dims_) {
      result_.dims.push_back(*dim);
    }
    return std::move(result_);
  }

 private:
  absl::Status ParseValue() {
    SkipSpace();
    return Sees('[') ? ParseList() : ParseLeaf();
  }

  absl::Status ParseList() {
    const size_t depth = path_.size();
    const size_t start = position_++;
    if (depth == kNestingMax) {
      return At(start,
                fmt::format("more than {} levels of lists", kNestingMax));
    }
    if (leaf_depth_ && depth >= *leaf_depth_) {
      return At(start, Ragged("is a list, where others are numbers"));
    }
    if (dims_.size() == depth) {
      dims_.emplace_back();
    }
    path_.push_back(0);
    QUIRE_RETURN_IF_ERROR(ParseElements());
    const int64_t count = path_.back();
    path_.pop_back();
    if (dims_[depth] && *dims_[depth] != count) {
      return At(start, Ragged(fmt::format("has length {}, others {}", count,
                                          *dims_[depth])));
    }
    dims_[depth] = count;
    return absl::OkStatus();
  }

  // Up to the closing bracket; counts in path_.
  absl::Status ParseElements() {
    SkipSpace();
    if (Take(']')) {
      return absl::OkStatus();
    }
    for (;;) {
      QUIRE_RETURN_IF_ERROR(ParseValue());
      ++path_.back();
      SkipSpace();
      if (Take(']')) {
        return absl::OkStatus();
      }
      if (!Take(',')) {
        return At(position_, position_ == text_.size()
                                 ? "a list is not closed"
                                 : "',' or ']' is missing");
      }
    }
  }

  absl::Status ParseLeaf() {
    const size_t start = position_;
    const size_t end = text_.find_first_of(",[] \t\r\n", start);
    const std::string_view number = text_.substr(start, end - start);
    if (number.empty()) {
      return At(start, "a number is missing");
    }
    if (leaf_depth_.value_or(path_.size()) != path_.size() ||
        dims_.size() > path_.size()) {
      return At(start, Ragged("is a number, where others are lists"));
    }
    leaf_depth_ = path_.size();
    T value{};
    if (absl::Status status = ParseNumber(number, value); !status.ok()) {
      return At(start, formats::SentenceOf(status));
    }
    result_.values.push_back(value);
    position_ += number.size();
    return absl::OkStatus();
  }

  std::string Ragged(std::string_view what) const {
    std::string place = "the literal";
    if (!path_.empty()) {
      place = fmt::format("[{}]", fmt::join(path_, "]["));
    }
    return fmt::format("ragged nesting: {} {}", place, what);
  }

  absl::Status At(size_t position, std::string_view sentence) const {
    return InputError(fmt::format("{}: {}", Place(text_, position), sentence));
  }

  void SkipSpace() {
    position_ =
        std::min(text_.find_first_not_of(kSpace, position_), text_.size());
  }

  bool Sees(char c) const {
    return position_ < text_.size() && text_[position_] == c;
  }

  bool Take(char c) {
    const bool taken = Sees(c);
    position_ += taken ? 1 : 0;
    return taken;
  }

  const std::string_view text_;
  size_t position_;
  NestedNumbers<T> result_;
  // Of each level: known once its first list is closed.
  std::vector<std::optional<int64_t>> dims_;
  // The level of the numbers, once there is one.
  std::optional<size_t> leaf_depth_;
  // Where we are: the index in each open list.
  std::vector<int64_t> path_;
};

template <typename T>
absl::StatusOr<NestedNumbers<T>> ParsePart(std::string_view text,
                                           size_t& position) {
  NestedParser<T> parser(text, position);
  absl::StatusOr<NestedNumbers<T>> result = parser.Parse();
  position = parser.position();
  return result;
}

template <typename T>
absl::StatusOr<NestedNumbers<T>> ParseWhole(std::string_view text) {
  size_t position = 0;
  absl::StatusOr<NestedNumbers<T>> result = ParsePart<T>(text, position);
  const size_t rest = text.find_first_not_of(kSpace, position);
  if (result.ok() && rest != std::string_view::npos) {
    return InputError(
        fmt::format("{}: the literal has ended here", Place(text, rest)));
  }
  return result;
}

}  // namespace

absl::StatusOr<NestedNumbers<int64_t>> ParseNestedIds(std::string_view text,
                                                      size_t& position) {
  return ParsePart<int64_t>(text, position);
}

absl::StatusOr<NestedNumbers<float>> ParseNestedFloats(std::string_view text,
                                                       size_t& position) {
  return ParsePart<float>(text, position);
}

absl::StatusOr<NestedNumbers<int64_t>> ParseNestedIds(std::string_view text) {
  return ParseWhole<int64_t>(text);
}

absl::StatusOr<NestedNumbers<float>> ParseNestedFloats(std::string_view text) {
  return ParseWhole<float>(text);
}

absl::Status AppendPlainIds(std::string_view text, std::vector<int64_t>& ids) {
  const size_t dots = text.find("..");
  int64_t first = 0;
  QUIRE_RETURN_IF_ERROR(ParseNumber(text.substr(0, dots), first));
  int64_t last = first;
  if (dots != std::string_view::npos) {
    QUIRE_RETURN_IF_ERROR(ParseNumber(text.substr(dots + 2), last));
  }
  if (last < first) {
    return InputError(fmt::format("the range {} ends before it begins", text));
  }
  const auto room = kIdsTypedMax - static_cast<int64_t>(ids.size());
  if (last - first >= room) {
    return InputError(
        fmt::format("'{}' makes more than {} ids, the most for one command",
                    text, kIdsTypedMax));
  }
  const size_t begin = ids.size();
  ids.resize(begin + static_cast<size_t>(last - first + 1));
  std::iota(ids.begin() + static_cast<ptrdiff_t>(begin), ids.end(), first);
  return absl::OkStatus();
}

}  // namespace quire::terminal
