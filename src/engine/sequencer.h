// The one order of changes, and the last place that can refuse one.
//
// Everything about a change is checked before it comes here. Here, under one
// short mutex, it is seen whether its tables are still there and not frozen,
// and whether it has come before; then each table gives it a ticket, and a push
// a step, the log gives it an LSN, and nothing fails any more but the disk.
//
// A change of LOGGED tables, and of the catalog, is in the log before it is
// made:
//
//   sequenced ──log──► reached ──its turn──► begun ──► applied
//
// It is reached when the log says so: written, or synced if it asked for that.
// It has its turn when all earlier changes of its tables have begun; one that
// waits for a sync holds up its own tables and no others. Those that have begun
// pass the shards of a table in the order of their tickets. Tickets of all
// tables of a change are taken at once, so changes that share tables pass all
// of them in the same order, and nobody waits in a circle.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/mutex.h"
#include "engine/live_table.h"
#include "engine/session_table.h"
#include "journal/log.h"
#include "quire/v1/table.pb.h"
#include "table/turnstile.h"

namespace quire {

class Sequencer {
 public:
  // What of a table changes with the order of changes.
  struct Settings {
    double learning_rate = 0.0;
    bool frozen = false;
    // Of pushes that ask for nothing.
    v1::Durability default_durability = v1::DURABILITY_MEMORY;
  };
  static Settings SettingsOf(const v1::TableSpec& spec) {
    return {.learning_rate = spec.optimizer().learning_rate(),
            .frozen = spec.frozen(),
            .default_durability = spec.default_durability()};
  }
  // What of them an alteration changes.
  struct Alteration {
    std::optional<double> learning_rate;
    std::optional<bool> frozen;
    std::optional<v1::Durability> default_durability;
  };

  // One table's part of a push.
  struct PushIntent {
    TableUid uid;
    std::string_view name;  // for the error
    std::optional<double> learning_rate;
  };

  // A part's place in its table's order.
  struct PushPlace {
    Ticket ticket;
    int64_t step;          // 1 on the first push
    double learning_rate;  // the intent's, or the table's
  };

  // The push had been sequenced before.
  struct Duplicate {
    uint64_t lsn = 0;  // 0: of MEMORY tables
    // It is being applied: WhenApplied says when it has been.
    bool is_in_flight = false;
  };

  class Change;

  // Changes are logged from here on: before the first of them. The log outlives
  // the last one.
  void SetLog(journal::Log* log);

  // --- Pushes ---

  struct PushOrder {
    // [intents], unless it is a duplicate.
    std::vector<PushPlace> places;
    std::optional<Duplicate> duplicate;
  };
  // A place for each part of a push of MEMORY tables, no table twice; all or
  // none. NOT_FOUND for a table that has ended, FAILED_PRECONDITION for one
  // that was replaced or is frozen, whose index goes to *refused. See
  // SessionTable for what the name of a push may be refused for. A push with a
  // name is to be Finished.
  absl::StatusOr<PushOrder> SequencePush(std::span<const PushIntent> intents,
                                         const std::optional<PushId>& id,
                                         size_t* refused);
  // It has been applied, or has failed and is in doubt.
  void Finished(const PushId& id, const absl::Status& status);

  // The same for one of LOGGED tables, by a Change. False: the log has no room
  // now; wait for it, and try again. `place` is told the places, and the
  // highest of the tables' own durabilities, before the record is appended,
  // under the sequencer's mutex.
  struct LoggedOrder {
    bool is_sequenced = false;
    std::optional<Duplicate> duplicate;
  };
  absl::StatusOr<LoggedOrder> SequenceLoggedPush(
      Change& change, std::span<const PushIntent> intents,
      const std::optional<PushId>& id,
      const std::function<void(std::span<const PushPlace>, v1::Durability)>&
          place,
      size_t* refused);

  // The push of this name, if it has been sequenced. Errors as for a push.
  absl::StatusOr<std::optional<Duplicate>> FindPush(const PushId& id) const;

  // Calls `done` when a push that was in flight has been applied, or has
  // failed; now, if that is so.
  void WhenApplied(const PushId& id, std::function<void(absl::Status)> done);

  // --- Rows and labels ---

  // A place for a change of a MEMORY table that is no step.
  absl::StatusOr<Ticket> SequenceWrite(const TableUid& uid,
                                       std::string_view name);
  // Of a LOGGED one; see SequenceLoggedPush.
  absl::StatusOr<std::optional<Ticket>> SequenceLoggedWrite(
      Change& change, const TableUid& uid, std::string_view name);

