// Writes protobuf's encoding, in the order and form of its serialisers.
//
// A message is described once, by the calls that write it; a submessage is
// described to a counter first, since its length comes before it.

#pragma once

#include <array>
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
  int64_t size() const { return size_; }

  void Write(std::string_view bytes) {
    Skip(static_cast<int64_t>(bytes.size()));
  }
  void Payload(int64_t size) { Skip(size); }
  void Skip(int64_t size) { size_ = SaturatingAdd(size_, size); }

 private:
  int64_t size_ = 0;
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
    Raw(&value, sizeof(value));
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
      sink_.Skip(size.size());
    } else {
      body(*this);
    }
  }

  void RawVarint(uint64_t value);

 private:
  void Tag(int field, WireType type) { RawVarint(TagOf(field, type)); }

  void Raw(const void* bytes, size_t size) {
    sink_.Write({static_cast<const char*>(bytes), size});
  }

  Sink& sink_;
};

template <typename Sink>
void FieldWriter<Sink>::RawVarint(uint64_t value) {
  std::array<char, 10> bytes;
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) {
    bytes[size++] = static_cast<char>(value | 0x80);
  }
  bytes[size++] = static_cast<char>(value);
  Raw(bytes.data(), size);
}

}  // namespace quire::wire
