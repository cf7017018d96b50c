#include "journal/log_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/status.h"

namespace quire::journal {

absl::StatusOr<LogReader> LogReader::Open(Directory& directory,
                                          const Identity& identity) {
  absl::Status damage;
  QUIRE_ASSIGN_OR_RETURN(LogReader reader,
                         OpenToDamage(directory, identity, damage));
  QUIRE_RETURN_IF_ERROR(damage);
  return reader;
}

absl::StatusOr<LogReader> LogReader::OpenToDamage(Directory& directory,
                                                  const Identity& identity,
                                                  absl::Status& damage) {
  damage = absl::OkStatus();
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         directory.List());
  std::vector<uint64_t> numbers;
  for (const std::string& name : names) {
    if (const std::optional<uint64_t> number = SegmentNumber(name)) {
      numbers.push_back(*number);
    }
  }
  LogReader reader(directory);
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] != numbers[0] + i) {
      damage = LogDamaged(PathOf(directory, SegmentName(numbers[0] + i)),
                          "it is missing, and later ones are there");
      break;
    }
    const absl::Status added = reader.AddSegment(numbers[i], identity);
    if (ReasonOf(added) == Reason::kCorrupt) {
      damage = added;
      break;
    }
    QUIRE_RETURN_IF_ERROR(added);
  }
  return reader;
}

absl::StatusOr<LogReader> LogReader::OpenUntil(
    Directory& directory, const Identity& identity,
    std::span<const KeptSegment> kept, uint64_t until_lsn) {
  LogReader reader(directory);
  for (const KeptSegment& segment : kept) {
    // The link of a segment is written with its first record.
    if (segment.first_lsn <= until_lsn) {
      QUIRE_RETURN_IF_ERROR(reader.AddSegment(segment.number, identity));
    }
  }
  return reader;
}

SegmentCursor LogReader::Begin(const Segment& segment) const {
  return SegmentCursor(*segment.file, PathOf(*directory_, segment.name),
                       segment.header);
}

absl::Status LogReader::AddSegment(uint64_t number, const Identity& identity) {
  Segment segment;
  segment.name = SegmentName(number);
  const std::string path = PathOf(*directory_, segment.name);
  QUIRE_ASSIGN_OR_RETURN(segment.file, directory_->Open(segment.name));
  QUIRE_ASSIGN_OR_RETURN(
      segment.header, ReadSegmentHeader(*segment.file, path, number, identity));
  SegmentCursor cursor = Begin(segment);
  QUIRE_ASSIGN_OR_RETURN(const SegmentCursor::Found found, cursor.Next());
  if (found == SegmentCursor::Found::kRecord &&
      cursor.record().type == kLinkType) {
    segment.link = DecodeSegmentLink(cursor.payload());
  }
  // Of a segment that was never used, or of whose use nothing was synced, it
  // is missing; EndAt sees to the latter.
  if (found != SegmentCursor::Found::kEnd &&
      found != SegmentCursor::Found::kTorn && !segment.link) {
    return LogDamaged(path, "its link is damaged");
  }
  segments_.push_back(std::move(segment));
  return absl::OkStatus();
}

uint64_t LogReader::first_lsn() const {
  return segments_.empty() || !segments_.front().link
             ? 1
             : segments_.front().link->first_lsn;
}

size_t LogReader::FirstToRead(uint64_t from_lsn) const {
  size_t first = 0;
  while (first + 1 < segments_.size() && segments_[first + 1].link &&
         segments_[first + 1].link->first_lsn <= from_lsn) {
    ++first;
  }
  return first;
}

int64_t LogReader::BytesOf(size_t index) const {
  const bool has_next =
      index + 1 < segments_.size() && segments_[index + 1].link.has_value();
  return has_next ? segments_[index + 1].link->previous_end
                  : segments_[index].header.segment_bytes;
}

int64_t LogReader::BytesFrom(uint64_t from_lsn) const {
  int64_t bytes = 0;
  for (size_t i = FirstToRead(from_lsn);
       i < segments_.size() && segments_[i].link; ++i) {
    bytes += BytesOf(i);
  }
  return bytes;
}

std::vector<LogReader::SegmentSummary> LogReader::segments() const {
  std::vector<SegmentSummary> summaries;
  for (const Segment& segment : segments_) {
    summaries.push_back({.number = segment.header.number,
                         .bytes = segment.header.segment_bytes,
                         .link = segment.link});
  }
  return summaries;
}

absl::StatusOr<LogEnd> LogReader::Read(uint64_t from_lsn,
                                       const Take& take) const {
  LogEnd end;
  QUIRE_RETURN_IF_ERROR(ReadTo(from_lsn, take, end));
  return end;
}

absl::Status LogReader::ReadTo(uint64_t from_lsn, const Take& take,
                               LogEnd& end) const {
  return ReadRange({from_lsn, std::numeric_limits<uint64_t>::max()}, take, end);
}

