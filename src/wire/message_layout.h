// Where the parts of a message lie, before there is a buffer for it.
//
//   ┌──────────┬─────────────┬──────────┬─────────────┬─
//   │ headers  │ payload(0)  │ headers  │ payload(1)  │ …     size() bytes
//   └──────────┴─────────────┴──────────┴─────────────┴─
//              ▲ payload_offset(0)
//
// Headers (names, shapes, lengths) are a few dozen bytes for each table, and
// are kept here. Payloads (ids, rows) are large: whoever has them writes them
// into the buffer, at their offsets, in any order, before or after
// WriteHeaders:
//
//   MessageLayout layout = LayOutLookupResponse(tables);
//   std::byte* buffer = …;  // layout.size() bytes
//   layout.WriteHeaders(buffer);
//   gather rows into buffer + layout.payload_offset(2 * i + 1)
//
// The result is, byte for byte, what the generated code would serialise.
//
// Thread safety: as a plain value.

#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/container/inlined_vector.h"

namespace quire::wire {

class MessageLayout {
 public:
  // Of an empty message.
  MessageLayout() = default;

  // Bytes of the message; INT64_MAX if they are that many or more. A message
  // of over 2 GiB is none: see WriteHeaders.
  int64_t size() const;

  // Payloads in the order of the message, empty ones too.
  size_t payload_count() const { return payloads_.size(); }
  int64_t payload_offset(size_t index) const { return payloads_[index].offset; }
  int64_t payload_size(size_t index) const { return payloads_[index].size; }

  // How far into a buffer that is aligned to `alignment` (a power of two) the
  // message must begin for the first payload that is not empty to be aligned,
  // too: less than alignment. 0 if there is none.
  int64_t alignment_shift(int64_t alignment = 64) const;

  // Writes all but the payloads to buffer[0, size()). size() is at most
  // INT32_MAX: checked.
  void WriteHeaders(std::byte* buffer) const;

 private:
  friend class LayoutSink;

  struct Payload {
    int64_t offset;
    int64_t size;
  };

  // All headers, end to end; enough in place for a table and its name.
  absl::InlinedVector<std::byte, 192> headers_;
  absl::InlinedVector<Payload, 4> payloads_;
  // Saturates.
  int64_t payload_bytes_ = 0;
};

}  // namespace quire::wire
