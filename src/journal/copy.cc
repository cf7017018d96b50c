#include "journal/copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "journal/log_reader.h"
#include "journal/snapshot_format.h"
#include "journal/snapshot_reader.h"

namespace quire::journal {
namespace {

constexpr int64_t kCopyBytes = 1 << 20;

bool IsZero(Bytes bytes) {
  return std::ranges::all_of(bytes,
                             [](std::byte b) { return b == std::byte{}; });
}

absl::Status WriteAt(File& file, int64_t offset, Bytes bytes) {
  return file.Write(offset, {&bytes, 1});
}

// The bytes of `from` from `offset` on, at the same place of `to`, which has
// zeros there.
absl::Status CopyBytes(const CopyRoute& route, const File& from, File& to,
                       int64_t offset) {
  std::vector<std::byte> block(static_cast<size_t>(kCopyBytes));
  while (true) {
    QUIRE_ASSIGN_OR_RETURN(const size_t size, from.Read(offset, block));
    if (size == 0) {
      return absl::OkStatus();
    }
    const Bytes bytes = Bytes(block).first(size);
    if (!IsZero(bytes)) {
      QUIRE_RETURN_IF_ERROR(WriteAt(to, offset, bytes));
    }
    QUIRE_RETURN_IF_ERROR(route.goes_on(std::ssize(bytes)));
    offset += std::ssize(bytes);
  }
}

absl::StatusOr<int64_t> CopyFile(const CopyRoute& route, Directory& from,
                                 Directory& to, std::string_view name) {
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> source, from.Open(name));
  QUIRE_ASSIGN_OR_RETURN(const int64_t bytes, source->Size());
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> copy, to.Create(name));
  QUIRE_RETURN_IF_ERROR(copy->Resize(bytes));
  QUIRE_RETURN_IF_ERROR(CopyBytes(route, *source, *copy, 0));
  QUIRE_RETURN_IF_ERROR(copy->Sync());
  return bytes;
}

// The manifest under the other identity.
absl::StatusOr<int64_t> CopyManifest(const CopyRoute& route, Directory& from,
                                     Directory& to) {
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> source,
                         from.Open(kManifestName));
  QUIRE_ASSIGN_OR_RETURN(const int64_t size, source->Size());
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  QUIRE_ASSIGN_OR_RETURN(const size_t read, source->Read(0, bytes));
  std::optional<Manifest> manifest =
      read == bytes.size() ? DecodeManifest(bytes) : std::nullopt;
  if (!manifest) {
    return Error(Reason::kCorrupt,
                 fmt::format("{} is damaged", PathOf(from, kManifestName)));
  }
  manifest->identity = route.to_identity;
  const std::vector<std::byte> encoded = Encode(*manifest);
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> copy,
                         to.Create(kManifestName));
  QUIRE_RETURN_IF_ERROR(WriteAt(*copy, 0, encoded));
  QUIRE_RETURN_IF_ERROR(copy->Sync());
  return size;
}

}  // namespace

absl::StatusOr<Copied> CopySnapshot(const CopyRoute& snapshots, uint64_t lsn) {
  QUIRE_ASSIGN_OR_RETURN(
      const SnapshotReader reader,
      SnapshotReader::Open(snapshots.from, snapshots.from_identity, lsn));
  QUIRE_ASSIGN_OR_RETURN(const auto from,
                         snapshots.from.OpenDirectory(SnapshotName(lsn)));
  QUIRE_ASSIGN_OR_RETURN(const auto to,
                         snapshots.to.MakeDirectory(SnapshotName(lsn)));
  Copied copied;
  for (size_t i = 0; i < reader.file_count(); ++i) {
    QUIRE_ASSIGN_OR_RETURN(const int64_t bytes,
                           CopyFile(snapshots, *from, *to, DataFileName(i)));
    copied.bytes += bytes;
    ++copied.files;
  }
  QUIRE_ASSIGN_OR_RETURN(const int64_t bytes,
                         CopyManifest(snapshots, *from, *to));
  copied.bytes += bytes;
  ++copied.files;
  QUIRE_RETURN_IF_ERROR(to->Sync());
  QUIRE_RETURN_IF_ERROR(snapshots.to.Sync());
  return copied;
}

absl::StatusOr<Copied> CopySegment(const CopyRoute& log, uint64_t number) {
  const std::string name = SegmentName(number);
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> from, log.from.Open(name));
  QUIRE_ASSIGN_OR_RETURN(SegmentHeader header,
                         ReadSegmentHeader(*from, PathOf(log.from, name),
                                           number, log.from_identity));
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> to, log.to.Create(name));
  QUIRE_RETURN_IF_ERROR(to->Resize(header.segment_bytes));
  QUIRE_RETURN_IF_ERROR(CopyBytes(log, *from, *to, kSegmentHeaderBytes));
  header.identity = log.to_identity;
  const SegmentHeaderBytes bytes = Encode(header);
  QUIRE_RETURN_IF_ERROR(WriteAt(*to, 0, bytes));
  QUIRE_RETURN_IF_ERROR(to->Sync());
  QUIRE_RETURN_IF_ERROR(log.to.Sync());
  return Copied{.files = 1, .bytes = header.segment_bytes};
}

absl::Status EndLogAt(Directory& log, const Identity& identity, uint64_t lsn) {
  QUIRE_ASSIGN_OR_RETURN(const LogReader reader,
                         LogReader::Open(log, identity));
  LogEnd end;
  if (lsn < reader.first_lsn()) {
    // It has no record; what it has is the link of its one segment.
    end.next_lsn = lsn + 1;
    end.next_number = reader.segments().back().number + 1;
    end.end = kSegmentHeaderBytes + RecordBytes(sizeof(SegmentLinkBytes));
  } else {
    const absl::Status read = reader.ReadTo(
        reader.first_lsn(),
        [lsn](const LogRecord& record) {
          return record.lsn == lsn ? absl::CancelledError() : absl::OkStatus();
        },
        end);
    if (!absl::IsCancelled(read)) {
      QUIRE_RETURN_IF_ERROR(read);
    }
  }
  if (end.next_lsn != lsn + 1 ||
      end.next_number != reader.segments().back().number + 1) {
    return LogDamaged(
        log.path(),
        fmt::format("its last segment does not end with LSN {}", lsn));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                         log.Open(SegmentName(end.next_number - 1)));
  std::vector<std::byte> block(static_cast<size_t>(kCopyBytes));
  const std::vector<std::byte> zeros(block.size());
  for (int64_t offset = end.end;;) {
    QUIRE_ASSIGN_OR_RETURN(const size_t size, file->Read(offset, block));
    if (size == 0) {
      return file->Sync();
    }
    if (!IsZero(Bytes(block).first(size))) {
      QUIRE_RETURN_IF_ERROR(WriteAt(*file, offset, Bytes(zeros).first(size)));
    }
    offset += static_cast<int64_t>(size);
  }
}

}  // namespace quire::journal
