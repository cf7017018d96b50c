#include "journal/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <random>

#include "journal/packing.h"

namespace quire::journal {
namespace {

constexpr std::string_view kSegmentMagic = "QUIRELOG";
constexpr uint32_t kRecordMagic = 0x43455251;  // "QREC"
constexpr uint8_t kRecordVersion = 1;
constexpr std::byte kTrailerEnd{0xA5};

uint64_t SeedAt(uint64_t segment_seed, int64_t offset) {
  return segment_seed + static_cast<uint64_t>(offset);
}

bool AllZero(Bytes bytes) {
  return std::ranges::all_of(bytes,
                             [](std::byte b) { return b == std::byte{}; });
}

}  // namespace

uint64_t FreshSeed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

SegmentHeaderBytes Encode(const SegmentHeader& header) {
  SegmentHeaderBytes bytes = {};
  Packer to(bytes);
  to.Put(std::as_bytes(std::span(kSegmentMagic)));
  to.Put(header.major);
  to.Put(header.minor);
  to.Put(header.incompatible_features);
  to.Put(Bytes(header.identity));
  to.Put(header.number);
  to.Put(header.segment_bytes);
  to.Put(header.seed);
  Seal(bytes, 0);
  return bytes;
}

std::optional<SegmentHeader> DecodeSegmentHeader(
    std::span<const std::byte, kSegmentHeaderBytes> bytes) {
  if (!IsSealed(bytes, 0) ||
      !std::ranges::equal(bytes.first(kSegmentMagic.size()),
                          std::as_bytes(std::span(kSegmentMagic)))) {
    return std::nullopt;
  }
  Unpacker from(bytes.subspan(kSegmentMagic.size()));
  SegmentHeader header;
  header.major = from.Take<uint16_t>();
  header.minor = from.Take<uint16_t>();
  header.incompatible_features = from.Take<uint32_t>();
  header.identity = from.Take<Identity>();
  header.number = from.Take<uint64_t>();
  header.segment_bytes = from.Take<int64_t>();
  header.seed = from.Take<uint64_t>();
  return header;
}

std::string SegmentName(uint64_t number) {
  return fmt::format("{:016x}.log", number);
}

std::optional<uint64_t> SegmentNumber(std::string_view name) {
  uint64_t number = 0;
  std::from_chars(name.data(), name.data() + name.size(), number, 16);
  return name == SegmentName(number) ? std::optional(number) : std::nullopt;
}

SegmentLinkBytes Encode(const SegmentLink& link) {
  SegmentLinkBytes bytes = {};
  Packer to(bytes);
  to.Put(link.epoch);
  to.Put(link.first_lsn);
  to.Put(link.previous_end);
  to.Put(link.previous_checksum);
  return bytes;
}

std::optional<SegmentLink> DecodeSegmentLink(Bytes payload) {
  if (payload.size() != sizeof(SegmentLinkBytes)) {
    return std::nullopt;
  }
  Unpacker from(payload);
  SegmentLink link;
  link.epoch = from.Take<uint64_t>();
  link.first_lsn = from.Take<uint64_t>();
  link.previous_end = from.Take<int64_t>();
  link.previous_checksum = from.Take<uint64_t>();
  return link;
}

RecordHeaderBytes Encode(const RecordHeader& header, uint64_t segment_seed,
                         int64_t offset) {
  RecordHeaderBytes bytes = {};
  Packer to(bytes);
  to.Put(kRecordMagic);
  to.Put(kRecordVersion);
  to.Put(header.type);
  to.Put(uint16_t{0});
  to.Put(static_cast<uint32_t>(header.payload_bytes));
  to.Put(header.zero_sectors);
  to.Put(header.lsn);
  to.Put(header.synced_lsn);
  to.Put(header.checksum);
  Seal(bytes, SeedAt(segment_seed, offset));
  return bytes;
}

std::optional<RecordHeader> DecodeRecordHeader(
    std::span<const std::byte, kRecordHeaderBytes> bytes, uint64_t segment_seed,
    int64_t offset) {
  Unpacker from(bytes);
  // First what is quick: whole segments are searched for headers.
  if (from.Take<uint32_t>() != kRecordMagic ||
      from.Take<uint8_t>() != kRecordVersion ||
      !IsSealed(bytes, SeedAt(segment_seed, offset))) {
    return std::nullopt;
  }
  RecordHeader header;
  header.type = from.Take<uint8_t>();
  from.Take<uint16_t>();
  header.payload_bytes = from.Take<uint32_t>();
  header.zero_sectors = from.Take<uint32_t>();
  header.lsn = from.Take<uint64_t>();
  header.synced_lsn = from.Take<uint64_t>();
  header.checksum = from.Take<uint64_t>();
  return header;
}

RecordTail TailOf(int64_t payload_bytes, uint64_t lsn) {
  RecordTail tail;
  tail.size = static_cast<size_t>(RecordBytes(payload_bytes) -
                                  kRecordHeaderBytes - payload_bytes);
  std::byte* const trailer =
      tail.bytes.data() + tail.size - kRecordTrailerBytes;
  std::memcpy(trailer, &lsn, kRecordTrailerBytes);
  // Its last byte is never zero, nor is the record's last sector.
  trailer[kRecordTrailerBytes - 1] = kTrailerEnd;
  return tail;
}

uint64_t Checksum(std::span<const Bytes> payload, const RecordTail& tail,
                  uint64_t previous) {
  Hasher hasher(previous);
  for (const Bytes& piece : payload) {
    hasher.Add(piece);
  }
  hasher.Add(tail.view());
  return hasher.Digest();
}

uint32_t ZeroSectors(std::span<const Bytes> pieces, int64_t offset) {
  uint32_t count = 0;
  // Of the sector that is being looked at: how much of it has been seen, and
  // whether all of that was zero. The first one may have begun before.
  int64_t seen = offset % kSectorBytes;
  bool zero = seen == 0;
  for (Bytes piece : pieces) {
    while (!piece.empty()) {
      const auto size =
          std::min(piece.size(), static_cast<size_t>(kSectorBytes - seen));
      zero = zero && AllZero(piece.first(size));
      piece = piece.subspan(size);
      seen += static_cast<int64_t>(size);
      if (seen == kSectorBytes) {
        count += zero ? 1 : 0;
        seen = 0;
        zero = true;
      }
    }
  }
  return count;
}

}  // namespace quire::journal
