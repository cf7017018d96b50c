// The lines of a text, one after the other.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/formats/byte_source.h"

namespace quire::formats {

// A line of the widest legal row is 1.6 MB; what is much longer is no text.
inline constexpr size_t kLineBytesMax = size_t{16} << 20;

// Thread safety: one thread at a time.
class LineReader {
 public:
  explicit LineReader(ByteSource& source);

  // The next line without its end, which is \n, \r\n or the end of the text;
  // nullopt after the last. Valid until the next call.
  absl::StatusOr<std::optional<std::string_view>> Next();

  // Of the line that Next returned last: 1, 2, …
  int64_t line_number() const { return line_number_; }

 private:
  // Makes room and reads on; false at the end of the text.
  absl::StatusOr<bool> Fill();

  ByteSource& source_;
  int64_t line_number_ = 0;

  // Bytes [begin_, end_) of the buffer are read and not yet returned.
  std::string buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace quire::formats
