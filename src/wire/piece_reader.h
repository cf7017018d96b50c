// Reads protobuf's encoding from a message that lies in pieces.
//
// An error sticks: from then on the message is at its end, every number is 0
// and every range empty. So a reader of messages says what it expects, and asks
// ok() once, when it is done. Nothing outside the message is ever touched,
// whatever its lengths say.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/byte_range.h"
#include "wire/wire_format.h"

namespace quire::wire {

class PieceReader {
 public:
  // `pieces` outlives the reader and the ranges that it hands out.
  explicit PieceReader(std::span<const Bytes> pieces);

  bool ok() const { return !failed_; }
  // Bytes to the end of the innermost message (see Nested).
  size_t left() const { return left_; }
  bool AtEnd() const { return left_ == 0; }
  void Fail();

  // A varint as protobuf reads it: up to ten bytes, bits beyond 64 are dropped.
  uint64_t Varint() {
    return left_ > 0 && Peek() < 0x80 ? Byte() : LongVarint();
  }
  uint64_t Fixed64();
  // A length as protobuf reads it: up to five bytes. No more than is left.
  size_t Length();
  // The next `size` bytes; an error if they are not there.
  ByteRange Take(size_t size);
  // Passes over the value of a field whose tag has been read. Of a group that
  // is nothing: its fields follow.
  void Skip(WireType type);

  // If the next field is `field` (below 16) of this type, with its tag in the
  // shortest form: takes the tag.
  bool TakeTag(int field, WireType type);

  // Reads a length, and with body() that many bytes as a message of its own:
  // an error if body leaves any.
  template <typename Body>
  void Nested(Body body);

 private:
  // Moves on to the piece that has the next byte; there is one.
  void FindNext();
  // The next byte; there is one.
  uint8_t Peek();
  uint8_t Byte();
  uint64_t LongVarint();

  const Bytes* piece_;
  size_t offset_ = 0;
  // To the end of the innermost message.
  size_t left_ = 0;
  bool failed_ = false;
};

template <typename Body>
void PieceReader::Nested(Body body) {
  const size_t size = Length();
  const size_t left_after = left_ - size;
  left_ = size;
  body();
  if (left_ != 0) {
    Fail();
  }
  left_ = failed_ ? 0 : left_after;
}

// Inline: what is read for every table of a request.

inline void PieceReader::FindNext() {
  while (offset_ == piece_->size()) {
    ++piece_;
    offset_ = 0;
  }
}

inline uint8_t PieceReader::Peek() {
  FindNext();
  return std::to_integer<uint8_t>((*piece_)[offset_]);
}

inline uint8_t PieceReader::Byte() {
  const uint8_t byte = Peek();
  ++offset_;
  --left_;
  return byte;
}

inline bool PieceReader::TakeTag(int field, WireType type) {
  if (left_ == 0 || Peek() != TagOf(field, type)) {
    return false;
  }
  ++offset_;
  --left_;
  return true;
}

}  // namespace quire::wire
