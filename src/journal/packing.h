// How headers are laid out: numbers one after the other, little-endian, sealed
// by a checksum that is the last of them. And checksums of what lies in pieces.
//
// Thread safety: pure functions and plain values.

#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/byte_range.h"
#include "base/check.h"
#include "base/xxh3.h"

namespace quire::journal {

static_assert(std::endian::native == std::endian::little,
              "numbers are copied as they lie");

// Puts numbers and bytes one after the other.
class Packer {
 public:
  explicit Packer(std::span<std::byte> out) : out_(out) {}

  template <typename Number>
  void Put(Number number) {
    Put(std::as_bytes(std::span(&number, 1)));
  }
  void Put(Bytes bytes) {
    QUIRE_CHECK(bytes.size() <= out_.size(), "a header has room for all");
    std::ranges::copy(bytes, out_.begin());
    out_ = out_.subspan(bytes.size());
  }

 private:
  std::span<std::byte> out_;
};

// Takes them in the same order.
class Unpacker {
 public:
  explicit Unpacker(Bytes in) : in_(in) {}

  template <typename Number>
  Number Take() {
    QUIRE_CHECK(sizeof(Number) <= in_.size(), "a header has all");
    Number number;
    std::memcpy(&number, in_.data(), sizeof(number));
    in_ = in_.subspan(sizeof(number));
    return number;
  }

 private:
  Bytes in_;
};

// The checksum of bytes that are added piece by piece.
class Hasher {
 public:
  explicit Hasher(uint64_t seed) {
    // Without it, what an earlier one has left here is taken for what this one
    // would compute, if the seed is the same.
    XXH3_INITSTATE(&state_);
    XXH3_64bits_reset_withSeed(&state_, seed);
  }

  void Add(Bytes bytes) {
    XXH3_64bits_update(&state_, bytes.data(), bytes.size());
  }
  uint64_t Digest() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

// The checksum of all of `header` but its last eight bytes, where it goes.
inline uint64_t SealOf(Bytes header, uint64_t seed) {
  return XXH3_64bits_withSeed(header.data(), header.size() - sizeof(uint64_t),
                              seed);
}

inline void Seal(std::span<std::byte> header, uint64_t seed) {
  Packer(header.last(sizeof(uint64_t))).Put(SealOf(header, seed));
}

inline bool IsSealed(Bytes header, uint64_t seed) {
  return Unpacker(header.last(sizeof(uint64_t))).Take<uint64_t>() ==
         SealOf(header, seed);
}

}  // namespace quire::journal
