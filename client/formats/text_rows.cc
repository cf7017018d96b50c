#include "client/formats/text_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "base/limits.h"
#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/line_reader.h"
#include "client/formats/numbers.h"

namespace quire::formats {
namespace {

constexpr size_t kLinesToInferDim = 100;

// Longer fields are cut in messages.
constexpr size_t kFieldBytesShown = 40;

bool IsSpace(char c) { return c == ' ' || c == '\t'; }

std::string_view WithoutTrailingSpace(std::string_view text) {
  while (!text.empty() && IsSpace(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

// Cuts the last field off `text`, which does not end with a space. Empty, and
// `text` stays, if it is the only field.
std::string_view TakeLastField(std::string_view& text) {
  size_t start = text.size();
  while (start > 0 && !IsSpace(text[start - 1])) {
    --start;
  }
  if (start == 0) {
    return {};
  }
  const std::string_view field = text.substr(start);
  text = WithoutTrailingSpace(text.substr(0, start));
  return field;
}

class TextRows : public RowReader {
 public:
  // The lines of `source` are those of `info`, after a header if there is one.
  static absl::StatusOr<std::unique_ptr<RowReader>> Open(
      std::unique_ptr<ByteSource> source, const RowFileInfo& info) {
    QUIRE_RETURN_IF_ERROR(source->Rewind());
    auto rows = std::make_unique<TextRows>(std::move(source), info);
    if (info.format == RowFormat::kWord2vec) {
      QUIRE_RETURN_IF_ERROR(rows->lines_.Next().status());
    }
    return rows;
  }

  TextRows(std::unique_ptr<ByteSource> source, const RowFileInfo& info)
      : source_(std::move(source)), info_(info), lines_(*source_) {}

  const RowFileInfo& info() const override { return info_; }

  absl::Status Read(int64_t rows_max, RowBlock& block) override {
    const int64_t wanted = std::min(rows_max, info_.row_count - rows_read_);
    const auto dim = static_cast<size_t>(info_.dim);
    block.values.resize(static_cast<size_t>(wanted) * dim);
    block.labels.resize(static_cast<size_t>(wanted));
    for (size_t i = 0; i < block.labels.size(); ++i) {
      QUIRE_RETURN_IF_ERROR(ReadRow(
          std::span(block.values).subspan(i * dim, dim), block.labels[i]));
    }
    block.row_count = wanted;
    return wanted > 0 ? absl::OkStatus() : CheckEnd();
  }

 private:
  absl::Status ReadRow(std::span<float> values, std::string& label) {
    QUIRE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line,
                           lines_.Next());
    if (!line) {
      return InputError(fmt::format("'{}' ends after {} rows of {}",
                                    source_->name(), rows_read_,
                                    info_.row_count));
    }
    std::string_view word;
    if (absl::Status status = ParseRow(*line, values, word); !status.ok()) {
      return InputError(fmt::format("{} line {}: {}", source_->name(),
                                    lines_.line_number(), SentenceOf(status)));
    }
    label.assign(word);
    ++rows_read_;
    return absl::OkStatus();
  }

  // Only blank lines may follow the last row.
  absl::Status CheckEnd() {
    for (;;) {
      QUIRE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line,
                             lines_.Next());
      if (!line) {
        return absl::OkStatus();
      }
      if (!WithoutTrailingSpace(*line).empty()) {
        return InputError(fmt::format("{} line {}: a row after the last of {}",
                                      source_->name(), lines_.line_number(),
                                      info_.row_count));
      }
    }
  }

  const std::unique_ptr<ByteSource> source_;
  const RowFileInfo info_;
  LineReader lines_;
  int64_t rows_read_ = 0;
};

// What the first pass over a file learns.
struct Scan {
  std::string first_line;
  // Of each of the first lines.
  std::vector<int64_t> number_counts;
  // Up to the last that is not blank. Counted only if there is no header.
  int64_t line_count = 0;
};

absl::StatusOr<Scan> ScanLines(ByteSource& source,
                               const RowReaderOptions& options) {
  Scan scan;
  LineReader lines(source);
  for (;;) {
    QUIRE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line,
                           lines.Next());
    if (!line) {
      return scan;
    }
    if (!WithoutTrailingSpace(*line).empty()) {
      scan.line_count = lines.line_number();
    }
    if (lines.line_number() == 1) {
      scan.first_line = *line;
    }
    if (scan.number_counts.size() < kLinesToInferDim) {
      scan.number_counts.push_back(NumbersAtEnd(*line));
    }
    // A header tells the rest.
    if (lines.line_number() == 1 && options.format != RowFormat::kGlove &&
        ParseWord2vecHeader(*line)) {
      return scan;
    }
  }
}

absl::StatusOr<RowFileInfo> Word2vecInfo(const ByteSource& source,
                                         std::string_view first_line,
                                         const RowReaderOptions& options) {
  const std::optional<Word2vecHeader> header = ParseWord2vecHeader(first_line);
  if (!header) {
    return InputError(fmt::format(
        "{} line 1: word2vec's header was expected, the number of rows and "
        "the dim",
        source.name()));
  }
  if (options.dim && *options.dim != header->dim) {
    return InputError(fmt::format("{} line 1: rows of {} floats, not of {}",
                                  source.name(), header->dim, *options.dim));
  }
  return RowFileInfo{.format = RowFormat::kWord2vec,
                     .row_count = header->row_count,
                     .dim = header->dim,
                     .labelled = true};
}

}  // namespace

absl::StatusOr<std::unique_ptr<RowReader>> OpenTextRows(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const Scan scan, ScanLines(*source, options));
  if (scan.line_count == 0) {
    return InputError(fmt::format("'{}' is empty", source->name()));
  }
  RowFileInfo info = {.format = RowFormat::kGlove,
                      .row_count = scan.line_count,
                      .dim = options.dim.value_or(InferDim(scan.number_counts)),
                      .labelled = true};
  const bool has_header =
      options.format == RowFormat::kWord2vec ||
      (!options.format && ParseWord2vecHeader(scan.first_line));
  if (has_header) {
    QUIRE_ASSIGN_OR_RETURN(info,
                           Word2vecInfo(*source, scan.first_line, options));
  }
  if (info.dim < 1 || info.dim > kDimMax) {
    return InputError(fmt::format(
        "'{}' does not look like embeddings: rows of {} numbers after a word; "
        "1 to {} are needed",
        source->name(), info.dim, kDimMax));
  }
  // A row is a word of a byte, and for each number a space and a digit.
  const auto row_bytes = 2 * static_cast<size_t>(info.dim) + 1;
  if (static_cast<size_t>(info.row_count) >
      source->size_max() / row_bytes + 1) {
    return InputError(fmt::format(
        "{} line 1: {} rows of {} floats are more than its bytes can be",
        source->name(), info.row_count, info.dim));
  }
  return TextRows::Open(std::move(source), info);
}