  // --- The catalog ---

  // Each has its record in the log if there is a `change`: nullopt or false
  // then mean that the log has no room now.

  // A table begins. Its first step is 1.
  //   next_ticket  how many changes its rows have seen
  absl::StatusOr<bool> Add(Change* change, const TableHandle& table,
                           const Settings& settings, bool is_import,
                           Ticket next_ticket = Ticket{0});
  // The table of an import is whole, and has made `step` steps.
  absl::StatusOr<bool> Publish(Change* change, const TableUid& uid,
                               int64_t step);
  // The same, and it takes the place of `replaced`, which ends
  // with this, and whose settings it takes over. NOT_FOUND, TABLE_REPLACED if
  // that has ended before.
  absl::StatusOr<bool> PublishInPlaceOf(const LiveTable& replaced,
                                        Change* change, const TableUid& uid,
                                        int64_t step);
  // A table ends: later changes of it are refused. NOT_FOUND if it had.
  absl::StatusOr<bool> Remove(Change* change, const TableUid& uid,
                              std::string_view name);
  // Changes what is given, from the next push on.
  absl::StatusOr<bool> Alter(Change* change, const TableUid& uid,
                             std::string_view name,
                             const Alteration& alteration);
  // As of now; nullopt for a table that has ended.
  struct State {
    Settings settings;
    int64_t step = 0;
    // The last change of its rows, labels or step; 0 if that is not known. Of a
    // LOGGED table.
    uint64_t last_lsn = 0;
  };
  std::optional<State> StateOf(const TableUid& uid) const;
  // Between two changes.
  struct Moment {
    // The last change of all before; 0 without a log.
    uint64_t lsn = 0;
    // Those of the table before have earlier ones.
    Ticket next_ticket{0};
    int64_t step = 0;
  };
  // Now; nullopt for a table that has ended.
  std::optional<Moment> MomentOf(const TableUid& uid) const;

  // --- Sessions ---

  absl::StatusOr<bool> OpenSession(Change* change, const SessionId& session);
  // FAILED_PRECONDITION (SESSION_EXPIRED) if there is none.
  absl::StatusOr<bool> CloseSession(Change* change, const SessionId& session);
  size_t session_count() const;

  // --- Snapshots and replay ---

  // All that there is between two changes.
  struct Image {
    struct OfTable {
      TableHandle table;
      State state;
      // All changes up to `lsn` have earlier ones.
      Ticket next_ticket{0};
      bool is_import = false;
    };
    struct OfSession {
      SessionId id;
      // To tables of the image.
      std::vector<SessionTable::Push> pushes;
    };
    // The last change before.
    uint64_t lsn = 0;
    std::vector<OfTable> tables;
    std::vector<OfSession> sessions;
  };
  // With a log. From here on the shards of its LOGGED tables are copied: see
  // Shard::SetCopied.
  Image TakeImage() const;
  // Of MEMORY tables that serve, and pushes to them. From here on they are
  // copied as of their tickets: see Shard::BeginCopyAsOf, and `budget` there.
  // No table is an import, and the LSN is 0.
  Image TakeMemoryImage(MemoryBudget& budget) const;
  // How often MEMORY tables have been changed: no LSN tells.
  uint64_t memory_change_count() const;

  // Before the log is there: the LSN of the record that is replayed next.
  void SetReplayed(uint64_t lsn);
  // Before the first change: a table and its step, a session's push.
  void Restore(const Image::OfTable& table);
  void ReplayPushId(const PushId& id, uint64_t lsn);
  // Of a MEMORY table whose rows are those of so many steps.
  void RestoreStep(const TableUid& uid, int64_t step);
  // Of a push to MEMORY tables, if its session is there and knows the number
  // to be free.
  void RestorePushId(const PushId& id);
  // A push of the log: what SequencePush gave it then.
  absl::StatusOr<Ticket> ReplayPush(const TableUid& uid, int64_t step);
  // As if nothing had been.
  void Reset();

 private:
  struct TableOrder {
    TableHandle table;
    Settings settings;
    bool is_import = false;
    int64_t step = 0;
    uint64_t last_lsn = 0;
    uint64_t next_ticket = 0;
    // Logged changes that have not begun, in their order.
    std::deque<Change*> waiting;