absl::Status LogReader::ReadUntil(uint64_t from_lsn, uint64_t until_lsn,
                                  const Take& take) const {
  if (from_lsn > until_lsn) {
    return absl::OkStatus();
  }
  LogEnd end;
  QUIRE_RETURN_IF_ERROR(ReadRange({from_lsn, until_lsn}, take, end));
  if (end.next_lsn <= until_lsn) {
    return LogDamaged(directory_->path(),
                      fmt::format("its log ends before LSN {}, and had been "
                                  "written up to {}",
                                  end.next_lsn, until_lsn));
  }
  return absl::OkStatus();
}

absl::Status LogReader::ReadRange(LsnRange wanted, const Take& take,
                                  LogEnd& end) const {
  end = LogEnd();
  end.next_lsn = first_lsn();
  for (const Segment& segment : segments_) {
    if (segment.link) {
      end.kept.push_back({.number = segment.header.number,
                          .epoch = segment.link->epoch,
                          .first_lsn = segment.link->first_lsn,
                          .bytes = segment.header.segment_bytes});
    }
  }
  if (wanted.from < first_lsn()) {
    return LogDamaged(
        directory_->path(),
        fmt::format("its log begins with LSN {}, and those from {} on are "
                    "needed",
                    first_lsn(), wanted.from));
  }
  int64_t bytes_before = 0;
  for (size_t i = FirstToRead(wanted.from); i < segments_.size(); ++i) {
    QUIRE_ASSIGN_OR_RETURN(const bool goes_on,
                           ReadSegment(i, wanted, bytes_before, take, end));
    if (!goes_on) {
      break;
    }
    bytes_before += BytesOf(i);
  }
  if (end.next_lsn < wanted.from) {
    return LogDamaged(
        directory_->path(),
        fmt::format("its log ends before LSN {}, and goes on from "
                    "{} elsewhere",
                    end.next_lsn, wanted.from));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> LogReader::ReadSegment(size_t index, LsnRange wanted,
                                            int64_t bytes_before,
                                            const Take& take,
                                            LogEnd& end) const {
  const Segment& segment = segments_[index];
  const SegmentLink* const next =
      index + 1 < segments_.size() && segments_[index + 1].link
          ? &*segments_[index + 1].link
          : nullptr;
  SegmentCursor cursor = Begin(segment);
  end.next_lsn = segment.link ? segment.link->first_lsn : end.next_lsn;
  bool is_first = true;
  while (next == nullptr || cursor.offset() < next->previous_end) {
    if (end.next_lsn > wanted.until) {
      return false;
    }
    QUIRE_ASSIGN_OR_RETURN(const SegmentCursor::Found found, cursor.Next());
    if (found != SegmentCursor::Found::kRecord) {
      QUIRE_RETURN_IF_ERROR(
          EndAt(index, cursor, found == SegmentCursor::Found::kDamage, end));
      return false;
    }
    const bool is_link = std::exchange(is_first, false);
    const RecordHeader& record = cursor.record();
    if (!is_link && (record.lsn != end.next_lsn || record.type == kLinkType)) {
      return LogDamaged(
          cursor.path(),
          fmt::format("the record before {} is of LSN {}, where {} "
                      "was to come",
                      cursor.offset(), record.lsn, end.next_lsn));
    }
    end.epoch = segment.link->epoch;
    end.next_number = segment.header.number + 1;
    end.end = cursor.offset();
    end.checksum = cursor.checksum();
    end.synced_lsn = std::max(end.synced_lsn, record.synced_lsn);
    if (is_link) {
      continue;
    }
    ++end.next_lsn;
    if (record.lsn >= wanted.from) {
      QUIRE_RETURN_IF_ERROR(
          take({.lsn = record.lsn,
                .epoch = end.epoch,
                .type = record.type,
                .payload = cursor.payload(),
                .bytes_read = bytes_before + cursor.offset()}));
    }
  }
  if (cursor.offset() != next->previous_end ||
      cursor.checksum() != next->previous_checksum ||
      end.next_lsn != next->first_lsn) {
    return LogDamaged(PathOf(*directory_, segments_[index + 1].name),
                      "it does not continue the segment before it");
  }
  return true;
}

absl::Status LogReader::EndAt(size_t index, SegmentCursor& cursor,
                              bool is_damage, LogEnd& end) const {
  QUIRE_ASSIGN_OR_RETURN(bool is_missed, cursor.IsMissed(end.next_lsn));
  bool cuts = cursor.HasBegun();
  for (size_t later = index + 1; later < segments_.size(); ++later) {
    SegmentCursor behind = Begin(segments_[later]);
    QUIRE_ASSIGN_OR_RETURN(const bool missed, behind.IsMissed(end.next_lsn));
    is_missed = is_missed || missed;
    cuts = cuts || segments_[later].link.has_value();
  }
  const std::string place =
      fmt::format("{} at {}", cursor.path(), cursor.offset());
  if (is_missed || is_damage) {
    return LogDamaged(
        place, fmt::format("records from LSN {} on are damaged", end.next_lsn));
  }
  if (cuts) {
    end.torn = place;
  }
  for (size_t s = segments_.size(); s-- > 0;) {
    if (segments_[s].header.number >= end.next_number) {
      end.stale.push_back(segments_[s].name);
    }
  }
  std::erase_if(end.kept, [&](const KeptSegment& kept) {
    return kept.number >= end.next_number;
  });
  return absl::OkStatus();
}

}  // namespace quire::journal
