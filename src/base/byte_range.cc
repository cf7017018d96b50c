#include "base/byte_range.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quire {

ByteRange ByteRange::Sub(size_t begin, size_t size) const {
  QUIRE_DCHECK(begin <= size_ && size <= size_ - begin, "inside the range");
  if (size == 0) {
    return ByteRange();
  }
  const Bytes* piece = first_;
  size_t offset = offset_ + begin;
  while (offset >= piece->size()) {
    offset -= piece->size();
    ++piece;
  }
  return ByteRange(piece, offset, size);
}

const std::byte* ByteRange::Contiguous() const {
  static constexpr std::byte kNothing{};
  if (size_ == 0) {
    return &kNothing;
  }
  ByteRange rest = Sub(0, size_);
  return rest.size_ <= rest.first_->size() - rest.offset_
             ? rest.first_->data() + rest.offset_
             : nullptr;
}

void ByteRange::CopyTo(std::byte* out) const {
  const Bytes* piece = first_;
  size_t offset = offset_;
  for (size_t left = size_; left > 0; ++piece, offset = 0) {
    if (offset >= piece->size()) {
      QUIRE_DCHECK(offset == piece->size(), "an offset is inside its piece");
      continue;
    }
    const size_t part = std::min(left, piece->size() - offset);
    std::memcpy(out, piece->data() + offset, part);
    out += part;
    left -= part;
  }
}

void ByteRange::Reader::SkipToBytes() {
  while (left_ > 0 && offset_ == piece_->size()) {
    ++piece_;
    offset_ = 0;
  }
}

size_t ByteRange::Reader::contiguous_size() {
  SkipToBytes();
  return left_ == 0 ? 0 : std::min(left_, piece_->size() - offset_);
}

const std::byte* ByteRange::Reader::Next(size_t size, std::byte* scratch) {
  QUIRE_DCHECK(size <= left_, "the range has that many left");
  if (const size_t whole = contiguous_size(); size <= whole && size > 0) {
    const std::byte* bytes = piece_->data() + offset_;
    offset_ += size;
    left_ -= size;
    return bytes;
  }
  for (size_t done = 0; done < size;) {
    const size_t part = std::min(size - done, contiguous_size());
    std::memcpy(scratch + done, piece_->data() + offset_, part);
    done += part;
    offset_ += part;
    left_ -= part;
  }
  return scratch;
}

}  // namespace quire
