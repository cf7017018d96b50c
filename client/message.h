// Messages of the wire room, as gRPC carries them.

#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <span>
#include <vector>

#include "base/byte_range.h"
#include "wire/encode.h"
#include "wire/message_layout.h"

namespace quire {

// Memory for a message, whose first payload is aligned to 64 bytes. It belongs
// to the buffer: a call that was cancelled may still send from it.
struct MessageMemory {
  explicit MessageMemory(const wire::MessageLayout& layout);

  std::byte* data;
  grpc::ByteBuffer buffer;
};

// `entries` as a message: encoded once, in one slice. `layout` is theirs, of
// at most INT32_MAX bytes.
template <typename Entry>
grpc::ByteBuffer EncodeMessage(std::span<const Entry> entries,
                               const wire::MessageLayout& layout) {
  MessageMemory memory(layout);
  wire::Encode(entries, layout, memory.data);
  return memory.buffer;
}

// The pieces of a message that was received, where they lie.
class MessagePieces {
 public:
  explicit MessagePieces(const grpc::ByteBuffer& message);

  std::span<const Bytes> pieces() const { return pieces_; }

 private:
  std::vector<grpc::Slice> slices_;
  std::vector<Bytes> pieces_;
};

}  // namespace quire
