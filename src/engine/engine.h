// The embedding database in this process: a catalog of tables, which survives a
// crash if it has a data directory. Start here.
//
//   Engine engine({.table_bytes_max = 1 << 30});  // or Engine::Open
//   auto created = engine.CreateTable(spec, v1::IF_EXISTS_ERROR);
//   auto table = engine.Find("dictionary");
//   (*table)->Lookup(ids, out);
//   engine.ApplyGradient({{.table = *table, .ids = ids, .gradient = bytes}});
//
// Every request is checked whole before its first effect; every error says
// what was found, what was needed and of which table, and changes nothing.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <google/protobuf/message_lite.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/mutex.h"
#include "base/worker_pool.h"
#include "engine/commit.h"
#include "engine/data_directory.h"
#include "engine/live_table.h"
#include "engine/position_queue.h"
#include "engine/push.h"
#include "engine/records.h"
#include "engine/recovery_progress.h"
#include "engine/room_queue.h"
#include "engine/scrubber.h"
#include "engine/sequencer.h"
#include "engine/snapshots.h"
#include "journal/log.h"
#include "kernels/kernels.h"
#include "quire/v1/admin.pb.h"
#include "quire/v1/table.pb.h"

namespace quire {

struct EngineOptions {
  // Memory that rows, optimizer state and labels may take, in bytes.
  int64_t table_bytes_max = int64_t{1} << 30;
  // Threads that write initial rows and scan tables.
  int worker_count = 2;
  const kernels::Kernels* kernels = &kernels::BestKernels();
  journal::LogOptions log;
  SnapshotPolicy snapshots;
};

// One step of every table that it names: all of them or none.
struct Push {
  // They, and what they point to, stay until the push has ended.
  std::span<const PushPart> parts;
  // By which it is known if it comes again.
  std::optional<PushId> id = std::nullopt;
  // Acknowledge no sooner. Unspecified: as the tables say; less than LOGGED
  // tables give is no wish.
  v1::Durability min_durability = v1::DURABILITY_UNSPECIFIED;
  // If it still waits for room in the log then, it is refused: DEADLINE.
  std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt;
};

struct PushOutcome {
  // Its place in the log; 0 for MEMORY tables.
  uint64_t lsn = 0;
  v1::Durability reached = v1::DURABILITY_MEMORY;
  // It had been pushed before, under the same id; what it did then is not kept:
  // the figures of `tables` are 0.
  bool is_duplicate = false;
  // [parts]; none, if the duplicate was refused before its parts were known.
  std::vector<PushResult> tables;
};

class Engine {
 public:
  // Of MEMORY tables.
  explicit Engine(const EngineOptions& options);
  // A new engine becomes as its data directory says: all that was acknowledged
  // is there. Meanwhile nobody calls it, but for table_memory(), kernels() and
  // session_count(). Errors are those of DataDirectory and of
  // journal::LogReader, MEMORY_FULL, and STOPPING once `progress` is cancelled:
  // there is no use for the engine then.
  absl::Status Recover(std::unique_ptr<DataDirectory> directory,
                       RecoveryProgress& progress);
  // Both.
  static absl::StatusOr<std::unique_ptr<Engine>> Open(
      const EngineOptions& options, std::unique_ptr<DataDirectory> directory);
  // Nobody uses the engine or a handle any more; no push is under way.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // --- Tables ---

  struct Created {
    TableHandle table;
    bool is_new = false;
  };
  // Reserves the table's memory and starts to fill it. Of any number of
  // concurrent creators with IF_EXISTS_VERIFY one creates, all get the table.
  // RESOURCE_EXHAUSTED (MEMORY_FULL) if its rows do not fit what is left,
  // INVALID_ARGUMENT (TOO_LARGE) if they never can.
  absl::StatusOr<Created> CreateTable(const v1::TableSpec& spec,
                                      v1::IfExists if_exists);

  // A table that serves. NOT_FOUND; FAILED_PRECONDITION (TABLE_REPLACED) if
  // another one has the name by now; UNAVAILABLE (FILLING).
  absl::StatusOr<TableHandle> Find(
      std::string_view name, const std::optional<TableUid>& uid = {}) const;

  // The same, also while it is being filled.
  absl::StatusOr<TableHandle> FindAny(
      std::string_view name, const std::optional<TableUid>& uid = {}) const;

  // All tables, by name.
  std::vector<TableHandle> List() const;

  // New requests find no such table from here on. Its memory goes when the
  // last request that found it ends.
  absl::StatusOr<TableUid> DropTable(std::string_view name,
                                     const std::optional<TableUid>& uid);

