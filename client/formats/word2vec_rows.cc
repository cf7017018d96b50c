#include "client/formats/word2vec_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/limits.h"
#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/row_checks.h"
#include "client/formats/text_rows.h"

namespace quire::formats {
namespace {

// One request to the source.
constexpr size_t kBufferBytes = size_t{64} << 10;

// A header is two numbers.
constexpr size_t kHeaderBytesMax = 64;

// Bytes, one after the other.
class ByteStream {
 public:
  explicit ByteStream(ByteSource& source)
      : source_(source), buffer_(kBufferBytes, '\0') {}

  // The next byte, which stays; nullopt at the end.
  absl::StatusOr<std::optional<char>> Peek() {
    if (begin_ == end_) {
      QUIRE_ASSIGN_OR_RETURN(end_, source_.Read(buffer_));
      begin_ = 0;
      if (end_ == 0) {
        return std::nullopt;
      }
    }
    return buffer_[begin_];
  }

  void Skip() { ++begin_; }

  // Reads up to `stop`, which is dropped; false if there are more than
  // `bytes_max` bytes in front of it, or the stream ends.
  absl::StatusOr<bool> ReadUntil(char stop, size_t bytes_max,
                                 std::string& out) {
    out.clear();
    for (;;) {
      QUIRE_ASSIGN_OR_RETURN(const std::optional<char> byte, Peek());
      if (!byte || (*byte != stop && out.size() == bytes_max)) {
        return false;
      }
      Skip();
      if (*byte == stop) {
        return true;
      }
      out += *byte;
    }
  }

  // Fills `out`; false if the stream ends before.
  absl::StatusOr<bool> Read(std::span<char> out) {
    while (!out.empty()) {
      QUIRE_ASSIGN_OR_RETURN(const std::optional<char> next, Peek());
      if (!next) {
        return false;
      }
      const size_t count = std::min(out.size(), end_ - begin_);
      std::memcpy(out.data(), buffer_.data() + begin_, count);
      begin_ += count;
      out = out.subspan(count);
    }
    return true;
  }

 private:
  ByteSource& source_;
  std::string buffer_;
  // Bytes [begin_, end_) of the buffer are read and not yet taken.
  size_t begin_ = 0;
  size_t end_ = 0;
};

class BinaryRows : public RowReader {
 public:
  explicit BinaryRows(std::unique_ptr<ByteSource> source)
      : source_(std::move(source)), stream_(*source_) {}

  absl::Status ReadHeader(const RowReaderOptions& options) {
    std::string line;
    QUIRE_ASSIGN_OR_RETURN(const bool found,
                           stream_.ReadUntil('\n', kHeaderBytesMax, line));
    const std::optional<Word2vecHeader> header =
        found ? ParseWord2vecHeader(line) : std::nullopt;
    if (!header) {
      return InputError(fmt::format(
          "'{}' line 1: word2vec's header was expected, the number of rows "
          "and the dim",
          source_->name()));
    }
    info_.row_count = header->row_count;
    info_.dim = header->dim;
    QUIRE_RETURN_IF_ERROR(
        CheckDim(fmt::format("'{}'", source_->name()), info_.dim, options));
    return CheckSize();
  }

  const RowFileInfo& info() const override { return info_; }

  absl::Status Read(int64_t rows_max, RowBlock& block) override {
    const int64_t wanted = std::min(rows_max, info_.row_count - next_row_);
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
  // A row is a word of a byte, a space and its floats, at least.
  absl::Status CheckSize() const {
    const auto row_bytes = static_cast<size_t>(info_.dim) * sizeof(float) + 2;
    if (static_cast<size_t>(info_.row_count) >
        source_->size_max() / row_bytes) {
      return InputError(fmt::format(
          "'{}' promises {} rows of {} floats, more than its bytes can be",
          source_->name(), info_.row_count, info_.dim));
    }
    return absl::OkStatus();
  }

  absl::Status ReadRow(std::span<float> values, std::string& label) {
    QUIRE_RETURN_IF_ERROR(SkipLineEnds());
    QUIRE_ASSIGN_OR_RETURN(const bool has_word,
                           stream_.ReadUntil(' ', kLabelBytesMax, label));
    if (!has_word && label.size() == kLabelBytesMax) {
      return InputError(fmt::format(
          "'{}' row {}: a word of more than {} bytes: is its dim {}?",
          source_->name(), next_row_, kLabelBytesMax, info_.dim));
    }
    bool whole = has_word;
    if (has_word) {
      QUIRE_ASSIGN_OR_RETURN(
          whole, stream_.Read({reinterpret_cast<char*>(values.data()),
                               values.size_bytes()}));
    }
    if (!whole) {
      return InputError(fmt::format("'{}' ends within row {} of {}",
                                    source_->name(), next_row_,
                                    info_.row_count));
    }
    if (label.empty()) {
      return InputError(fmt::format("'{}' row {}: there is no word",
                                    source_->name(), next_row_));
    }
    QUIRE_RETURN_IF_ERROR(CheckFinite(fmt::format("'{}'", source_->name()),
                                      values, next_row_, info_.dim));
    ++next_row_;
    return absl::OkStatus();
  }

  absl::Status SkipLineEnds() {
    for (;;) {
      QUIRE_ASSIGN_OR_RETURN(const std::optional<char> byte, stream_.Peek());
      if (byte != '\n') {
        return absl::OkStatus();
      }
      stream_.Skip();
    }
  }

  absl::Status CheckEnd() {
    QUIRE_RETURN_IF_ERROR(SkipLineEnds());
    QUIRE_ASSIGN_OR_RETURN(const std::optional<char> byte, stream_.Peek());
    return !byte ? absl::OkStatus()
                 : InputError(fmt::format("'{}' goes on after the last of {} "
                                          "rows",
                                          source_->name(), info_.row_count));
  }

  const std::unique_ptr<ByteSource> source_;
  ByteStream stream_;
  RowFileInfo info_ = {.format = RowFormat::kWord2vecBinary, .labelled = true};
  int64_t next_row_ = 0;
};

}  // namespace

bool LooksLikeWord2vecBinary(std::string_view head) {
  const size_t header_end = head.find('\n');
  if (header_end == std::string_view::npos) {
    return false;
  }
  const std::optional<Word2vecHeader> header =
      ParseWord2vecHeader(head.substr(0, header_end));
  if (!header || header->dim > kDimMax) {
    return false;
  }
  head.remove_prefix(header_end + 1);
  const size_t row_end = head.find('\n');
  if (row_end != std::string_view::npos) {
    std::vector<float> values(static_cast<size_t>(header->dim));
    std::string_view word;
    if (ParseRow(head.substr(0, row_end), values, word).ok()) {
      return false;
    }
  }
  // Words of a text may have bytes that are not ASCII, but no control
  // characters.
  return std::ranges::any_of(head, [row_end](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == 0x7f ||
           (byte < ' ' && c != '\t' && c != '\r' && c != '\n') ||
           (byte >= 0x80 && row_end != std::string_view::npos);
  });
}

absl::StatusOr<std::unique_ptr<RowReader>> OpenWord2vecBinary(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options) {
  auto rows = std::make_unique<BinaryRows>(std::move(source));
  QUIRE_RETURN_IF_ERROR(rows->ReadHeader(options));
  return rows;
}

}  // namespace quire::formats
