// Reads a log, and tells an end that a crash tore from damage.
//
// A crash can tear what had not been synced: of the last records some sectors
// may be missing, which are zeros then. Such an end is cut: nobody was promised
// it. All else is damage and refused: what was synced is not there, or bytes
// are others than those written. What a cut cannot be told from, and the
// grammar, are in docs/FORMATS.md.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "journal/files.h"
#include "journal/format.h"
#include "journal/log_cursor.h"

namespace quire::journal {

struct LogRecord {
  uint64_t lsn = 0;
  // Of the start of the server that wrote it.
  uint64_t epoch = 0;
  uint8_t type = 0;
  // Aligned to 16, until the next one is read.
  Bytes payload;
  // Of LogReader::BytesFrom: what has been read, with this record.
  int64_t bytes_read = 0;
};

// A segment that has records.
struct KeptSegment {
  uint64_t number = 0;
  // Which start wrote it.
  uint64_t epoch = 0;
  uint64_t first_lsn = 0;
  int64_t bytes = 0;
};

// Where a log ends: what a writer needs to go on.
struct LogEnd {
  uint64_t next_lsn = 1;
  // Of the last record, and of the next segment. 0: there has been no start.
  uint64_t epoch = 0;
  uint64_t next_number = 1;
  // SegmentLink::previous_… of the next segment.
  int64_t end = 0;
  uint64_t checksum = 0;
  // All records up to there had been synced, by what the records say: what is
  // behind may have been read from the system's memory alone.
  uint64_t synced_lsn = 0;
  // Where the log was cut, if a record or more were torn: for people.
  std::optional<std::string> torn;
  // Segments behind the end, which hold nothing that counts: to be removed,
  // the last one first.
  std::vector<std::string> stale;
  // The others, in order.
  std::vector<KeptSegment> kept;
};

class LogReader {
 public:
  // Looks at the segments. CORRUPT if one is missing or damaged, FOREIGN_DATA
  // if it is of another data directory, FORMAT_TOO_NEW. `directory` outlives
  // the reader.
  static absl::StatusOr<LogReader> Open(Directory& directory,
                                        const Identity& identity);

  // The same of a log that is being written, as far as `until_lsn`: all records
  // up to there have been written, and `kept` are its segments, which stay
  // until the reader is gone. For ReadUntil alone.
  static absl::StatusOr<LogReader> OpenUntil(Directory& directory,
                                             const Identity& identity,
                                             std::span<const KeptSegment> kept,
                                             uint64_t until_lsn);

  // The same for a log that may be damaged: `damage` is OK, or why there is
  // nothing to be read from some segment on, of which the header or the link is
  // damaged or which is missing. The reader has those before it.
  static absl::StatusOr<LogReader> OpenToDamage(Directory& directory,
                                                const Identity& identity,
                                                absl::Status& damage);

  // Of the oldest record that is kept, if any is.
  uint64_t first_lsn() const;

  // Bytes that a Read from `from_lsn` on has to read, at most: where the last
  // segment ends is found by reading it.
  int64_t BytesFrom(uint64_t from_lsn) const;

  // What header and link of a segment say.
  struct SegmentSummary {
    uint64_t number = 0;
    int64_t bytes = 0;
    // None: it has no records.
    std::optional<SegmentLink> link;
  };
  // In order.
  std::vector<SegmentSummary> segments() const;

  // Gives `take` the records from `from_lsn` on, in order; its first error is
  // returned. CORRUPT: the message names the file, the place and the LSN from
  // which on records are at risk. Nothing on the disk changes.
  using Take = std::function<absl::Status(const LogRecord&)>;
  absl::StatusOr<LogEnd> Read(uint64_t from_lsn, const Take& take) const;

  // The same. After an error `end` is where the last record was that is whole:
  // the one before the damage, or the one that `take` returned an error for.
  absl::Status ReadTo(uint64_t from_lsn, const Take& take, LogEnd& end) const;

  // Gives `take` the records of [from_lsn, until_lsn] and looks at nothing
  // behind them: there may be half a record that is just being written. CORRUPT
  // also if the last of them is not there.
  absl::Status ReadUntil(uint64_t from_lsn, uint64_t until_lsn,
                         const Take& take) const;

 private:
  struct Segment {
    std::string name;
    std::shared_ptr<File> file;
    SegmentHeader header;
    // None: it has no records.
    std::optional<SegmentLink> link;
  };

  explicit LogReader(Directory& directory) : directory_(&directory) {}
  absl::Status AddSegment(uint64_t number, const Identity& identity);
  SegmentCursor Begin(const Segment& segment) const;

  // The first segment that a Read from `from_lsn` on reads.
  size_t FirstToRead(uint64_t from_lsn) const;
  // Bytes of segments_[index], up to where the next one says that it ends.
  int64_t BytesOf(size_t index) const;

  // What is wanted: [from, until].
  struct LsnRange {
    uint64_t from;
    uint64_t until;
  };
  // As ReadTo.
  absl::Status ReadRange(LsnRange wanted, const Take& take, LogEnd& end) const;
  // Reads segments_[index], before which `bytes_before` have been read; false
  // if the log, or what is wanted, ends in it.
  absl::StatusOr<bool> ReadSegment(size_t index, LsnRange wanted,
                                   int64_t bytes_before, const Take& take,
                                   LogEnd& end) const;
  // What `cursor` of segments_[index] is at is no record: the log's end, or
  // damage.
  absl::Status EndAt(size_t index, SegmentCursor& cursor, bool is_damage,
                     LogEnd& end) const;

  Directory* directory_;
  // In order of numbers.
  std::vector<Segment> segments_;
};

}  // namespace quire::journal