    State state() const {
      return {.settings = settings, .step = step, .last_lsn = last_lsn};
    }
  };
  using TableOrders =
      absl::flat_hash_map<std::array<uint8_t, 16>, std::shared_ptr<TableOrder>>;
  using PushName = std::pair<std::array<uint8_t, 16>, uint64_t>;
  static PushName NameOf(const PushId& id) {
    return {id.session.bytes, id.sequence};
  }

  // Sessions, and their pushes to LOGGED tables or to MEMORY tables.
  std::vector<Image::OfSession> SessionsOf(bool logged) const
      QUIRE_REQUIRES(mutex_);

  // NOT_FOUND, or TABLE_REPLACED if another table has the name by now.
  absl::StatusOr<std::shared_ptr<TableOrder>> Find(const TableUid& uid,
                                                   std::string_view name) const
      QUIRE_REQUIRES(mutex_);
  // In the order of intents; all can take a push.
  absl::StatusOr<std::vector<std::shared_ptr<TableOrder>>> FindForPush(
      std::span<const PushIntent> intents, size_t* refused) const
      QUIRE_REQUIRES(mutex_);
  absl::StatusOr<std::optional<Duplicate>> FindPushLocked(
      const PushId& id) const QUIRE_REQUIRES(mutex_);
  static std::vector<PushPlace> TakePlaces(
      std::span<const PushIntent> intents,
      std::span<const std::shared_ptr<TableOrder>> orders);

  // Whether the log takes the change now. The error is LOG_FAILED, DISK_FULL or
  // LOG_FULL.
  absl::StatusOr<bool> HasRoom(const Change* change) QUIRE_REQUIRES(mutex_);
  void AppendLocked(Change& change,
                    std::vector<std::shared_ptr<TableOrder>> tables)
      QUIRE_REQUIRES(mutex_);

  // By the log.
  void Reached(Change& change, const absl::Status& status);
  bool HasTurn(const Change& change) const QUIRE_REQUIRES(mutex_);
  // Begins the change, and those that waited for it.
  void Begin(Change& change) QUIRE_REQUIRES(mutex_);

  mutable Mutex mutex_;
  journal::Log* log_ QUIRE_GUARDED_BY(mutex_) = nullptr;
  // Of the log, or of what is replayed.
  uint64_t last_lsn_ QUIRE_GUARDED_BY(mutex_) = 0;
  // By uid.
  TableOrders orders_ QUIRE_GUARDED_BY(mutex_);
  SessionTable sessions_ QUIRE_GUARDED_BY(mutex_){kSessionCountMax};
  uint64_t memory_change_count_ QUIRE_GUARDED_BY(mutex_) = 0;
  // Pushes with names that have not been applied, and who waits for them. Those
  // that failed stay: they are in doubt.
  absl::flat_hash_map<PushName, std::vector<std::function<void(absl::Status)>>>
      in_flight_ QUIRE_GUARDED_BY(mutex_);
  // Reached, and waiting for their turn.
  absl::flat_hash_set<Change*> reached_ QUIRE_GUARDED_BY(mutex_);
  // OK, or why the log has failed: no change begins any more.
  absl::Status failure_ QUIRE_GUARDED_BY(mutex_);
};

// A change on its way through the log. It stays where it is until Begin has led
// to its end, or Fail was called.
class Sequencer::Change : public journal::LogEntry {
 public:
  Change() = default;
  virtual ~Change() = default;

  // It is its turn: the change may be made. Called once, under the sequencer's
  // mutex: hands it to a thread that is free to make it, in the order of calls.
  virtual void Begin() = 0;
  // It is in doubt and is never made. Called once.
  virtual void Fail(const absl::Status& status) = 0;

  // What the log is to hold. Before it is sequenced.
  //   payload  see LogEntry::Fill
  void SetRecord(uint8_t type, std::span<const Bytes> payload,
                 bool wants_sync) {
    Fill(type, payload, wants_sync);
  }

 private:
  friend class Sequencer;
  void Reached(const absl::Status& status) final {
    sequencer_->Reached(*this, status);
  }

  Sequencer* sequencer_ = nullptr;
  std::vector<std::shared_ptr<TableOrder>> tables_;
  bool is_reached_ = false;
};

// NOT_FOUND, as everyone says it.
absl::Status NoSuchTable(std::string_view name);
// TABLE_REPLACED, likewise.
absl::Status TableReplaced(std::string_view name);

}  // namespace quire
