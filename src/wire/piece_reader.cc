#include "wire/piece_reader.h"

namespace quire::wire {

PieceReader::PieceReader(std::span<const Bytes> pieces)
    : piece_(pieces.data()) {
  for (const Bytes& piece : pieces) {
    left_ += piece.size();
  }
}

void PieceReader::Fail() {
  failed_ = true;
  left_ = 0;
}

uint64_t PieceReader::LongVarint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (left_ == 0) {
      break;
    }
    const uint8_t byte = Byte();
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) {
      return value;
    }
  }
  Fail();
  return 0;
}

uint64_t PieceReader::Fixed64() {
  uint64_t value = 0;
  Take(sizeof(value)).CopyTo(reinterpret_cast<std::byte*>(&value));
  return value;
}

size_t PieceReader::Length() {
  const size_t left_before = left_;
  const uint64_t size = Varint();
  if (left_before - left_ > 5 || size > left_) {
    Fail();
    return 0;
  }
  return size;
}

ByteRange PieceReader::Take(size_t size) {
  if (size > left_) {
    Fail();
    return ByteRange();
  }
  if (size == 0) {
    return ByteRange();
  }
  FindNext();
  const ByteRange range(piece_, offset_, size);
  left_ -= size;
  offset_ += size;
  while (offset_ > piece_->size()) {
    offset_ -= piece_->size();
    ++piece_;
  }
  return range;
}

void PieceReader::Skip(WireType type) {
  switch (type) {
    case WireType::kVarint:
      Varint();
      return;
    case WireType::kFixed64:
      Take(8);
      return;
    case WireType::kLength:
      Take(Length());
      return;
    case WireType::kFixed32:
      Take(4);
      return;
    case WireType::kStartGroup:
    case WireType::kEndGroup:
      return;
  }
  Fail();  // types 6 and 7 do not exist
}

}  // namespace quire::wire