  // Makes a LOGGED table what it was: rows, optimizer state, step and labels as
  // of all changes up to `to_lsn`; what may be altered stays as it is. It is
  // another incarnation, which the log puts in the place of the old one with
  // one record: before it nothing has happened. The old one takes pushes until
  // then; those after `to_lsn` are undone. Synced when this returns. Errors are
  // those of TableAsOf; TABLE_REPLACED or NOT_FOUND if the table has ended
  // meanwhile; LOG_FAILED: it is in doubt.
  struct Rewound {
    TableHandle table;
    // That record.
    uint64_t lsn = 0;
  };
  absl::StatusOr<Rewound> RewindTable(std::string_view name,
                                      const std::optional<TableUid>& uid,
                                      uint64_t to_lsn);

  // A LOGGED table as of all changes up to `lsn`, rebuilt aside from snapshots
  // and the log: in no catalog, and under a uid of its own. Its memory is
  // charged as that of any table: MEMORY_FULL. FAILED_PRECONDITION (NOT_KEPT)
  // if there was no such table then, or what it was is not kept, or `lsn` is
  // after the last change, or the table is a MEMORY table; CORRUPT, IO_FAILED.
  struct PastTable {
    TableHandle table;
    int64_t step = 0;
    // How many changes its rows have seen.
    Ticket next_ticket{0};
  };
  absl::StatusOr<PastTable> TableAsOf(const LiveTable& table, uint64_t lsn);

  // Takes effect with the next push.
  absl::Status AlterTable(const LiveTable& table,
                          const Sequencer::Alteration& alteration);

  // The table as the API describes it.
  v1::Table Describe(const LiveTable& table) const;

  // --- Rows ---

  // Calls `done` once: here, if the push is refused or its tables are MEMORY
  // tables; else on another thread, which it must not hold up. Errors name
  // fields as "tables[i].…". UNAVAILABLE (LOG_FAILED): the push is in doubt.
  using PushDone = std::function<void(absl::StatusOr<PushOutcome>)>;
  void ApplyGradient(const Push& push, PushDone done);
  // The same, waiting.
  absl::StatusOr<PushOutcome> ApplyGradient(const Push& push);
  absl::StatusOr<std::vector<PushResult>> ApplyGradient(
      std::span<const PushPart> parts);

  // Of a push that was refused: whether it had been pushed before. See
  // SessionTable::Find for errors.
  absl::StatusOr<bool> WasPushed(const PushId& id) const;
  // Ends as a duplicate does.
  void AnswerDuplicate(const Push& push, PushDone done);

  // Sets stored rows; each id once.
  //   values  float32 [n, dim], finite unless the table allows others
  //   state   float32 [n, state_floats], likewise; or empty: the state stays
  absl::Status WriteRows(LiveTable& table, std::span<const int64_t> ids,
                         std::span<const float> values,
                         std::span<const float> state);

  // Sets labels[i] of ids[i], in order; an empty one removes. MEMORY_FULL.
  absl::Status SetLabels(LiveTable& table, std::span<const int64_t> ids,
                         std::span<const std::string_view> labels);

  // A table that is made from rows and appears when it is whole. Dropped
  // before Publish, it was never there. One thread at a time.
  //   step  pushes that its rows have seen, 0 to 2^62
  class Import;
  absl::StatusOr<std::unique_ptr<Import>> BeginImport(const v1::TableSpec& spec,
                                                      int64_t step = 0);

  // --- Sessions ---

  absl::StatusOr<SessionId> OpenSession();
  // FAILED_PRECONDITION (SESSION_EXPIRED) if there is none.
  absl::Status CloseSession(const SessionId& session);
  int64_t session_count() const {
    return static_cast<int64_t>(sequencer_.session_count());
  }

  // --- Positions ---

  // All changes of these tables up to there have been applied: whoever reads
  // rows after this sees them. nullopt if none of them is LOGGED.
  std::optional<Position> PositionOf(std::span<const TableHandle> tables) const;

  // Calls `done` once, on a worker or here: when that is so of `position`, for
  // those that are LOGGED; or with why it is not. FAILED_PRECONDITION
  // (POSITION_LOST) for one of a start that ended before it, or of which
  // nothing is known any more, or of one to come: it is of another server then;
  // UNAVAILABLE (NOT_CAUGHT_UP) if it is not so in time: a moment before
  // `deadline`, so that its caller hears of it, and within
  // kPositionWaitMsDefault without one; (STOPPING). RESOURCE_EXHAUSTED (BUSY).
  void WhenApplied(
      std::vector<TableHandle> tables, const Position& position,
      std::optional<std::chrono::steady_clock::time_point> deadline,
      std::function<void(absl::Status)> done);
  // Whoever waits for a position is told that the server stops, and so are
  // later ones.
  void GiveUpPositions();
  size_t waiting_lookup_count() const;

