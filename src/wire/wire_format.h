// The words of protobuf's encoding. A message is a row of fields; a field is a
// tag and a value, and the tag says how long the value is.
// https://protobuf.dev/programming-guides/encoding

#pragma once

#include <bit>
#include <cstdint>

namespace quire::wire {

enum class WireType : uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kLength = 2,  // a varint, and that many bytes: messages, strings, arrays
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5,
};

constexpr uint32_t TagOf(int field, WireType type) {
  return static_cast<uint32_t>(field) << 3 | static_cast<uint32_t>(type);
}
constexpr int FieldOf(uint32_t tag) { return static_cast<int>(tag >> 3); }
constexpr WireType TypeOf(uint32_t tag) {
  return static_cast<WireType>(tag & 7);
}

// A packed array of fixed-size elements is the bytes of our own array.
static_assert(std::endian::native == std::endian::little,
              "arrays travel in little-endian order");

}  // namespace quire::wire
