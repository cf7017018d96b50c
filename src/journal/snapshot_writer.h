// Writes a snapshot: chunks into data files, then the manifest, then its name.
//
//   Begin ──► Append … ──► Finish          0000…2a.draft ──rename──► 0000…2a
//
// It is made under the name of a draft, and gets its own once all of it is on
// the disk. After an error, or without Finish, it is given up: what was written
// is removed, and no other snapshot is touched. If the removal fails too a
// draft is left, for RemoveDrafts.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "journal/block_stream.h"
#include "journal/files.h"
#include "journal/format.h"
#include "journal/snapshot_format.h"

namespace quire::journal {

struct SnapshotOptions {
  // A data file is no longer, unless its only chunk is. A file is synced when
  // it is full: larger ones mean more to write at once.
  int64_t file_bytes_max = int64_t{256} << 20;
};

class SnapshotWriter {
 public:
  // The snapshot of `lsn`, of which there is none: BAD_VALUE if there is. A
  // draft of it is removed, whatever is in it. `snapshots` outlives the writer.
  static absl::StatusOr<std::unique_ptr<SnapshotWriter>> Begin(
      Directory& snapshots, const Identity& identity, uint64_t lsn,
      const SnapshotOptions& options = {});
  // Gives up what is not finished.
  ~SnapshotWriter();
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  // Adds a chunk behind the others. After an error, that error again.
  //   payload  end to end, kPayloadBytesMax at most
  absl::Status Append(const ChunkHeader& header,
                      std::span<const Bytes> payload);

  // Ends it with `body`, which the reader gives back. When this is OK the
  // snapshot is on the disk; nothing is called after it. TOO_LARGE for a body
  // that leads beyond kManifestBytesMax.
  absl::Status Finish(Bytes body);

  // Into data files so far.
  int64_t bytes_written() const { return bytes_written_; }

 private:
  enum class State { kWriting, kRenaming, kFinished, kGivenUp };

  SnapshotWriter(Directory& snapshots, const Identity& identity, uint64_t lsn,
                 const SnapshotOptions& options);
  absl::Status BeginFile();
  absl::Status EndFile();
  absl::Status TryAppend(const ChunkHeader& header,
                         std::span<const Bytes> payload);
  absl::Status TryFinish(Bytes body);
  absl::Status WriteManifest(Bytes body);
  // Of an error; returns it.
  absl::Status GiveUp(absl::Status error);

  // Constant after construction.
  Directory& snapshots_;
  const uint64_t lsn_;
  const SnapshotOptions options_;
  std::unique_ptr<Directory> draft_;

  State state_ = State::kWriting;
  // Why it was given up.
  absl::Status error_;
  // All but the body; the last file's figures are those so far.
  Manifest manifest_;
  // The last file, while it is written to.
  std::unique_ptr<BlockStream> file_;
  uint64_t file_seed_ = 0;
  int64_t bytes_written_ = 0;
  // Of the chunk that is written: kept, to be filled again.
  std::vector<Bytes> pieces_;
};

}  // namespace quire::journal
