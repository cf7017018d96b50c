#include "client/message.h"

#include <cstdint>
#include <cstdlib>

#include "base/check.h"

namespace quire {
namespace {

constexpr int64_t kAlignment = 64;

}  // namespace

MessageMemory::MessageMemory(const wire::MessageLayout& layout) {
  const int64_t shift = layout.alignment_shift(kAlignment);
  const int64_t bytes =
      (shift + layout.size() + kAlignment) / kAlignment * kAlignment;
  auto* memory = static_cast<std::byte*>(
      std::aligned_alloc(kAlignment, static_cast<size_t>(bytes)));
  QUIRE_CHECK(memory != nullptr, "there is memory for a message");
  data = memory + shift;
  const grpc::Slice slice(data, static_cast<size_t>(layout.size()), &std::free,
                          memory);
  buffer = grpc::ByteBuffer(&slice, 1);
}

MessagePieces::MessagePieces(const grpc::ByteBuffer& message) {
  message.Dump(&slices_);
  pieces_.reserve(slices_.size());
  for (const grpc::Slice& slice : slices_) {
    pieces_.push_back(
        std::as_bytes(std::span<const uint8_t>(slice.begin(), slice.size())));
  }
}

}  // namespace quire
