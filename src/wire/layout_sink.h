// A sink for FieldWriter that makes a MessageLayout.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/field_writer.h"
#include "wire/message_layout.h"

namespace quire::wire {

class LayoutSink {
 public:
  explicit LayoutSink(MessageLayout& layout) : layout_(layout) {}

  void Write(std::string_view bytes) {
    const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
    layout_.headers_.insert(layout_.headers_.end(), begin,
                            begin + bytes.size());
  }

  void Payload(int64_t size) {
    layout_.payloads_.push_back({.offset = layout_.size(), .size = size});
    layout_.payload_bytes_ = SaturatingAdd(layout_.payload_bytes_, size);
  }

 private:
  MessageLayout& layout_;
};

}  // namespace quire::wire
