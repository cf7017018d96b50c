#include "server/message.h"

#include <fmt/format.h>

#include <cstdlib>
#include <new>
#include <string>
#include <utility>

#include "base/limits.h"
#include "base/status.h"

namespace quire {

ReceivedMessage::ReceivedMessage(grpc::ByteBuffer& buffer) {
  buffer.Dump(&slices_).ok();  // fails only for a buffer that was never filled
  pieces_.reserve(slices_.size());
  for (const grpc::Slice& slice : slices_) {
    pieces_.emplace_back(reinterpret_cast<const std::byte*>(slice.begin()),
                         slice.size());
    size_ += static_cast<int64_t>(slice.size());
  }
}

MessageBuffer::MessageBuffer(int64_t size, int64_t shift)
    : size_(size), shift_(shift) {
  const size_t bytes = static_cast<size_t>(size + shift + 63) / 64 * 64;
  block_ = static_cast<std::byte*>(std::aligned_alloc(64, bytes + 64));
  if (block_ == nullptr) {
    throw std::bad_alloc();
  }
}

MessageBuffer::~MessageBuffer() { std::free(block_); }

grpc::ByteBuffer MessageBuffer::Release() {
  std::byte* block = std::exchange(block_, nullptr);
  const grpc::Slice slice(block + shift_, static_cast<size_t>(size_),
                          &std::free, block);
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message) {
  const size_t size = message.ByteSizeLong();
  MessageBuffer buffer(static_cast<int64_t>(size), 0);
  message.SerializeWithCachedSizesToArray(
      reinterpret_cast<uint8_t*>(buffer.data()));
  return buffer.Release();
}

absl::Status ParseInto(const ReceivedMessage& received,
                       google::protobuf::MessageLite& message,
                       int64_t bytes_max) {
  if (received.size() > bytes_max) {
    return Error(Reason::kTooLarge,
                 fmt::format("a request of {} bytes; at most {} are allowed. "
                             "Send it in parts",
                             received.size(), bytes_max));
  }
  std::string bytes;
  bytes.reserve(static_cast<size_t>(received.size()));
  for (const Bytes& piece : received.pieces()) {
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  if (!message.ParseFromString(bytes)) {
    return Error(Reason::kMalformed,
                 fmt::format("{} bytes are not a {}", received.size(),
                             message.GetTypeName()));
  }
  return absl::OkStatus();
}

}  // namespace quire
