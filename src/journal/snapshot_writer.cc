#include "journal/snapshot_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/faults.h"
#include "base/status.h"
#include "journal/snapshots.h"

namespace quire::journal {
namespace {

constexpr std::array<std::byte, kChunkAlignment> kZeros = {};

}  // namespace

SnapshotWriter::SnapshotWriter(Directory& snapshots, const Identity& identity,
                               uint64_t lsn, const SnapshotOptions& options)
    : snapshots_(snapshots), lsn_(lsn), options_(options) {
  manifest_.identity = identity;
  manifest_.lsn = lsn;
  manifest_.seed = FreshSeed();
}

absl::StatusOr<std::unique_ptr<SnapshotWriter>> SnapshotWriter::Begin(
    Directory& snapshots, const Identity& identity, uint64_t lsn,
    const SnapshotOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         snapshots.List());
  if (std::ranges::binary_search(names, SnapshotName(lsn))) {
    return Error(Reason::kBadValue,
                 fmt::format("there is a snapshot {} already",
                             PathOf(snapshots, SnapshotName(lsn))));
  }
  if (std::ranges::binary_search(names, DraftName(lsn))) {
    QUIRE_RETURN_IF_ERROR(RemoveDraft(snapshots, DraftName(lsn)));
  }
  std::unique_ptr<SnapshotWriter> writer(
      new SnapshotWriter(snapshots, identity, lsn, options));
  QUIRE_ASSIGN_OR_RETURN(writer->draft_,
                         snapshots.MakeDirectory(DraftName(lsn)));
  return writer;
}

SnapshotWriter::~SnapshotWriter() {
  if (state_ == State::kWriting) {
    GiveUp(absl::OkStatus()).IgnoreError();
  }
}

absl::Status SnapshotWriter::Append(const ChunkHeader& header,
                                    std::span<const Bytes> payload) {
  QUIRE_CHECK(state_ != State::kFinished, "a finished snapshot stays as it is");
  QUIRE_RETURN_IF_ERROR(error_);
  absl::Status status = TryAppend(header, payload);
  return status.ok() ? status : GiveUp(std::move(status));
}

absl::Status SnapshotWriter::Finish(Bytes body) {
  QUIRE_CHECK(state_ != State::kFinished, "a snapshot is finished once");
  QUIRE_RETURN_IF_ERROR(error_);
  absl::Status status = TryFinish(body);
  if (!status.ok()) {
    return GiveUp(std::move(status));
  }
  state_ = State::kFinished;
  return status;
}

absl::Status SnapshotWriter::TryAppend(const ChunkHeader& header,
                                       std::span<const Bytes> payload) {
  StoredChunk chunk{.header = header};
  for (const Bytes& piece : payload) {
    chunk.payload_bytes += std::ssize(piece);
  }
  QUIRE_CHECK(chunk.payload_bytes <= kPayloadBytesMax, "a chunk has a limit");
  const int64_t body_bytes = ChunkBodyBytes(chunk.payload_bytes);
  const int64_t chunk_bytes = kChunkHeaderBytes + body_bytes;
  if (file_ != nullptr &&
      manifest_.files.back().bytes + chunk_bytes > options_.file_bytes_max) {
    QUIRE_RETURN_IF_ERROR(EndFile());
  }
  if (file_ == nullptr) {
    QUIRE_RETURN_IF_ERROR(BeginFile());
  }
  DataFile& file = manifest_.files.back();
  pieces_.assign(1, Bytes());
  pieces_.insert(pieces_.end(), payload.begin(), payload.end());
  pieces_.push_back(Bytes(kZeros).first(
      static_cast<size_t>(body_bytes - chunk.payload_bytes)));
  chunk.checksum =
      Checksum(chunk, std::span(pieces_).subspan(1), file.checksum);
  const ChunkHeaderBytes head = Encode(chunk, file_seed_, file.bytes);
  pieces_.front() = head;
  QUIRE_RETURN_IF_ERROR(file_->Append(pieces_));
  file.bytes += chunk_bytes;
  file.checksum = chunk.checksum;
  bytes_written_ += chunk_bytes;
  return absl::OkStatus();
}

absl::Status SnapshotWriter::BeginFile() {
  const size_t index = manifest_.files.size();
  QUIRE_ASSIGN_OR_RETURN(file_,
                         BlockStream::Create(*draft_, DataFileName(index)));
  file_seed_ = DataFileSeed(manifest_.seed, index);
  manifest_.files.push_back({.bytes = 0, .checksum = file_seed_});
  return absl::OkStatus();
}

absl::Status SnapshotWriter::EndFile() {
  QUIRE_RETURN_IF_ERROR(file_->Sync());
  QUIRE_KILL_POINT("snapshot_file_synced");
  file_.reset();
  return absl::OkStatus();
}

absl::Status SnapshotWriter::TryFinish(Bytes body) {
  if (file_ != nullptr) {
    QUIRE_RETURN_IF_ERROR(EndFile());
  }
  QUIRE_RETURN_IF_ERROR(WriteManifest(body));
  QUIRE_KILL_POINT("snapshot_manifest_written");
  QUIRE_RETURN_IF_ERROR(draft_->Sync());
  QUIRE_KILL_POINT("snapshot_draft_synced");
  state_ = State::kRenaming;
  QUIRE_RETURN_IF_ERROR(snapshots_.Rename(DraftName(lsn_), SnapshotName(lsn_)));
  QUIRE_KILL_POINT("snapshot_renamed");
  return QUIRE_FAULT("directory_not_synced") ? absl::OkStatus()
                                             : snapshots_.Sync();
}

absl::Status SnapshotWriter::WriteManifest(Bytes body) {
  manifest_.body = body;
  if (const size_t size = ManifestBytes(manifest_); size > kManifestBytesMax) {
    return Error(Reason::kTooLarge,
                 fmt::format("the manifest of {} would have {} bytes, and may "
                             "have {}",
                             draft_->path(), size, kManifestBytesMax));
  }
  const std::vector<std::byte> bytes = Encode(manifest_);
  manifest_.body = {};
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                         draft_->Create(kManifestName));
  const Bytes piece = bytes;
  QUIRE_RETURN_IF_ERROR(file->Write(0, {&piece, 1}));
  return file->Sync();
}

absl::Status SnapshotWriter::GiveUp(absl::Status error) {
  file_.reset();
  draft_.reset();
  // What fails here leaves a draft, or what is whole.
  if (state_ == State::kRenaming) {
    snapshots_.Rename(SnapshotName(lsn_), DraftName(lsn_)).IgnoreError();
  }
  RemoveDraft(snapshots_, DraftName(lsn_)).IgnoreError();
  state_ = State::kGivenUp;
  error_ = std::move(error);
  return error_;
}

}  // namespace quire::journal