  // --- Snapshots ---

  // Makes one while the engine serves; returns its LSN. FAILED_PRECONDITION
  // without a data directory; DISK_FULL, IO_FAILED: the ones before are as they
  // were.
  absl::StatusOr<uint64_t> CreateSnapshot();
  // The engine is to end, and nobody changes it any more: MEMORY tables are
  // saved, if it has a data directory. STOPPING if that is not done by
  // `deadline`; they are then as they were saved before.
  absl::Status SaveMemoryTables(std::chrono::steady_clock::time_point deadline);

  // What is stored of a LOGGED table in the newest snapshot is read back from
  // the disk. CORRUPT: it is damaged, and is replaced; NOT_KEPT for a MEMORY
  // table; CANCELLED.
  struct Verified {
    // 0: there is no snapshot; the log has all.
    uint64_t snapshot_lsn = 0;
    // Of the table: all are whole.
    int64_t chunk_count = 0;
  };
  absl::StatusOr<Verified> VerifyTable(
      const LiveTable& table, const std::function<bool()>& is_cancelled);

  // --- Backups ---

  struct Backup {
    // All changes up to here are in it, and none behind.
    uint64_t epoch = 0;
    uint64_t lsn = 0;
    int64_t files = 0;
    int64_t bytes = 0;
  };
  // All LOGGED tables at one position, while the engine serves, in the
  // directory `name` of `root`: see engine/backup.h. It has been read back when
  // this returns; after an error there is none. As CreateSnapshot; BAD_NAME;
  // BAD_VALUE: see BackupTarget; BUSY; STOPPING.
  absl::StatusOr<Backup> BackUp(journal::Directory& root,
                                const std::string& name);
  // The same into an empty directory; after an error a part may be there. There
  // is a data directory.
  absl::StatusOr<Backup> BackUp(journal::Directory& target);
  // One that is being made ends, and later ones at once; so does a
  // verification.
  void GiveUpBackups() { backup_is_given_up_ = true; }

  // --- The engine itself ---

  // What is kept stays while it lives: see Snapshots::Hold. Null: there is no
  // data directory.
  std::unique_ptr<Snapshots::Hold> HoldPast() {
    return snapshots_ == nullptr
               ? nullptr
               : std::make_unique<Snapshots::Hold>(*snapshots_);
  }
  // Now; nullopt for a table that has ended.
  std::optional<Sequencer::Moment> MomentOf(const LiveTable& table) const {
    return sequencer_.MomentOf(table.uid());
  }

  // What the records that are kept say of a row of a LOGGED table, up to `lsn`,
  // which has been sequenced: the last that names it.
  struct RowHistory {
    enum class Kind : uint8_t {
      kPush,    // or a push of a table of which every row moves with each
      kWrite,   // by id, by an import or by a rewind
      kCreate,  // nothing since the table was made
    };
    struct Change {
      uint64_t lsn = 0;
      Kind kind = Kind::kPush;
    };
    // None: it was before `first_lsn`.
    std::optional<Change> last;
    // Of the oldest record that is kept.
    uint64_t first_lsn = 0;
  };
  // Reads all of the log that is kept: for people. CORRUPT, IO_FAILED.
  absl::StatusOr<RowHistory> HistoryOf(const LiveTable& table, int64_t id,
                                       uint64_t lsn);

  // Null: there is no data directory.
  const Snapshots* snapshots() const { return snapshots_.get(); }
  const Scrubber* scrubber() const { return scrubber_.get(); }
  // Those that Open passed over: why, for people.
  const std::vector<std::string>& damaged_snapshots() const {
    return damaged_snapshots_;
  }
  // Null: there is no data directory.
  const journal::Log* log() const { return log_.get(); }
  // How long a start would take now: what it has to read, at the rates of the
  // last one. With a data directory.
  double EstimatedRecoverySeconds() const;
  const MemoryBudget& table_memory() const { return budget_; }
  const kernels::Kernels& kernels() const { return kernels_; }
  WorkerPool& workers() { return workers_; }

 private:
  friend class Recovery;

  // One aside, for the past of a table of `live`: with no log of its own, and
  // tables whose memory is of the budget of `live`, which outlives them.
  struct Aside {};
  Engine(const Engine& live, Aside);

  static TableUid FreshUid();

  //   origin  LiveTable::origin
  absl::StatusOr<TableHandle> MakeTable(const TableUid& uid,
                                        const v1::TableSpec& normalized,
                                        const TableUid& origin);
  // Writes initial rows; those of large tables later, on the workers.
  void Fill(const TableHandle& table);
  absl::StatusOr<TableHandle> MakeImportedTable(const TableUid& uid,
                                                const v1::TableSpec& spec,
                                                const TableUid& origin);
  void Show(const TableHandle& table);
  void Hide(LiveTable& table);
  // In one moment, under creation_mutex_: the catalog has one or the other.
  void ShowInPlaceOf(LiveTable& replaced, const TableHandle& table);
  absl::Status CheckRoomFor(std::string_view name) const;

