// Writes protobuf's encoding, in the order and form of its serialisers.
//
// A message is described once, by the calls that write it; a submessage is
// described to a counter first, since its length comes before it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

#include "wire/wire_format.h"

namespace quire::wire {

// Sizes that cannot be are INT64_MAX, and stay so.
constexpr int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum)
             ? std::numeric_limits<int64_t>::max()
             : sum;
}
constexpr int64_t SaturatingMultiply(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product)
             ? std::numeric_limits<int64_t>::max()
             : product;
}

// Counts what is written.
class SizeSink {
 public:
  // Of all that is written, payloads too.
  int64_t size() const { return SaturatingAdd(header_bytes_, payload_bytes_); }
  int64_t header_bytes() const { return header_bytes_; }
  size_t payload_count() const { return payload_count_; }

  void Byte(uint8_t) { ++header_bytes_; }
  void Write(std::string_view bytes) {
    header_bytes_ += static_cast<int64_t>(bytes.size());
  }
  void Payload(int64_t size) {
    payload_bytes_ = SaturatingAdd(payload_bytes_, size);
    ++payload_count_;
  }
  // All that `part` has counted.
  void Add(const SizeSink& part) {
    header_bytes_ += part.header_bytes_;
    payload_bytes_ = SaturatingAdd(payload_bytes_, part.payload_bytes_);
    payload_count_ += part.payload_count_;
  }

 private:
  int64_t header_bytes_ = 0;
  int64_t payload_bytes_ = 0;
  size_t payload_count_ = 0;
};

// Field numbers are below 16. A field is written whatever its value; its caller
// knows when a serialiser leaves it out.
//   Sink  SizeSink, or one like it that keeps what it is given
template <typename Sink>
class FieldWriter {
 public:
  explicit FieldWriter(Sink& sink) : sink_(sink) {}

  void Varint(int field, uint64_t value) {
    Tag(field, WireType::kVarint);
    RawVarint(value);
  }

  void Double(int field, double value) {
    Tag(field, WireType::kFixed64);
    sink_.Write({reinterpret_cast<const char*>(&value), sizeof(value)});
  }

  void String(int field, std::string_view bytes) {
    Tag(field, WireType::kLength);
    RawVarint(bytes.size());
    sink_.Write(bytes);
  }

  // An array of `size` bytes that someone else writes, later. Serialisers leave
  // out an empty one; its place is kept all the same.
  void Payload(int field, int64_t size) {
    if (size > 0) {
      Tag(field, WireType::kLength);
      RawVarint(static_cast<uint64_t>(size));
    }
    sink_.Payload(size);
  }

  // A message, whose fields `body` writes to the FieldWriter that it is given;
  // or a packed array, whose elements it writes.
  template <typename Body>
  void Nested(int field, Body body) {
    SizeSink size;
    body(FieldWriter<SizeSink>(size));
    Tag(field, WireType::kLength);
    RawVarint(static_cast<uint64_t>(size.size()));
    if constexpr (std::is_same_v<Sink, SizeSink>) {
      sink_.Add(size);
    } else {
      body(*this);
    }
  }

  void RawVarint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
      sink_.Byte(static_cast<uint8_t>(value | 0x80));
    }
    sink_.Byte(static_cast<uint8_t>(value));
  }

 private:
  void Tag(int field, WireType type) { RawVarint(TagOf(field, type)); }

  Sink& sink_;
};

}  // namespace quire::wire
