#include "client/formats/zip_member.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;

// One request to the archive.
constexpr size_t kPackedBytes = size_t{16} << 10;

// What is passed over is read for the checksum if it is no longer: the header
// of an array.
constexpr size_t kPassedOverBytesMax = size_t{64} << 10;

uint32_t Crc(uint32_t crc, std::span<const char> bytes) {
  return static_cast<uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

absl::Status WrongChecksum(std::string_view name) {
  return InputError(
      fmt::format("'{}' is damaged: it does not fit its checksum", name));
}

// A stored member. Its checksum is held against what is read in order.
class StoredBytes : public Bytes {
 public:
  StoredBytes(std::shared_ptr<Bytes> packed, uint32_t crc)
      : Bytes(packed->name(), packed->size()),
        packed_(std::move(packed)),
        expected_crc_(crc) {}

  absl::Status ReadAt(size_t offset, std::span<char> out) override {
    if (checked_ < offset && offset - checked_ <= kPassedOverBytesMax) {
      QUIRE_ASSIGN_OR_RETURN(const std::string passed,
                             ReadRange(*packed_, checked_, offset - checked_));
      QUIRE_RETURN_IF_ERROR(Check(checked_, passed));
    }
    QUIRE_RETURN_IF_ERROR(packed_->ReadAt(offset, out));
    return Check(offset, out);
  }

 private:
  // Takes bytes from `offset` on into the checksum, if they are next.
  absl::Status Check(size_t offset, std::span<const char> bytes) {
    const size_t end = offset + bytes.size();
    if (offset > checked_ || checked_ >= end) {
      return absl::OkStatus();
    }
    crc_ = Crc(crc_, bytes.subspan(checked_ - offset));
    checked_ = end;
    return checked_ == size() && crc_ != expected_crc_ ? WrongChecksum(name())
                                                       : absl::OkStatus();
  }

  const std::shared_ptr<Bytes> packed_;
  const uint32_t expected_crc_;
  // Of the first bytes, `checked_` of them.
  uint32_t crc_ = 0;
  size_t checked_ = 0;
};

// A deflated member, from its first byte to its last.
class InflatingSource : public ByteSource {
 public:
  InflatingSource(std::shared_ptr<Bytes> packed, size_t size, uint32_t crc)
      : ByteSource(packed->name()),
        packed_(std::move(packed)),
        size_(size),
        expected_crc_(crc) {
    QUIRE_CHECK(inflateInit2(&stream_, -MAX_WBITS) == Z_OK,
                "zlib has memory for a stream");
  }
  ~InflatingSource() override { inflateEnd(&stream_); }

  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    const size_t wanted = std::min(buffer.size(), size_ - position_);
    size_t count = 0;
    while (count < wanted && !ended_) {
      QUIRE_ASSIGN_OR_RETURN(const size_t more,
                             Inflate(buffer.subspan(count, wanted - count)));
      count += more;
    }
    crc_ = Crc(crc_, buffer.first(count));
    position_ += count;
    if (count < wanted) {
      return Refuse(
          fmt::format("unpacks to {} bytes, not {}", position_, size_));
    }
    if (position_ == size_) {
      QUIRE_RETURN_IF_ERROR(CheckEnd());
    }
    return count;
  }

  absl::Status Rewind() override {
    inflateReset(&stream_);
    stream_.avail_in = 0;
    packed_position_ = position_ = 0;
    crc_ = 0;
    ended_ = false;
    return absl::OkStatus();
  }

  size_t size_max() const override { return size_; }

 private:
  absl::Status Refuse(std::string_view what) const {
    return InputError(fmt::format("'{}' is damaged: it {}", name(), what));
  }

  // Some bytes, or none, and then the stream may have ended.
  absl::StatusOr<size_t> Inflate(std::span<char> out) {
    if (stream_.avail_in == 0) {
      const size_t count =
          std::min(kPackedBytes, packed_->size() - packed_position_);
      if (count == 0) {
        return Refuse("ends within its packed data");
      }
      QUIRE_RETURN_IF_ERROR(
          packed_->ReadAt(packed_position_, std::span(input_, count)));
      packed_position_ += count;
      stream_.next_in = reinterpret_cast<Bytef*>(input_);
      stream_.avail_in = static_cast<uInt>(count);
    }
    const size_t room =
        std::min<size_t>(out.size(), std::numeric_limits<uInt>::max());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(room);
    const int code = inflate(&stream_, Z_NO_FLUSH);
    ended_ = code == Z_STREAM_END;
    if (!ended_ && code != Z_OK && code != Z_BUF_ERROR) {
      return Refuse(fmt::format(
          "cannot be unpacked: {}",
          stream_.msg == nullptr ? "no deflated data" : stream_.msg));
    }
    return room - stream_.avail_out;
  }

  // All bytes have come: no more may follow.
  absl::Status CheckEnd() {
    while (!ended_) {
      char more = 0;
      QUIRE_ASSIGN_OR_RETURN(const size_t count, Inflate(std::span(&more, 1)));
      if (count > 0) {
        return Refuse(fmt::format("unpacks to more than {} bytes", size_));
      }
    }
    if (stream_.avail_in > 0 || packed_position_ < packed_->size()) {
      return Refuse("has bytes behind its packed data");
    }
    return crc_ == expected_crc_ ? absl::OkStatus() : WrongChecksum(name());
  }

  const std::shared_ptr<Bytes> packed_;
  const size_t size_;
  const uint32_t expected_crc_;

  z_stream stream_ = {};
  bool ended_ = false;
  size_t packed_position_ = 0;
  size_t position_ = 0;
  uint32_t crc_ = 0;
  char input_[kPackedBytes];
};

}  // namespace

absl::StatusOr<std::shared_ptr<Bytes>> OpenMember(
    std::shared_ptr<Bytes> archive, const ZipMember& member) {
  std::string name = fmt::format("{}: {}", archive->name(), member.name);
  std::shared_ptr<Bytes> packed =
      PartOf(std::move(archive), member.data_offset, member.packed_size, name);
  if (member.method == kStored) {
    if (member.size != member.packed_size) {
      return InputError(
          fmt::format("'{}' is damaged: stored in {} bytes, it would be {}",
                      name, member.packed_size, member.size));
    }
    return std::make_shared<StoredBytes>(std::move(packed), member.crc);
  }
  if (member.method != kDeflated) {
    return InputError(fmt::format(
        "'{}' is packed by method {}; Quire reads stored and deflated members",
        name, member.method));
  }
  if (member.size / kDeflateRatioMax > member.packed_size) {
    return InputError(
        fmt::format("'{}' is damaged: {} bytes cannot be packed into {}", name,
                    member.size, member.packed_size));
  }
  return BytesOf(std::make_unique<InflatingSource>(std::move(packed),
                                                   member.size, member.crc),
                 member.size);
}

}  // namespace quire::formats
