#include "wire/message_layout.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "wire/field_writer.h"

namespace quire::wire {

int64_t MessageLayout::size() const {
  return SaturatingAdd(static_cast<int64_t>(headers_.size()), payload_bytes_);
}

int64_t MessageLayout::alignment_shift(int64_t alignment) const {
  for (const Payload& payload : payloads_) {
    if (payload.size > 0) {
      return -payload.offset & (alignment - 1);
    }
  }
  return 0;
}

void MessageLayout::WriteHeaders(std::byte* buffer) const {
  QUIRE_CHECK(size() <= std::numeric_limits<int32_t>::max(),
              "protobuf has no messages over 2 GiB");
  const std::byte* header = headers_.data();
  int64_t offset = 0;
  for (const Payload& payload : payloads_) {
    const int64_t header_size = payload.offset - offset;
    std::copy_n(header, header_size, buffer + offset);
    header += header_size;
    offset = payload.offset + payload.size;
  }
  std::copy_n(header, size() - offset, buffer + offset);
}

}  // namespace quire::wire
