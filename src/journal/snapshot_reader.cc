#include "journal/snapshot_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace quire::journal {
namespace {

absl::Status Damaged(std::string_view path, std::string_view what) {
  return Error(Reason::kCorrupt,
               fmt::format("{}: {}{}", path, what, kDamagedSnapshotRemedy));
}

absl::Status CheckVersion(std::string_view path, const FormatVersion& version) {
  if (version.major == kSnapshotMajor && version.incompatible_features == 0) {
    return absl::OkStatus();
  }
  return Error(Reason::kFormatTooNew,
               fmt::format("{} has format {}.{}, features {:#x}; this version "
                           "reads {}.x without any. Nothing was changed. Use "
                           "the version that wrote it, or a newer one",
                           path, version.major, version.minor,
                           version.incompatible_features, kSnapshotMajor));
}

using Source = SnapshotReader::Source;

absl::StatusOr<std::vector<std::byte>> ReadWhole(File& file,
                                                 std::string_view path,
                                                 Source source) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size > kManifestBytesMax) {
    return Damaged(path, fmt::format("it has {} bytes, and may have {}", size,
                                     kManifestBytesMax));
  }
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  if (source == Source::kDisk) {
    file.Forget(size);
  }
  QUIRE_ASSIGN_OR_RETURN(const size_t read, file.Read(0, bytes));
  bytes.resize(read);
  if (source == Source::kDisk) {
    file.Forget(size);
  }
  return bytes;
}

// What the manifest of `lsn` says.
absl::StatusOr<Manifest> CheckedManifest(Bytes bytes, std::string_view path,
                                         const Identity& identity,
                                         uint64_t lsn) {
  const std::optional<FormatVersion> version = DecodeManifestVersion(bytes);
  if (!version) {
    return Damaged(path, "it is damaged");
  }
  QUIRE_RETURN_IF_ERROR(CheckVersion(path, *version));
  std::optional<Manifest> manifest = DecodeManifest(bytes);
  if (!manifest) {
    return Damaged(path, "its sizes do not add up");
  }
  if (manifest->identity != identity) {
    return Error(Reason::kForeignData,
                 fmt::format("{} is of another data directory. Nothing was "
                             "changed. Put back the snapshot that was here",
                             path));
  }
  if (manifest->lsn != lsn) {
    return Damaged(path, fmt::format("it is of the snapshot {}",
                                     SnapshotName(manifest->lsn)));
  }
  return *std::move(manifest);
}

// Memory whose begin is aligned, and which grows as asked.
class Buffer {
 public:
  // Of `size` bytes; what was in it is gone.
  std::span<std::byte> Get(size_t size) {
    if (size > size_) {
      data_.reset();
      data_.reset(static_cast<std::byte*>(
          ::operator new[](size, std::align_val_t{kChunkAlignment})));
      size_ = size;
    }
    return {data_.get(), size};
  }

 private:
  struct Delete {
    void operator()(std::byte* data) const {
      ::operator delete[](data, std::align_val_t{kChunkAlignment});
    }
  };
  std::unique_ptr<std::byte[], Delete> data_;
  size_t size_ = 0;
};

// Goes through the chunks of one file.
class ChunkCursor {
 public:
  ChunkCursor(const File& file, std::string path, uint64_t seed,
              const DataFile& expected)
      : file_(file),
        path_(std::move(path)),
        seed_(seed),
        expected_(expected),
        checksum_(seed) {}

  absl::Status Begin();
  bool at_end() const { return offset_ == expected_.bytes; }
  // Behind the chunk just read.
  int64_t offset() const { return offset_; }
  // Reads a chunk; not at the end.
  absl::Status Next();

  // Of the chunk just read.
  const ChunkHeader& header() const { return chunk_.header; }
  Bytes payload() const { return payload_; }

 private:
  absl::Status Read(int64_t offset, std::span<std::byte> out) const;
  absl::Status DamagedHere(std::string_view what) const {
    return Damaged(fmt::format("{} at {}", path_, offset_), what);
  }

  const File& file_;
  const std::string path_;
  const uint64_t seed_;
  const DataFile expected_;

  // Of the next chunk, and its header.
  int64_t offset_ = 0;
  ChunkHeaderBytes header_ = {};
  // Of the chunk before it.
  uint64_t checksum_;
  StoredChunk chunk_;
  Bytes payload_;
  Buffer buffer_;
};

absl::Status ChunkCursor::Read(int64_t offset, std::span<std::byte> out) const {
  QUIRE_ASSIGN_OR_RETURN(const size_t size, file_.Read(offset, out));
  return size == out.size() ? absl::OkStatus() : DamagedHere("its end is gone");
}

absl::Status ChunkCursor::Begin() { return Read(0, header_); }

