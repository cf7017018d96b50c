#include "journal/log_salvage.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>

#include "base/status.h"
#include "journal/log_cursor.h"

namespace quire::journal {
namespace {

// What is read at once.
constexpr size_t kBlockBytes = 1 << 20;

// A segment, and from where on it is looked at.
struct Place {
  uint64_t number = 0;
  int64_t offset = kSegmentHeaderBytes;
  // Of the record before; none: the segment's seed.
  std::optional<uint64_t> checksum;
};

// The segments that there are from `end` on.
absl::StatusOr<std::vector<Place>> PlacesBehind(const Directory& directory,
                                                const LogEnd& end) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         directory.List());
  std::vector<Place> places;
  for (const std::string& name : names) {
    const std::optional<uint64_t> number = SegmentNumber(name);
    if (!number) {
      continue;
    }
    if (*number >= end.next_number) {
      places.push_back({.number = *number});
    } else if (*number + 1 == end.next_number && end.end > 0) {
      places.push_back(
          {.number = *number, .offset = end.end, .checksum = end.checksum});
    }
  }
  return places;
}

absl::Status CountRecords(SegmentCursor& cursor, RecordsBehind& behind) {
  while (true) {
    QUIRE_ASSIGN_OR_RETURN(const std::optional<RecordHeader> header,
                           cursor.FindHeader());
    if (!header) {
      return absl::OkStatus();
    }
    const int64_t offset = cursor.offset();
    QUIRE_ASSIGN_OR_RETURN(const SegmentCursor::Found found, cursor.Next());
    const bool is_readable = found == SegmentCursor::Found::kRecord;
    if (!is_readable) {
      cursor.GoTo(offset + RecordBytes(header->payload_bytes),
                  header->checksum);
    }
    if (header->type == kLinkType) {
      continue;
    }
    behind.first_lsn = behind.header_count == 0
                           ? header->lsn
                           : std::min(behind.first_lsn, header->lsn);
    behind.last_lsn = std::max(behind.last_lsn, header->lsn);
    ++behind.header_count;
    behind.readable_count += is_readable ? 1 : 0;
  }
}

// Where the last byte from `offset` on ends that is not zero; `offset` if all
// are.
absl::StatusOr<int64_t> EndOfContent(const File& file, int64_t offset) {
  int64_t end = offset;
  std::vector<std::byte> block(kBlockBytes);
  while (true) {
    QUIRE_ASSIGN_OR_RETURN(const size_t size, file.Read(offset, block));
    if (size == 0) {
      return end;
    }
    for (size_t i = size; i > 0; --i) {
      if (block[i - 1] != std::byte{}) {
        end = offset + static_cast<int64_t>(i);
        break;
      }
    }
    offset += static_cast<int64_t>(size);
  }
}

}  // namespace

absl::StatusOr<RecordsBehind> FindRecordsBehind(Directory& directory,
                                                const Identity& identity,
                                                const LogEnd& whole) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<Place> places,
                         PlacesBehind(directory, whole));
  RecordsBehind behind;
  for (const Place& place : places) {
    const std::string name = SegmentName(place.number);
    QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                           directory.Open(name));
    behind.segments.push_back(name);
    const absl::StatusOr<SegmentHeader> header = ReadSegmentHeader(
        *file, PathOf(directory, name), place.number, identity);
    if (!header.ok()) {
      behind.unreadable.push_back(name);
      continue;
    }
    SegmentCursor cursor(*file, PathOf(directory, name), *header);
    cursor.GoTo(place.offset, place.checksum.value_or(header->seed));
    QUIRE_RETURN_IF_ERROR(CountRecords(cursor, behind));
  }
  return behind;
}

absl::StatusOr<int64_t> BytesBehind(Directory& directory, const LogEnd& end) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<Place> places,
                         PlacesBehind(directory, end));
  int64_t bytes = 0;
  for (const Place& place : places) {
    QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                           directory.Open(SegmentName(place.number)));
    QUIRE_ASSIGN_OR_RETURN(const int64_t content_end,
                           EndOfContent(*file, place.offset));
    bytes += content_end - place.offset;
  }
  return bytes;
}

}  // namespace quire::journal
