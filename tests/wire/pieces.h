// A message cut into pieces, each with memory of its own: a sanitizer sees any
// step over an end.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_range.h"
#include "tests/wire/random.h"

namespace quire::wire::testing {

class Pieces {
 public:
  // Pieces of `next_size()` bytes each, 0 or more, as far as they last; a
  // next_size that gives 0 for ever does not end.
  template <typename NextSize>
  Pieces(std::string_view message, NextSize next_size) {
    while (!message.empty()) {
      const size_t size = std::min<size_t>(next_size(), message.size());
      Append(message.substr(0, size));
      message.remove_prefix(size);
    }
  }

  // One piece.
  explicit Pieces(std::string_view message) { Append(message); }

  // As the network might cut it: whole, by the byte, or anywhere, with empty
  // pieces between.
  static Pieces Cut(std::string_view message, Random& random) {
    if (random.OneIn(4)) {
      return Pieces(message);
    }
    const int64_t size_max = random.OneOf(std::to_array<int64_t>({1, 9, 4096}));
    return Pieces(message, [&] {
      return size_max == 1 ? 1 : random.Between(0, size_max);
    });
  }

  operator std::span<const Bytes>() const { return pieces_; }

 private:
  void Append(std::string_view bytes) {
    auto copy = std::make_unique<std::byte[]>(bytes.size());
    std::ranges::copy(std::as_bytes(std::span(bytes)), copy.get());
    pieces_.emplace_back(copy.get(), bytes.size());
    memory_.push_back(std::move(copy));
  }

  std::vector<std::unique_ptr<std::byte[]>> memory_;
  std::vector<Bytes> pieces_;
};

inline std::string ToString(const ByteRange& range) {
  std::string bytes(range.size(), '\0');
  range.CopyTo(reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

}  // namespace quire::wire::testing
