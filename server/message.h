// Messages as gRPC carries them, and as our rooms read them.

#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "base/byte_range.h"
#include "base/limits.h"
#include "base/memory.h"

namespace quire {

// The pieces of a message that came. Holds them; takes no copy.
class ReceivedMessage {
 public:
  explicit ReceivedMessage(grpc::ByteBuffer& buffer);

  std::span<const Bytes> pieces() const { return pieces_; }
  int64_t size() const { return size_; }

 private:
  std::vector<grpc::Slice> slices_;
  std::vector<Bytes> pieces_;
  int64_t size_ = 0;
};

// Until when the caller waits; nullopt: for ever.
using Deadline = std::optional<std::chrono::steady_clock::time_point>;

// A message to send, and the memory it was charged for until it is sent.
struct Reply {
  grpc::ByteBuffer message;
  MemoryBudget::Charge charge;
  // On a stream: the message says that a request was refused.
  bool is_refusal = false;
};

// A buffer for one message, 64-byte aligned `shift` bytes before its start.
class MessageBuffer {
 public:
  MessageBuffer(int64_t size, int64_t shift);
  ~MessageBuffer();
  MessageBuffer(const MessageBuffer&) = delete;
  MessageBuffer& operator=(const MessageBuffer&) = delete;

  std::byte* data() const { return block_ + shift_; }
  // The message; the buffer goes along and is freed after the send. Once.
  grpc::ByteBuffer Release();

 private:
  std::byte* block_;
  int64_t size_;
  int64_t shift_;
};

// A small message through the generated code.
grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message);

// INVALID_ARGUMENT (MALFORMED) for bytes that are not such a message,
// (TOO_LARGE) for more than `bytes_max` of them.
absl::Status ParseInto(const ReceivedMessage& received,
                       google::protobuf::MessageLite& message,
                       int64_t bytes_max = kLookupReplyBytesMax);

}  // namespace quire
