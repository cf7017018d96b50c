// A start's snapshot: the newest that is whole, loaded.

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/faults.h"
#include "base/status.h"
#include "engine/recovery.h"
#include "engine/snapshots.h"
#include "engine/stored.h"
#include "journal/snapshots.h"

namespace quire {
namespace {

// The LSN from which on the snapshot has what `past` wants; nullopt if it does
// not say.
std::optional<uint64_t> UsableFrom(
    const storage::v1::SnapshotManifest& manifest, const TableUid& origin) {
  uint64_t lsn = manifest.lsn();
  for (const storage::v1::TableState& state : manifest.tables()) {
    if (IsOf(origin, state)) {
      if (state.last_lsn() == 0) {
        return std::nullopt;
      }
      lsn = std::max(lsn, state.last_lsn());
    }
  }
  return lsn;
}

int64_t ChunkCount(const Table& rows) {
  int64_t count = 0;
  for (int32_t s = 0; s < rows.config().shard_count; ++s) {
    count += rows.shard(ShardId{static_cast<uint32_t>(s)}).chunk_count();
  }
  return count;
}

}  // namespace

absl::Status Recovery::LoadNewestSnapshot(DataDirectory& directory,
                                          const journal::LogReader& log) {
  QUIRE_ASSIGN_OR_RETURN(const journal::SnapshotList list,
                         journal::ListSnapshots(directory.snapshots()));
  progress_.Begin(0, log.BytesFrom(1));
  for (const uint64_t lsn : list.lsns) {
    const absl::StatusOr<journal::SnapshotReader> reader =
        journal::SnapshotReader::Open(directory.snapshots(),
                                      directory.identity(), lsn);
    if (reader.ok()) {
      progress_.Begin(reader->bytes(), log.BytesFrom(lsn + 1));
    }
    const absl::StatusOr<bool> loaded =
        reader.ok() ? LoadSnapshot(*reader) : reader.status();
    if (loaded.ok() && *loaded) {
      QUIRE_KILL_POINT("recovery_snapshot_loaded");
      snapshot_lsn_ = lsn;
      snapshot_bytes_ = reader->bytes();
      return absl::OkStatus();
    }
    if (loaded.ok()) {
      continue;
    }
    // A sector that cannot be read is damage as well.
    const absl::Status& status = loaded.status();
    if (ReasonOf(status) != Reason::kCorrupt &&
        ReasonOf(status) != Reason::kIoFailed) {
      return status;
    }
    damaged_snapshots_.emplace_back(status.message().data(),
                                    status.message().size());
    damaged_by_lsn_[lsn] = damaged_snapshots_.back();
    Reset();
    progress_.Begin(0, log.BytesFrom(1));
  }
  return absl::OkStatus();
}

void Recovery::Reset() {
  for (const auto& [uid, recovered] : tables_) {
    if (!recovered.is_import) {
      engine_.Hide(*recovered.table);
    }
  }
  tables_.clear();
  engine_.sequencer_.Reset();
  epoch_ = 0;
  epoch_ends_.clear();
}

absl::StatusOr<bool> Recovery::LoadSnapshot(
    const journal::SnapshotReader& reader) {
  QUIRE_ASSIGN_OR_RETURN(const auto manifest,
                         Parse<storage::v1::SnapshotManifest>(reader.body()));
  if (past_) {
    const std::optional<uint64_t> usable_from =
        UsableFrom(manifest, past_->origin);
    if (!usable_from || *usable_from > past_->until_lsn) {
      oldest_lsn_ = usable_from ? usable_from : oldest_lsn_;
      return false;
    }
  }
  epoch_ = manifest.epoch();
  for (const storage::v1::EpochEnd& end : manifest.epoch_ends()) {
    epoch_ends_[end.epoch()] = end.lsn();
  }
  std::vector<TableHandle> tables;
  for (const storage::v1::TableState& state : manifest.tables()) {
    QUIRE_ASSIGN_OR_RETURN(tables.emplace_back(), LoadTable(state));
  }
  if (!past_) {
    QUIRE_RETURN_IF_ERROR(LoadSessions(manifest));
  }
  QUIRE_RETURN_IF_ERROR(LoadChunks(reader, manifest, tables));
  return true;
}

absl::Status Recovery::LoadSessions(
    const storage::v1::SnapshotManifest& manifest) {
  for (const storage::v1::SessionState& state : manifest.sessions()) {
    QUIRE_ASSIGN_OR_RETURN(const auto session,
                           IdOf<SessionId>(state.session_id()));
    QUIRE_RETURN_IF_ERROR(
        engine_.sequencer_.OpenSession(nullptr, session).status());
    if (state.hashes_size() != state.sequences_size() ||
        state.lsns_size() != state.sequences_size()) {
      return NotUnderstood("a session's lists have different lengths");
    }
    for (int i = 0; i < state.sequences_size(); ++i) {
      engine_.sequencer_.ReplayPushId({.session = session,
                                       .sequence = state.sequences(i),
                                       .hash = state.hashes(i)},
                                      state.lsns(i));
    }
  }
  return absl::OkStatus();
}

absl::Status Recovery::LoadChunks(const journal::SnapshotReader& reader,
                                  const storage::v1::SnapshotManifest& manifest,
                                  std::span<const TableHandle> tables) {
  Mutex mutex;
  absl::Status failure;
  std::vector<int64_t> chunks_loaded(tables.size());
  const auto take = [&](const journal::ChunkHeader& header,
                        Bytes payload) -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckIsWanted());
    if (header.stream >= tables.size()) {
      return NotUnderstood("a chunk is of no table");
    }
    if (tables[header.stream] == nullptr) {
      return absl::OkStatus();
    }
    QUIRE_RETURN_IF_ERROR(LoadChunk(*tables[header.stream], header, payload));
    progress_.AddSnapshotBytes(std::ssize(payload));
    MutexLock lock(mutex);
    chunks_loaded[header.stream] += header.index == kLabelsChunk ? 0 : 1;
    return absl::OkStatus();
  };
  engine_.workers_.ParallelFor(
      static_cast<int64_t>(reader.file_count()), [&](int64_t file) {
        const absl::Status read =
            reader.ReadFile(static_cast<size_t>(file), take);
        MutexLock lock(mutex);
        failure.Update(read);
      });
  QUIRE_RETURN_IF_ERROR(failure);
  for (size_t i = 0; i < tables.size(); ++i) {
    if (tables[i] == nullptr) {
      continue;
    }
    const storage::v1::TableState& state = manifest.tables(static_cast<int>(i));
    const int64_t expected = state.has_chunk_count()
                                 ? state.chunk_count()
                                 : ChunkCount(tables[i]->rows());
    if (chunks_loaded[i] != (state.has_rows() ? expected : 0)) {
      return NotUnderstood("a table has not all of its chunks");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TableHandle> Recovery::LoadTable(
    const storage::v1::TableState& state) {
  if (past_ && !IsOf(past_->origin, state)) {
    return TableHandle();
  }
  QUIRE_ASSIGN_OR_RETURN(const auto uid, IdOf<TableUid>(state.uid()));
  QUIRE_ASSIGN_OR_RETURN(const TableUid origin, OriginOf(state));
  QUIRE_ASSIGN_OR_RETURN(TableHandle table,
                         engine_.MakeTable(UidFor(uid), state.spec(), origin));
  const bool has_all_rows =
      state.has_rows() && (!state.has_chunk_count() ||
                           state.chunk_count() == ChunkCount(table->rows()));
  Fill(table, /*initial_values=*/!has_all_rows && !state.is_import());
  engine_.sequencer_.Restore(
      {.table = table,
       .state = {.settings = {.learning_rate = state.learning_rate(),
                              .frozen = state.frozen(),
                              .default_durability = state.default_durability()},
                 // A MEMORY table begins anew, unless a save has its rows.
                 .step = table->is_logged() ? state.step() : 0,
                 .last_lsn = state.last_change_lsn()},
       .is_import = state.is_import()});
  if (!state.is_import()) {
    engine_.Show(table);
  }
  tables_.emplace(uid.bytes, Recovered{table, state.is_import()});
  return table;
}

absl::Status Recovery::LoadChunk(LiveTable& table,
                                 const journal::ChunkHeader& header,
                                 Bytes payload) {
  if (header.index == kLabelsChunk) {
    QUIRE_ASSIGN_OR_RETURN(const auto record,
                           Parse<storage::v1::SetLabelsRecord>(payload));
    return SetLabels(table, record, std::nullopt);
  }
  const auto shard = static_cast<uint32_t>(header.index >> 32);
  const auto chunk = static_cast<int64_t>(header.index & 0xffffffff);
  if (shard >= static_cast<uint32_t>(table.rows().config().shard_count)) {
    return NotUnderstood("a chunk is of no shard");
  }
  Shard& rows = table.rows().shard_to_load(ShardId{shard});
  if (chunk >= rows.chunk_count() ||
      payload.size() != rows.ChunkFloats(chunk) * sizeof(float)) {
    return NotUnderstood("a chunk has not the size of its rows");
  }
  QUIRE_KILL_POINT("recovery_chunk_loading");
  rows.LoadChunk(chunk, reinterpret_cast<const float*>(payload.data()),
                 header.lsn);
  return absl::OkStatus();
}

}  // namespace quire