  struct BackupPace {
    std::chrono::steady_clock::time_point begun =
        std::chrono::steady_clock::now();
    int64_t bytes = 0;
  };
  absl::Status PaceBackup(BackupPace& pace, int64_t bytes) const;

  // OK for one of this start, or that every start since has.
  absl::Status CheckPosition(const Position& position) const;

  // --- Through the log ---

  // Calls `sequence` until it has a place for the change, then waits for its
  // turn. Without a log: calls it once, with null.
  using Sequence = std::function<absl::StatusOr<bool>(Sequencer::Change*)>;
  absl::Status Commit(RecordType type, std::span<const Bytes> payload,
                      const Sequence& sequence);
  absl::Status Commit(RecordType type,
                      const google::protobuf::MessageLite& record,
                      const Sequence& sequence);
  // The place of a change of rows or labels whose turn it is.
  absl::StatusOr<ChangePlace> CommitWrite(const LiveTable& table,
                                          RecordType type,
                                          std::span<const Bytes> payload);
  // Of rows that a table is to store: NON_FINITE, unless it allows them.
  absl::Status CheckFinite(const Table& table, std::span<const float> numbers,
                           int64_t columns, std::string_view field) const;
  absl::Status WriteCheckedRows(LiveTable& table, std::span<const int64_t> ids,
                                std::span<const float> values,
                                std::span<const float> state);
  void AnswerDuplicate(const Sequencer::Duplicate& duplicate, const Push& push,
                       PushDone done);

  // Constant after construction.
  const EngineOptions options_;
  const kernels::Kernels& kernels_;

  // Each guards itself. The first two are shared with tables' pasts.
  const std::shared_ptr<kernels::Stripes> stripes_;
  const std::shared_ptr<MemoryBudget> shared_budget_;
  MemoryBudget& budget_;
  Sequencer sequencer_;

  // Constant after Recover; without a data directory it is null.
  std::unique_ptr<DataDirectory> directory_;
  std::vector<std::string> damaged_snapshots_;
  RecoveryRates recovery_rates_;
  std::map<uint64_t, uint64_t> epoch_ends_;  // see Recovery

  // Each stands alone.
  std::atomic<bool> backup_is_made_ = false;
  std::atomic<bool> backup_is_given_up_ = false;

  // Taken before mutex_. Held by whoever adds names to tables_.
  Mutex creation_mutex_;

  mutable SharedMutex mutex_;
  absl::flat_hash_map<std::string, TableHandle> tables_
      QUIRE_GUARDED_BY(mutex_);

  // Their threads end before what they work on. Pushes are applied by threads
  // of their own, on which nothing waits for a push.
  std::unique_ptr<WorkerPool> appliers_;
  std::unique_ptr<journal::Log> log_;
  std::unique_ptr<RoomQueue> room_queue_;
  // One thread that waits for syncs.
  std::unique_ptr<WorkerPool> waiting_;
  std::unique_ptr<Snapshots> snapshots_;
  std::unique_ptr<Scrubber> scrubber_;
  WorkerPool workers_;
  std::unique_ptr<PositionQueue> position_queue_;
};

class Engine::Import {
 public:
  ~Import();

  const LiveTable& table() const { return *table_; }

  // The next rows, by id.
  //   values  float32 [n, dim], finite unless the table allows others
  //   state   float32 [n, state_floats], likewise; or empty: initial state
  //   labels  [n], or empty for none
  absl::Status Write(std::span<const float> values,
                     std::span<const float> state,
                     std::span<const std::string_view> labels);

  // The table appears. INVALID_ARGUMENT unless every row was written,
  // ALREADY_EXISTS if another table took the name meanwhile.
  absl::StatusOr<TableHandle> Publish();

 private:
  friend class Engine;

  // The rows and labels that the table has go through the log as they are.
  absl::Status WriteAll();
  // The table, of which all is written, takes the place of another one. Returns
  // the LSN of that.
  absl::StatusOr<uint64_t> PublishInPlaceOf(LiveTable& replaced);

  Import(Engine& engine, TableHandle table, int64_t step)
      : engine_(engine), table_(std::move(table)), step_(step) {}

  Engine& engine_;
  const TableHandle table_;
  const int64_t step_;
  // Rows written so far: the next one's id.
  int64_t next_id_ = 0;
  bool is_published_ = false;
};

}  // namespace quire
