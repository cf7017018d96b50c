// The bytes of the log: segment files and the records in them. The grammar is
// in docs/FORMATS.md; all numbers are little-endian.
//
//   segment   0        512                                  segment_bytes
//             ┌────────┬────────┬──────────┬──────────┬──────────┐
//             │ header │ link   │ record   │ record   │ 0…       │
//             └────────┴────────┴──────────┴──────────┴──────────┘
//   record    ┌─────────────┬─────────────┬───────┬──────────────┐
//             │ header 64 B │ payload     │ zeros │ trailer 8 B  │
//             └─────────────┴─────────────┴───────┴──────────────┘
//             ▲ a multiple of 64                    a multiple of 64 ▲
//
// A segment is a file of zeros with a header, both synced before its first
// record. That, its link, says what comes before: a segment continues the one
// of the number before it.
//
// A record's header lies in one sector, which a disk writes whole: it is all
// there or all zeros. So is its trailer.
//
// Thread safety: pure functions and plain values.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/byte_range.h"
#include "journal/files.h"

namespace quire::journal {

inline constexpr int64_t kSegmentHeaderBytes = kSectorBytes;
inline constexpr int64_t kRecordAlignment = 64;
inline constexpr int64_t kRecordHeaderBytes = 64;
inline constexpr int64_t kRecordTrailerBytes = 8;
// What protobuf, and a push, never exceeds.
inline constexpr int64_t kPayloadBytesMax = int64_t{1} << 31;

// Of the file's format. A reader takes files of its own major version with no
// incompatible feature that it does not know.
inline constexpr uint16_t kFormatMajor = 1;
inline constexpr uint16_t kFormatMinor = 0;

// Random, and written into every file of a data directory.
using Identity = std::array<std::byte, 16>;

// Random, for the seed of a segment or a snapshot.
uint64_t FreshSeed();

struct SegmentHeader {
  uint16_t major = kFormatMajor;
  uint16_t minor = kFormatMinor;
  // Bits of features that a reader must know, of which there are none yet.
  uint32_t incompatible_features = 0;
  Identity identity = {};
  // 1, 2, 3, …
  uint64_t number = 0;
  // Size of the file.
  int64_t segment_bytes = 0;
  // Random: nothing that lay in the file before can be taken for a record.
  uint64_t seed = 0;

  friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};

using SegmentHeaderBytes = std::array<std::byte, kSegmentHeaderBytes>;
SegmentHeaderBytes Encode(const SegmentHeader& header);

// nullopt if the checksum does not fit. The version is for the caller to judge.
std::optional<SegmentHeader> DecodeSegmentHeader(
    std::span<const std::byte, kSegmentHeaderBytes> bytes);

// The file of a segment: 16 hexadecimal digits, and ".log".
std::string SegmentName(uint64_t number);
// The number of the segment of that name; nullopt for another file.
std::optional<uint64_t> SegmentNumber(std::string_view name);

// The payload of a segment's first record, which is of type kLinkType and has
// the LSN of the record before it.
struct SegmentLink {
  // Counts the starts of the server, from 1.
  uint64_t epoch = 0;
  // Of the first record after the link.
  uint64_t first_lsn = 0;
  // Where the segment before this one ends, and its last record's checksum; 0
  // and 0 for the first of all.
  int64_t previous_end = 0;
  uint64_t previous_checksum = 0;

  friend bool operator==(const SegmentLink&, const SegmentLink&) = default;
};

inline constexpr uint8_t kLinkType = 0;
using SegmentLinkBytes = std::array<std::byte, 32>;
SegmentLinkBytes Encode(const SegmentLink& link);
// nullopt for another size.
std::optional<SegmentLink> DecodeSegmentLink(Bytes payload);

struct RecordHeader {
  // What the payload is: kLinkType, or what the writer's caller says.
  uint8_t type = 0;
  int64_t payload_bytes = 0;
  // Sectors of the file that lie inside the record and are all zeros: a sector
  // that is so beyond these was never written.
  uint32_t zero_sectors = 0;
  uint64_t lsn = 0;
  // All records up to here were synced when this one was written.
  uint64_t synced_lsn = 0;
  // Of payload, zeros and trailer, seeded by that of the record before; the
  // first one's, by the segment's seed.
  uint64_t checksum = 0;

  friend bool operator==(const RecordHeader&, const RecordHeader&) = default;
};

using RecordHeaderBytes = std::array<std::byte, kRecordHeaderBytes>;
//   offset  of the record in its segment
RecordHeaderBytes Encode(const RecordHeader& header, uint64_t segment_seed,
                         int64_t offset);

// nullopt if the checksum does not fit: of another place, or of another file.
std::optional<RecordHeader> DecodeRecordHeader(
    std::span<const std::byte, kRecordHeaderBytes> bytes, uint64_t segment_seed,
    int64_t offset);

// All of a record of such a payload.
constexpr int64_t RecordBytes(int64_t payload_bytes) {
  const int64_t bytes =
      kRecordHeaderBytes + payload_bytes + kRecordTrailerBytes;
  return (bytes + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment;
}

// Zeros and trailer: what follows the payload.
struct RecordTail {
  std::array<std::byte, kRecordAlignment + kRecordTrailerBytes> bytes = {};
  size_t size = 0;

  Bytes view() const { return std::span(bytes).first(size); }
};
RecordTail TailOf(int64_t payload_bytes, uint64_t lsn);

// The checksum of a record's payload and tail.
//   previous  of the record before, or the segment's seed
uint64_t Checksum(std::span<const Bytes> payload, const RecordTail& tail,
                  uint64_t previous);

// How many whole sectors of the file are zeros among bytes that begin at
// `offset` of it and are `pieces`, end to end.
uint32_t ZeroSectors(std::span<const Bytes> pieces, int64_t offset);

}  // namespace quire::journal
