// A sink for FieldWriter that makes a MessageLayout.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "wire/field_writer.h"
#include "wire/message_layout.h"

namespace quire::wire {

class LayoutSink {
 public:
  // `layout` is empty; `size` has counted what will be written.
  LayoutSink(const SizeSink& size, MessageLayout& layout) : layout_(layout) {
    layout_.headers_.resize(static_cast<size_t>(size.header_bytes()));
    layout_.payloads_.reserve(size.payload_count());
    next_ = layout_.headers_.data();
  }

  void Byte(uint8_t byte) { *next_++ = std::byte{byte}; }

  void Write(std::string_view bytes) {
    next_ = std::ranges::copy(std::as_bytes(std::span(bytes)), next_).out;
  }

  void Payload(int64_t size) {
    const int64_t header_bytes = next_ - layout_.headers_.data();
    layout_.payloads_.push_back(
        {.offset = SaturatingAdd(header_bytes, layout_.payload_bytes_),
         .size = size});
    layout_.payload_bytes_ = SaturatingAdd(layout_.payload_bytes_, size);
  }

 private:
  MessageLayout& layout_;
  // In the headers: where the next one goes.
  std::byte* next_;
};

}  // namespace quire::wire
