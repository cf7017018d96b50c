// Whether what is stored of a table is as it was written.

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/stored.h"
#include "journal/snapshot_reader.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {
namespace {

using journal::SnapshotReader;

// Whether each stream of the snapshot is of that table.
absl::StatusOr<std::vector<bool>> StreamsOf(const SnapshotReader& reader,
                                            const TableUid& uid) {
  QUIRE_ASSIGN_OR_RETURN(const auto manifest,
                         Parse<storage::v1::SnapshotManifest>(reader.body()));
  std::vector<bool> streams;
  for (const storage::v1::TableState& state : manifest.tables()) {
    streams.push_back(state.uid() == BytesOf(uid));
  }
  return streams;
}

// How many chunks of that table are whole: all of them, if this is OK.
absl::StatusOr<int64_t> CountChunks(const SnapshotReader& reader,
                                    const TableUid& uid,
                                    const std::function<bool()>& is_over) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<bool> streams,
                         StreamsOf(reader, uid));
  int64_t count = 0;
  if (std::ranges::find(streams, true) == streams.end()) {
    return count;
  }
  for (size_t file = 0; file < reader.file_count(); ++file) {
    QUIRE_RETURN_IF_ERROR(reader.ReadFile(
        file, [&](const journal::ChunkHeader& chunk, Bytes) -> absl::Status {
          if (is_over()) {
            return Error(Reason::kCancelled,
                         "the caller went away, or the server stops");
          }
          if (chunk.stream >= streams.size()) {
            return NotUnderstood("a chunk is of no table");
          }
          count += streams[chunk.stream] ? 1 : 0;
          return absl::OkStatus();
        }));
  }
  return count;
}

}  // namespace

absl::StatusOr<Engine::Verified> Engine::VerifyTable(
    const LiveTable& table, const std::function<bool()>& is_cancelled) {
  if (log_ == nullptr || !table.is_logged()) {
    return Error(Reason::kNotKept,
                 fmt::format("table '{}' is a MEMORY table: its changes are "
                             "not stored. Those of LOGGED tables are",
                             table.name()),
                 "table.name");
  }
  const Snapshots::Hold hold(*snapshots_);
  Verified verified = {.snapshot_lsn = snapshots_->newest_lsn()};
  if (verified.snapshot_lsn == 0) {
    return verified;
  }
  const absl::StatusOr<SnapshotReader> reader = SnapshotReader::Open(
      directory_->snapshots(), directory_->identity(), verified.snapshot_lsn,
      SnapshotReader::Source::kDisk);
  const absl::StatusOr<int64_t> chunk_count =
      reader.ok() ? CountChunks(*reader, table.uid(),
                                [&] {
                                  return is_cancelled() ||
                                         backup_is_given_up_.load(
                                             std::memory_order_relaxed);
                                })
                  : reader.status();
  if (chunk_count.ok()) {
    verified.chunk_count = *chunk_count;
    return verified;
  }
  return ReasonOf(chunk_count.status()) == Reason::kCancelled
             ? chunk_count.status()
             : scrubber_->Report(verified.snapshot_lsn, chunk_count.status());
}

}  // namespace quire
