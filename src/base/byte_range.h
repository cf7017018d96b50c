// A run of bytes that may lie in several pieces.
//
// A message arrives as pieces that are aligned to nothing and cut anywhere. A
// ByteRange names a part of it without copying: the payload of a field.

#pragma once

#include <cstddef>
#include <span>

namespace quire {

// One piece of a message.
using Bytes = std::span<const std::byte>;

// A view: the pieces, and the array of them, outlive it. Copies are cheap.
class ByteRange {
 public:
  // Nothing.
  ByteRange() = default;
  // One contiguous piece. `piece` itself, not only its bytes, outlives this.
  explicit ByteRange(const Bytes& piece) : ByteRange(&piece, 0, piece.size()) {}
  // `size` bytes from `offset` of *first on, reaching into the pieces after
  // it as far as needed; they are known to hold that much.
  ByteRange(const Bytes* first, size_t offset, size_t size)
      : first_(first), offset_(offset), size_(size) {}

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Bytes [begin, begin + size) of this range; inside it.
  ByteRange Sub(size_t begin, size_t size) const;

  // All bytes, contiguous in one piece, or nullptr if they are cut. Not
  // aligned. An empty range has some non-null address.
  const std::byte* Contiguous() const;

  // Writes all bytes to out[0, size()).
  void CopyTo(std::byte* out) const;

  // Reads a range from its beginning in steps, for loops over rows: each step
  // costs O(1).
  class Reader;

 private:
  const Bytes* first_ = nullptr;
  size_t offset_ = 0;
  size_t size_ = 0;
};

class ByteRange::Reader {
 public:
  explicit Reader(const ByteRange& range)
      : piece_(range.first_), offset_(range.offset_), left_(range.size_) {}

  // The next `size` bytes where they lie, if they are contiguous; else copied
  // to scratch[0, size). The range has that many left.
  const std::byte* Next(size_t size, std::byte* scratch);

  // Bytes that the next call of Next can give without a copy.
  size_t contiguous_size();

 private:
  // Moves past pieces that are used up.
  void SkipToBytes();

  const Bytes* piece_;
  size_t offset_;
  size_t left_;
};

}  // namespace quire