int64_t NumbersAtEnd(std::string_view line) {
  line = WithoutTrailingSpace(line);
  int64_t count = 0;
  float ignored = 0;
  for (std::string_view field = TakeLastField(line);
       !field.empty() && ParseFloat(field, ignored);
       field = TakeLastField(line)) {
    ++count;
  }
  return count;
}

int64_t InferDim(std::span<const int64_t> number_counts) {
  std::map<int64_t, int64_t> frequency;
  int64_t dim = 0;
  for (const int64_t count : number_counts) {
    ++frequency[count];
  }
  frequency.erase(0);
  for (const int64_t count : number_counts) {
    const auto mine = frequency.find(count);
    if (mine != frequency.end() && mine->second > frequency[dim]) {
      dim = mine->first;
    }
  }
  return dim;
}

std::optional<Word2vecHeader> ParseWord2vecHeader(std::string_view line) {
  const auto whole = [](std::string_view text, int64_t& value) {
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), last, value);
    return !text.empty() && error == std::errc() && end == last && value >= 0;
  };
  line = WithoutTrailingSpace(line);
  Word2vecHeader header;
  const std::string_view dim = TakeLastField(line);
  if (!whole(dim, header.dim) || !whole(line, header.row_count)) {
    return std::nullopt;
  }
  return header;
}

absl::Status ParseRow(std::string_view line, std::span<float> values,
                      std::string_view& word) {
  word = WithoutTrailingSpace(line);
  for (size_t found = 0; found < values.size(); ++found) {
    float& value = values[values.size() - 1 - found];
    const std::string_view field = TakeLastField(word);
    if (field.empty()) {
      return InputError(fmt::format("{} numbers after the word, {} are needed",
                                    found, values.size()));
    }
    if (!ParseFloat(field, value)) {
      return InputError(
          fmt::format("{} numbers at its end, {} are needed: '{}' is no number",
                      found, values.size(), field.substr(0, kFieldBytesShown)));
    }
    if (!std::isfinite(value)) {
      return InputError(fmt::format("'{}' is not a finite float32",
                                    field.substr(0, kFieldBytesShown)));
    }
  }
  if (word.empty()) {
    return InputError(fmt::format("{} numbers and no word", values.size()));
  }
  if (word.size() > kLabelBytesMax) {
    return InputError(fmt::format("a word of {} bytes; at most {} are allowed",
                                  word.size(), kLabelBytesMax));
  }
  return absl::OkStatus();
}

}  // namespace quire::formats
