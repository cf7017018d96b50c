// Goes through the records of one segment of a log.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "journal/files.h"
#include "journal/format.h"

namespace quire::journal {

// CORRUPT: what is wrong with the file, and what to do.
absl::Status LogDamaged(std::string_view path, std::string_view what);

// The first 512 bytes of a segment, decoded and checked. CORRUPT, FOREIGN_DATA,
// FORMAT_TOO_NEW.
//   path  of the file, for messages
absl::StatusOr<SegmentHeader> ReadSegmentHeader(const File& file,
                                                std::string_view path,
                                                uint64_t number,
                                                const Identity& identity);

class SegmentCursor {
 public:
  // At the segment's link. `file` outlives it.
  SegmentCursor(const File& file, std::string path,
                const SegmentHeader& header);

  enum class Found {
    kRecord,
    // Zeros, or no room for another record.
    kEnd,
    // A record of which sectors were never written.
    kTorn,
    // Something else.
    kDamage,
  };

  // Looks at what is at offset(), and if it is a record goes on behind it.
  absl::StatusOr<Found> Next();

  // Of the record just found.
  const RecordHeader& record() const { return record_; }
  Bytes payload() const { return payload_; }

  // Behind the last record found; its checksum.
  int64_t offset() const { return offset_; }
  uint64_t checksum() const { return checksum_; }
  const std::string& path() const { return path_; }

  // Whether a record begins at offset() that is not whole.
  bool HasBegun() const { return found_ == Found::kTorn; }

  // Whether a header further on shows that the record `lsn`, which is not
  // found, had been synced.
  absl::StatusOr<bool> IsMissed(uint64_t lsn);

  // --- Behind damage ---

  // Goes on to the next place, from offset() on, that has the header of a
  // record; nullopt and the segment's end if there is none.
  absl::StatusOr<std::optional<RecordHeader>> FindHeader();

  //   checksum  of the record before that place, as far as it is known
  void GoTo(int64_t offset, uint64_t checksum);

 private:
  // Has bytes [offset, offset + size) of the file in memory: fewer only at its
  // end.
  absl::StatusOr<Bytes> Load(int64_t offset, int64_t size);
  Found Judge(Bytes body) const;
  absl::StatusOr<Found> Find();
  // Whether the file is zeros from there on.
  absl::StatusOr<bool> IsZeroFrom(int64_t offset);
  // `offset`, or a place behind it up to which the file is zeros, which have
  // not been read.
  absl::StatusOr<int64_t> SkipZeros(int64_t offset) const;

  const File& file_;
  const std::string path_;
  const SegmentHeader header_;

  int64_t offset_ = kSegmentHeaderBytes;
  uint64_t checksum_;
  Found found_ = Found::kEnd;
  RecordHeader record_;
  Bytes payload_;

  // Bytes of the file from window_begin_ on.
  std::vector<std::byte> window_;
  int64_t window_begin_ = 0;
};

}  // namespace quire::journal
