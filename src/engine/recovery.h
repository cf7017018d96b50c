// A start: the engine becomes what its data directory says. Or the past of one
// table: an engine that is only for that, aside, becomes what the data
// directory of one that serves says of it.
//
// Thread safety: one thread, before anyone uses the engine. RunUntil beside
// whoever writes to the data directory.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "engine/data_directory.h"
#include "engine/engine.h"
#include "engine/recovery_progress.h"
#include "journal/log.h"
#include "journal/log_reader.h"
#include "journal/snapshot_reader.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {

class Recovery {
 public:
  // Both outlive it.
  Recovery(Engine& engine, RecoveryProgress& progress)
      : engine_(engine), progress_(progress) {}

  // Where the log goes on. Loads the newest snapshot that is whole, then
  // replays the log. On the disk it removes what half-made snapshots left, no
  // more. CORRUPT for a log that is damaged, or that does not reach back to a
  // snapshot that is whole, or whose records this version does not understand;
  // STOPPING once it is cancelled.
  absl::StatusOr<journal::LogEnd> Run(DataDirectory& directory);

  // What is wanted of the past.
  struct Past {
    // LiveTable::origin: the table, rewound or not.
    TableUid origin;
    std::string name;  // for errors
    uint64_t until_lsn = 0;
  };
  // Loads and replays what `past` names, with no change after it, and nothing
  // else. The table is in the engine's catalog if it was in one then, under a
  // new uid. Nothing on the disk changes. All records up to past.until_lsn have
  // been written; `kept` are the log's segments; they and the snapshots stay:
  // Snapshots::Hold. FAILED_PRECONDITION (NOT_KEPT) if they do not reach back
  // so far; CORRUPT as for Run.
  absl::Status RunUntil(DataDirectory& directory,
                        std::span<const journal::KeptSegment> kept, Past past);

  // Of the snapshot that was loaded; 0: of none.
  uint64_t snapshot_lsn() const { return snapshot_lsn_; }
  int64_t snapshot_bytes() const { return snapshot_bytes_; }
  // Of starts before: the last change up to the end of each.
  const std::map<uint64_t, uint64_t>& epoch_ends() const { return epoch_ends_; }
  // Of the newest save of MEMORY tables, whole or not; 0: there is none.
  uint64_t memory_number() const { return memory_number_; }
  // Those that were damaged and passed over, and saves of MEMORY tables: why,
  // for people.
  const std::vector<std::string>& damaged_snapshots() const {
    return damaged_snapshots_;
  }
  // The snapshots among them, by LSN.
  const std::map<uint64_t, std::string>& damaged_by_lsn() const {
    return damaged_by_lsn_;
  }

 private:
  // --- Snapshots ---

  // The newest that is whole, and has no change after what is wanted.
  absl::Status LoadNewestSnapshot(DataDirectory& directory,
                                  const journal::LogReader& log);
  // False: it has later changes.
  absl::StatusOr<bool> LoadSnapshot(const journal::SnapshotReader& reader);
  // Null if it is not wanted.
  absl::StatusOr<TableHandle> LoadTable(const storage::v1::TableState& state);
  absl::Status LoadSessions(const storage::v1::SnapshotManifest& manifest);
  // Of the tables of the manifest.
  absl::Status LoadChunks(const journal::SnapshotReader& reader,
                          const storage::v1::SnapshotManifest& manifest,
                          std::span<const TableHandle> tables);
  static absl::Status LoadChunk(LiveTable& table,
                                const journal::ChunkHeader& header,
                                Bytes payload);
  // As if nothing had been loaded.
  void Reset();

  // --- Saves of MEMORY tables ---

  // Gives the tables that there are the rows of the newest save that is whole.
  absl::Status LoadNewestSave(DataDirectory& directory);
  absl::Status LoadSave(const journal::SnapshotReader& reader);

  // --- The log ---

  // What the log says of them; it is right where a snapshot says otherwise.
  void LearnEpochEnds(const journal::LogEnd& end);
  absl::Status Replay(const journal::LogRecord& record);
  absl::Status ReplayPush(const journal::LogRecord& record);
  absl::Status ReplayWriteRows(const journal::LogRecord& record);
  absl::Status ReplayCreateTable(Bytes payload);
  absl::Status ReplayPublishTable(Bytes payload);
  absl::Status ReplayReplaceTable(const storage::v1::PublishTableRecord& record,
                                  const TableHandle& table);
  absl::Status ReplayAlterTable(Bytes payload);
  absl::Status ReplayDropTable(Bytes payload);
  absl::Status ReplaySetLabels(const journal::LogRecord& record);
  absl::Status ReplayOpenSession(Bytes payload);
  absl::Status ReplayCloseSession(Bytes payload);

  absl::StatusOr<TableHandle> Find(const TableUid& uid) const;
  // A change of this table is not wanted.
  bool IsPassedOver(const TableUid& uid) const {
    return past_ && !tables_.contains(uid.bytes);
  }
  // What a table of the log is called in the engine.
  TableUid UidFor(const TableUid& logged) const;
  // The log does not reach back to what was loaded.
  absl::Status NotKept(uint64_t first_lsn) const;
  // A start of the server ends the imports that had begun before it.
  void DropImports();

  static absl::Status SetLabels(LiveTable& table,
                                const storage::v1::SetLabelsRecord& record,
                                std::optional<ChangePlace> place);

  struct Recovered {
    TableHandle table;
    bool is_import = false;
  };

  absl::Status CheckIsWanted() const;
  // Of all shards, unless the recovery is cancelled.
  void Fill(const TableHandle& table, bool initial_values);

  Engine& engine_;
  RecoveryProgress& progress_;
  // None: all is wanted, up to the end.
  std::optional<Past> past_;
  // The first LSN from which on the oldest snapshot that was looked at has what
  // is wanted.
  std::optional<uint64_t> oldest_lsn_;
  // By their uids in the log.
  absl::flat_hash_map<std::array<uint8_t, 16>, Recovered> tables_;
  uint64_t epoch_ = 0;
  std::map<uint64_t, uint64_t> epoch_ends_;
  uint64_t snapshot_lsn_ = 0;
  int64_t snapshot_bytes_ = 0;
  uint64_t memory_number_ = 0;
  std::vector<std::string> damaged_snapshots_;
  std::map<uint64_t, std::string> damaged_by_lsn_;
};

}  // namespace quire
