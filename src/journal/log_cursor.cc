#include "journal/log_cursor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/faults.h"
#include "base/status.h"

namespace quire::journal {
namespace {

// What is read at once, unless a record is longer.
constexpr int64_t kWindowBytes = 4 << 20;

bool AllZero(Bytes bytes) {
  return std::ranges::all_of(bytes,
                             [](std::byte b) { return b == std::byte{}; });
}

absl::Status CheckVersion(std::string_view path, const SegmentHeader& header) {
  if (header.major == kFormatMajor && header.incompatible_features == 0) {
    return absl::OkStatus();
  }
  return Error(Reason::kFormatTooNew,
               fmt::format("{} has format {}.{}, features {:#x}; this version "
                           "reads {}.x without any. Nothing was changed. Use "
                           "the version that wrote it, or a newer one",
                           path, header.major, header.minor,
                           header.incompatible_features, kFormatMajor));
}

}  // namespace

absl::Status LogDamaged(std::string_view path, std::string_view what) {
  return Error(Reason::kCorrupt,
               fmt::format("{}: {}. Nothing was changed", path, what));
}

absl::StatusOr<SegmentHeader> ReadSegmentHeader(const File& file,
                                                std::string_view path,
                                                uint64_t number,
                                                const Identity& identity) {
  SegmentHeaderBytes bytes;
  QUIRE_ASSIGN_OR_RETURN(const size_t size, file.Read(0, bytes));
  const std::optional<SegmentHeader> header =
      size == bytes.size() ? DecodeSegmentHeader(bytes) : std::nullopt;
  if (!header) {
    return LogDamaged(path, "its header is damaged");
  }
  QUIRE_RETURN_IF_ERROR(CheckVersion(path, *header));
  if (header->identity != identity) {
    return Error(Reason::kForeignData,
                 fmt::format("{} is of another data directory. Nothing was "
                             "changed. Put back the file that was here",
                             path));
  }
  QUIRE_ASSIGN_OR_RETURN(const int64_t file_bytes, file.Size());
  if (header->number != number || header->segment_bytes != file_bytes) {
    return LogDamaged(
        path, fmt::format("it is segment {} of {} bytes, says its "
                          "header, and has {} bytes",
                          header->number, header->segment_bytes, file_bytes));
  }
  return *header;
}

SegmentCursor::SegmentCursor(const File& file, std::string path,
                             const SegmentHeader& header)
    : file_(file),
      path_(std::move(path)),
      header_(header),
      checksum_(header.seed) {}

absl::StatusOr<Bytes> SegmentCursor::Load(int64_t offset, int64_t size) {
  size = std::min(size, header_.segment_bytes - offset);
  const int64_t window_end = window_begin_ + std::ssize(window_);
  if (offset < window_begin_ || offset + size > window_end) {
    window_.resize(static_cast<size_t>(std::min(
        std::max(size, kWindowBytes), header_.segment_bytes - offset)));
    window_begin_ = offset;
    QUIRE_ASSIGN_OR_RETURN(const size_t read, file_.Read(offset, window_));
    window_.resize(read);
  }
  const auto begin = static_cast<size_t>(offset - window_begin_);
  return Bytes(window_).subspan(
      begin, std::min(static_cast<size_t>(size), window_.size() - begin));
}

// The record's header is whole; `body` is what follows it.
SegmentCursor::Found SegmentCursor::Judge(Bytes body) const {
  const auto payload_bytes = static_cast<size_t>(record_.payload_bytes);
  const RecordTail tail = TailOf(record_.payload_bytes, record_.lsn);
  if (body.size() != payload_bytes + tail.size) {
    return Found::kDamage;
  }
  const Bytes payload = body.first(payload_bytes);
  if (QUIRE_FAULT("torn_tail_accepted") ||
      (std::ranges::equal(body.subspan(payload_bytes), tail.view()) &&
       record_.checksum == Checksum({&payload, 1}, tail, checksum_))) {
    return Found::kRecord;
  }
  const bool trailer_missing = body.back() == std::byte{};
  const uint32_t zero_sectors =
      ZeroSectors({&body, 1}, offset_ + kRecordHeaderBytes);
  return trailer_missing || zero_sectors > record_.zero_sectors
             ? Found::kTorn
             : Found::kDamage;
}

absl::StatusOr<SegmentCursor::Found> SegmentCursor::Next() {
  QUIRE_ASSIGN_OR_RETURN(found_, Find());
  return found_;
}

absl::StatusOr<SegmentCursor::Found> SegmentCursor::Find() {
  QUIRE_ASSIGN_OR_RETURN(Bytes bytes, Load(offset_, kRecordHeaderBytes));
  if (bytes.size() < kRecordHeaderBytes || AllZero(bytes)) {
    return Found::kEnd;
  }
  const std::optional<RecordHeader> header = DecodeRecordHeader(
      bytes.first<kRecordHeaderBytes>(), header_.seed, offset_);
  if (!header) {
    // A write that failed may have put a part of the header, and no more.
    QUIRE_ASSIGN_OR_RETURN(const bool is_part,
                           IsZeroFrom(offset_ + kRecordHeaderBytes));
    return is_part ? Found::kTorn : Found::kDamage;
  }
  record_ = *header;
  const int64_t size = RecordBytes(record_.payload_bytes);
  QUIRE_ASSIGN_OR_RETURN(bytes, Load(offset_, size));
  const Bytes body = bytes.subspan(kRecordHeaderBytes);
  const Found found = Judge(body);
  if (found == Found::kRecord) {
    payload_ = body.first(static_cast<size_t>(record_.payload_bytes));
    offset_ += size;
    checksum_ = record_.checksum;
  }
  return found;
}

absl::StatusOr<bool> SegmentCursor::IsZeroFrom(int64_t offset) {
  while (true) {
    QUIRE_ASSIGN_OR_RETURN(offset, SkipZeros(offset));
    if (offset >= header_.segment_bytes) {
      return true;
    }
    QUIRE_ASSIGN_OR_RETURN(const Bytes bytes, Load(offset, kWindowBytes));
    if (bytes.empty() || !AllZero(bytes)) {
      return false;
    }
    offset += std::ssize(bytes);
  }
}

absl::StatusOr<int64_t> SegmentCursor::SkipZeros(int64_t offset) const {
  const int64_t window_end = window_begin_ + std::ssize(window_);
  if (offset >= window_begin_ && offset + kRecordHeaderBytes <= window_end) {
    return offset;
  }
  QUIRE_ASSIGN_OR_RETURN(const int64_t data, file_.FindData(offset));
  return std::max(offset, data / kRecordAlignment * kRecordAlignment);
}

absl::StatusOr<std::optional<RecordHeader>> SegmentCursor::FindHeader() {
  for (; offset_ < header_.segment_bytes; offset_ += kRecordAlignment) {
    QUIRE_ASSIGN_OR_RETURN(const Bytes bytes,
                           Load(offset_, kRecordHeaderBytes));
    if (bytes.size() < kRecordHeaderBytes) {
      break;
    }
    const std::optional<RecordHeader> header = DecodeRecordHeader(
        bytes.first<kRecordHeaderBytes>(), header_.seed, offset_);
    if (header) {
      return header;
    }
  }
  return std::nullopt;
}

void SegmentCursor::GoTo(int64_t offset, uint64_t checksum) {
  offset_ = offset;
  checksum_ = checksum;
}

absl::StatusOr<bool> SegmentCursor::IsMissed(uint64_t lsn) {
  for (int64_t offset = offset_;; offset += kRecordAlignment) {
    QUIRE_ASSIGN_OR_RETURN(offset, SkipZeros(offset));
    if (offset >= header_.segment_bytes) {
      return false;
    }
    QUIRE_ASSIGN_OR_RETURN(const Bytes bytes, Load(offset, kRecordHeaderBytes));
    if (bytes.size() < kRecordHeaderBytes) {
      return false;
    }
    const std::optional<RecordHeader> header = DecodeRecordHeader(
        bytes.first<kRecordHeaderBytes>(), header_.seed, offset);
    if (header && header->synced_lsn >= lsn) {
      return true;
    }
  }
  return false;
}

}  // namespace quire::journal
