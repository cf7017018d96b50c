#include "client/formats/line_reader.h"

#include <fmt/format.h>

#include <cstring>

#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

std::string_view WithoutReturn(std::string_view line) {
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  return line;
}

}  // namespace

LineReader::LineReader(ByteSource& source)
    : source_(source), buffer_(kBufferBytes, '\0') {}

absl::StatusOr<std::optional<std::string_view>> LineReader::Next() {
  size_t searched = 0;
  for (;;) {
    const char* start = buffer_.data() + begin_;
    const void* newline =
        std::memchr(start + searched, '\n', end_ - begin_ - searched);
    if (newline != nullptr) {
      const auto size =
          static_cast<size_t>(static_cast<const char*>(newline) - start);
      begin_ += size + 1;
      ++line_number_;
      return WithoutReturn({start, size});
    }
    searched = end_ - begin_;
    QUIRE_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) {
      break;
    }
  }
  if (begin_ == end_) {
    return std::nullopt;
  }
  const std::string_view last(buffer_.data() + begin_, end_ - begin_);
  begin_ = end_;
  ++line_number_;
  return WithoutReturn(last);
}

absl::StatusOr<bool> LineReader::Fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (end_ == buffer_.size()) {
    if (buffer_.size() >= kLineBytesMax) {
      return InputError(fmt::format("{} line {}: longer than {} bytes",
                                    source_.name(), line_number_ + 1,
                                    kLineBytesMax));
    }
    buffer_.resize(2 * buffer_.size());
  }
  QUIRE_ASSIGN_OR_RETURN(
      const size_t count,
      source_.Read(std::span(buffer_.data() + end_, buffer_.size() - end_)));
  end_ += count;
  return count > 0;
}

}  // namespace quire::formats