absl::Status ChunkCursor::Next() {
  const std::optional<StoredChunk> chunk =
      DecodeChunkHeader(header_, seed_, offset_);
  const int64_t left = expected_.bytes - offset_ - kChunkHeaderBytes;
  if (!chunk || chunk->payload_bytes < 0 || chunk->payload_bytes > left ||
      ChunkBodyBytes(chunk->payload_bytes) > left) {
    return DamagedHere("the chunk's header is damaged");
  }
  // The body, and the next header with it.
  const int64_t body_bytes = ChunkBodyBytes(chunk->payload_bytes);
  const bool is_last = body_bytes == left;
  const std::span<std::byte> bytes = buffer_.Get(
      static_cast<size_t>(body_bytes + (is_last ? 0 : kChunkHeaderBytes)));
  QUIRE_RETURN_IF_ERROR(Read(offset_ + kChunkHeaderBytes, bytes));
  const Bytes body = bytes.first(static_cast<size_t>(body_bytes));
  if (Checksum(*chunk, {&body, 1}, checksum_) != chunk->checksum) {
    return DamagedHere("the chunk is damaged");
  }
  if (is_last && chunk->checksum != expected_.checksum) {
    return Damaged(path_, "it is not the file that the manifest names");
  }
  chunk_ = *chunk;
  payload_ = body.first(static_cast<size_t>(chunk->payload_bytes));
  checksum_ = chunk->checksum;
  offset_ += kChunkHeaderBytes + body_bytes;
  std::ranges::copy(bytes.subspan(body.size()), header_.begin());
  return absl::OkStatus();
}

}  // namespace

SnapshotReader::SnapshotReader(std::unique_ptr<Directory> directory,
                               std::vector<std::byte> manifest_bytes,
                               Manifest manifest, Source source)
    : directory_(std::move(directory)),
      manifest_bytes_(std::move(manifest_bytes)),
      manifest_(std::move(manifest)),
      source_(source) {}

absl::StatusOr<SnapshotReader> SnapshotReader::Open(Directory& snapshots,
                                                    const Identity& identity,
                                                    uint64_t lsn,
                                                    Source source) {
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Directory> directory,
                         snapshots.OpenDirectory(SnapshotName(lsn)));
  const std::string path = PathOf(*directory, kManifestName);
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         directory->List());
  if (!std::ranges::binary_search(names, kManifestName)) {
    return Damaged(path, "it is missing");
  }
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                         directory->Open(kManifestName));
  QUIRE_ASSIGN_OR_RETURN(std::vector<std::byte> bytes,
                         ReadWhole(*file, path, source));
  QUIRE_ASSIGN_OR_RETURN(Manifest manifest,
                         CheckedManifest(bytes, path, identity, lsn));
  SnapshotReader reader(std::move(directory), std::move(bytes),
                        std::move(manifest), source);
  QUIRE_RETURN_IF_ERROR(reader.CheckFiles());
  return reader;
}

int64_t SnapshotReader::bytes() const {
  auto bytes = static_cast<int64_t>(manifest_bytes_.size());
  for (const DataFile& file : manifest_.files) {
    bytes += file.bytes;
  }
  return bytes;
}

absl::Status SnapshotReader::CheckFiles() const {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         directory_->List());
  for (size_t i = 0; i < file_count(); ++i) {
    if (!std::ranges::binary_search(names, DataFileName(i))) {
      return Damaged(PathOf(*directory_, DataFileName(i)), "it is missing");
    }
    QUIRE_RETURN_IF_ERROR(OpenFile(i).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<File>> SnapshotReader::OpenFile(
    size_t index) const {
  const std::string name = DataFileName(index);
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<File> file, directory_->Open(name));
  QUIRE_ASSIGN_OR_RETURN(const int64_t bytes, file->Size());
  const int64_t expected = manifest_.files[index].bytes;
  if (bytes != expected || bytes < kChunkHeaderBytes) {
    return Damaged(PathOf(*directory_, name),
                   fmt::format("it has {} bytes, and {} says the manifest",
                               bytes, expected));
  }
  return file;
}

absl::Status SnapshotReader::ReadFile(size_t index, const Take& take) const {
  QUIRE_CHECK(index < file_count(), "a file of the snapshot");
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, OpenFile(index));
  ChunkCursor cursor(*file, PathOf(*directory_, DataFileName(index)),
                     DataFileSeed(manifest_.seed, index),
                     manifest_.files[index]);
  const auto forget = [&](int64_t end) {
    if (source_ == Source::kDisk) {
      file->Forget(end);
    }
  };
  forget(manifest_.files[index].bytes);
  QUIRE_RETURN_IF_ERROR(cursor.Begin());
  while (!cursor.at_end()) {
    QUIRE_RETURN_IF_ERROR(cursor.Next());
    forget(cursor.offset());
    QUIRE_RETURN_IF_ERROR(take(cursor.header(), cursor.payload()));
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::Verify() const {
  for (size_t i = 0; i < file_count(); ++i) {
    QUIRE_RETURN_IF_ERROR(ReadFile(
        i, [](const ChunkHeader&, Bytes) { return absl::OkStatus(); }));
  }
  return absl::OkStatus();
}

}  // namespace quire::journal
