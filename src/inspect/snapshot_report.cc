#include "inspect/snapshot_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"
#include "journal/snapshot_reader.h"
#include "journal/snapshots.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire::inspect {
namespace {

SnapshotReport::OfTable ReportOf(const storage::v1::TableState& state) {
  return {.name = state.spec().name(),
          .uid = state.uid(),
          .rows = state.spec().num_embeddings(),
          .dim = state.spec().embedding_dim(),
          .step = state.step(),
          .has_rows = state.has_rows(),
          .is_import = state.is_import()};
}

// What its manifest says.
absl::StatusOr<SnapshotReport> ReportOf(const journal::SnapshotReader& reader,
                                        uint64_t lsn) {
  storage::v1::SnapshotManifest manifest;
  if (!manifest.ParseFromArray(reader.body().data(),
                               static_cast<int>(reader.body().size()))) {
    return Error(Reason::kCorrupt,
                 fmt::format("the snapshot {}: its checksums are right, but "
                             "its manifest says nothing that this version "
                             "understands. Was it written by another one?",
                             lsn));
  }
  SnapshotReport report = {.lsn = lsn,
                           .epoch = manifest.epoch(),
                           .bytes = reader.bytes(),
                           .session_count = manifest.sessions_size(),
                           .last_lsn = lsn};
  for (const storage::v1::TableState& state : manifest.tables()) {
    report.tables.push_back(ReportOf(state));
  }
  return report;
}

absl::StatusOr<SnapshotReport> ReadManifest(const DataFiles& files,
                                            uint64_t lsn) {
  QUIRE_ASSIGN_OR_RETURN(
      const journal::SnapshotReader reader,
      journal::SnapshotReader::Open(files.snapshots(), files.identity(), lsn));
  return ReportOf(reader, lsn);
}

absl::StatusOr<bool> IsThere(const DataFiles& files, uint64_t lsn) {
  QUIRE_ASSIGN_OR_RETURN(const journal::SnapshotList list,
                         journal::ListSnapshots(files.snapshots()));
  return std::ranges::find(list.lsns, lsn) != list.lsns.end();
}

}  // namespace

absl::StatusOr<std::vector<SnapshotReport>> ListSnapshots(
    const DataFiles& files) {
  QUIRE_ASSIGN_OR_RETURN(const journal::SnapshotList list,
                         journal::ListSnapshots(files.snapshots()));
  std::vector<SnapshotReport> reports;
  for (const uint64_t lsn : list.lsns) {
    absl::StatusOr<SnapshotReport> report = ReadManifest(files, lsn);
    if (report.ok()) {
      reports.push_back(*std::move(report));
      continue;
    }
    // A server beside us may have removed it meanwhile.
    QUIRE_ASSIGN_OR_RETURN(const bool is_there, IsThere(files, lsn));
    if (is_there) {
      reports.push_back({.lsn = lsn, .damage = report.status()});
    }
  }
  return reports;
}

absl::StatusOr<SnapshotReport> VerifySnapshot(const DataFiles& files,
                                              uint64_t lsn) {
  QUIRE_ASSIGN_OR_RETURN(
      const journal::SnapshotReader reader,
      journal::SnapshotReader::Open(files.snapshots(), files.identity(), lsn));
  QUIRE_ASSIGN_OR_RETURN(SnapshotReport report, ReportOf(reader, lsn));
  for (size_t file = 0; file < reader.file_count(); ++file) {
    QUIRE_RETURN_IF_ERROR(reader.ReadFile(
        file, [&](const journal::ChunkHeader& chunk, Bytes) -> absl::Status {
          if (chunk.stream >= report.tables.size()) {
            return Error(
                Reason::kCorrupt,
                fmt::format("the snapshot {}: a chunk is of no table", lsn));
          }
          report.last_lsn = std::max(report.last_lsn, chunk.lsn);
          ++report.chunk_count;
          return absl::OkStatus();
        }));
  }
  return report;
}

}  // namespace quire::inspect
