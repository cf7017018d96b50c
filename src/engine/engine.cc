#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/faults.h"
#include "base/limits.h"
#include "base/status.h"
#include "engine/recovery.h"
#include "engine/stored.h"
#include "engine/table_spec.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {
namespace {

// Below this many floats a table is filled by the thread that creates it: it
// takes about a millisecond.
constexpr int64_t kFillInlineFloats = int64_t{1} << 18;

constexpr int64_t kFillingRetryMs = 50;

// A TableUid or a SessionId.
template <typename Id>
Id FreshId() {
  static thread_local std::random_device random;
  Id id;
  for (uint8_t& byte : id.bytes) {
    byte = static_cast<uint8_t>(random());
  }
  return id;
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : options_(options),
      kernels_(*options.kernels),
      stripes_(std::make_shared<kernels::Stripes>()),
      shared_budget_(std::make_shared<MemoryBudget>(options.table_bytes_max)),
      budget_(*shared_budget_),
      workers_(options.worker_count) {}

Engine::Engine(const Engine& live, Aside)
    : options_(live.options_),
      kernels_(live.kernels_),
      stripes_(live.stripes_),
      shared_budget_(live.shared_budget_),
      budget_(*shared_budget_),
      workers_(live.workers_.thread_count()) {}

TableUid Engine::FreshUid() { return FreshId<TableUid>(); }

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(
    const EngineOptions& options, std::unique_ptr<DataDirectory> directory) {
  auto engine = std::make_unique<Engine>(options);
  RecoveryProgress progress;
  QUIRE_RETURN_IF_ERROR(engine->Recover(std::move(directory), progress));
  return engine;
}

absl::Status Engine::Recover(std::unique_ptr<DataDirectory> directory,
                             RecoveryProgress& progress) {
  directory_ = std::move(directory);
  Recovery recovery(*this, progress);
  QUIRE_ASSIGN_OR_RETURN(const journal::LogEnd end, recovery.Run(*directory_));
  QUIRE_ASSIGN_OR_RETURN(
      log_, journal::Log::Start(directory_->log(), directory_->identity(), end,
                                options_.log));
  QUIRE_KILL_POINT("recovery_log_started");
  appliers_ = std::make_unique<WorkerPool>(options_.worker_count);
  room_queue_ = std::make_unique<RoomQueue>(*log_);
  waiting_ = std::make_unique<WorkerPool>(1);
  position_queue_ = std::make_unique<PositionQueue>(*log_, workers_);
  sequencer_.SetLog(log_.get());
  damaged_snapshots_ = recovery.damaged_snapshots();
  recovery_rates_ = progress.rates();
  epoch_ends_ = recovery.epoch_ends();
  snapshots_ = std::make_unique<Snapshots>(
      sequencer_, *directory_, *log_, budget_,
      Snapshots::Recovered{.newest_lsn = recovery.snapshot_lsn(),
                           .newest_bytes = recovery.snapshot_bytes(),
                           .log_bytes = progress.log_bytes(),
                           .memory_number = recovery.memory_number(),
                           .epoch_ends = recovery.epoch_ends(),
                           .damaged = recovery.damaged_by_lsn()},
      options_.snapshots);
  scrubber_ = std::make_unique<Scrubber>(*directory_, *snapshots_);
  return absl::OkStatus();
}

double Engine::EstimatedRecoverySeconds() const {
  return recovery_rates_.SecondsFor(snapshots_->newest_bytes(),
                                    snapshots_->log_bytes_since());
}

Engine::~Engine() {
  WriterLock lock(mutex_);
  for (auto& [name, table] : tables_) {
    table->Abandon();
  }
}

// --- Tables ---

absl::StatusOr<TableHandle> Engine::MakeTable(const TableUid& uid,
                                              const v1::TableSpec& normalized,
                                              const TableUid& origin) {
  const TableConfig config = ConfigOf(normalized);
  // Each factor is bounded (limits.h), their product is not.
  const double bytes =
      static_cast<double>(config.num_embeddings + config.shard_count) *
      static_cast<double>(config.dim +
                          config.optimizer.StateFloats(config.dim)) *
      sizeof(float);
  const auto limit = static_cast<double>(budget_.bytes_max());
  if (bytes > 2 * limit) {
    return Error(
        Reason::kTooLarge,
        fmt::format("table '{}' needs about {:.0f} bytes; this server's tables "
                    "may take {}. Raise --memory-limit, or make it smaller",
                    normalized.name(), bytes, budget_.bytes_max()),
        "spec.num_embeddings");
  }
  const int64_t needed = Table::ValueBytes(config) + Table::StateBytes(config);
  if (needed > budget_.bytes_max()) {
    return Error(
        Reason::kTooLarge,
        fmt::format("table '{}' needs {} bytes; this server's tables may take "
                    "{}. Raise --memory-limit, or make it smaller",
                    normalized.name(), needed, budget_.bytes_max()),
        "spec.num_embeddings");
  }
  MemoryBudget::Charge charge;
  if (!budget_.TryCharge(needed, charge)) {
    return Error(
        Reason::kMemoryFull,
        fmt::format("table '{}' needs {} bytes; of {} that tables may take, {} "
                    "are in use. Drop a table, or raise --memory-limit",
                    normalized.name(), needed, budget_.bytes_max(),
                    budget_.bytes_used()),
        "spec.num_embeddings");
  }
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Table> rows,
                         Table::Make(config, kernels_, *stripes_));
  return std::make_shared<LiveTable>(uid, origin, normalized, std::move(rows),
                                     std::move(charge), budget_);
}

void Engine::Fill(const TableHandle& table) {
  const TableConfig& config = table->rows().config();
  const bool is_small = config.num_embeddings * config.dim <= kFillInlineFloats;
  for (int32_t shard = 0; shard < config.shard_count; ++shard) {
    const ShardId id{static_cast<uint32_t>(shard)};
    if (is_small) {
      table->FillShard(id, /*initial_values=*/true);
      continue;
    }
    workers_.Post([table, id] {
      if (!table->abandoned()) {
        table->FillShard(id, /*initial_values=*/true);
      }
    });
  }
}

absl::Status Engine::CheckRoomFor(std::string_view name) const {
  ReaderLock lock(mutex_);
  if (tables_.contains(absl::string_view(name.data(), name.size()))) {
    return Error(Reason::kTableExists, fmt::format("table '{}' exists", name),
                 "spec.name");
  }
  if (static_cast<int64_t>(tables_.size()) >= kTableCountMax) {
    return Error(Reason::kMemoryFull,
                 fmt::format("this server has {} tables, and that is its limit",
                             tables_.size()),
                 "spec.name");
  }
  return absl::OkStatus();
}

void Engine::Show(const TableHandle& table) {
  WriterLock lock(mutex_);
  const bool is_new = tables_.emplace(table->name(), table).second;
  QUIRE_CHECK(is_new, "names are added under creation_mutex_");
}

void Engine::Hide(LiveTable& table) {
  table.Abandon();
  WriterLock lock(mutex_);
  tables_.erase(table.name());
}

void Engine::ShowInPlaceOf(LiveTable& replaced, const TableHandle& table) {
  replaced.Abandon();
  WriterLock lock(mutex_);
  tables_[table->name()] = table;
}

absl::StatusOr<Engine::Created> Engine::CreateTable(const v1::TableSpec& spec,
                                                    v1::IfExists if_exists) {
  QUIRE_ASSIGN_OR_RETURN(v1::TableSpec full,
                         Normalize(spec, directory_ != nullptr));
  if (!v1::IfExists_IsValid(if_exists)) {
    return Error(Reason::kBadValue,
                 fmt::format("if_exists is {}, which this version does not "
                             "know",
                             static_cast<int>(if_exists)),
                 "if_exists");
  }
  // One creator at a time: another of the same table would be told that there
  // is no memory while the first, whose table it could have, holds it.
  MutexLock lock(creation_mutex_);
  if (absl::StatusOr<TableHandle> existing = FindAny(full.name());
      existing.ok()) {
    if (if_exists != v1::IF_EXISTS_VERIFY) {
      return Error(Reason::kTableExists,
                   fmt::format("table '{}' exists", full.name()), "spec.name");
    }
    QUIRE_RETURN_IF_ERROR(CheckSame(Describe(**existing).spec(), full));
    return Created{.table = *std::move(existing), .is_new = false};
  }
  QUIRE_RETURN_IF_ERROR(CheckRoomFor(full.name()));
  const TableUid uid = FreshUid();
  QUIRE_ASSIGN_OR_RETURN(TableHandle table, MakeTable(uid, full, uid));
  storage::v1::CreateTableRecord record;
  record.set_uid(BytesOf(table->uid()));
  *record.mutable_spec() = full;
  QUIRE_RETURN_IF_ERROR(
      Commit(RecordType::kCreateTable, record, [&](Sequencer::Change* change) {
        return sequencer_.Add(change, table, Sequencer::SettingsOf(full),
                              /*is_import=*/false);
      }));
  Show(table);
  Fill(table);
  return Created{.table = std::move(table), .is_new = true};
}

absl::StatusOr<TableHandle> Engine::FindAny(
    std::string_view name, const std::optional<TableUid>& uid) const {
  QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckTableName(name), "table."));
  TableHandle table;
  {
    ReaderLock lock(mutex_);
    const auto found =
        tables_.find(absl::string_view(name.data(), name.size()));
    if (found != tables_.end()) {
      table = found->second;
    }
  }
  if (table == nullptr) {
    return NoSuchTable(name);
  }
  if (uid && *uid != table->uid()) {
    return TableReplaced(name);
  }
  return table;
}

absl::StatusOr<TableHandle> Engine::Find(
    std::string_view name, const std::optional<TableUid>& uid) const {
  QUIRE_ASSIGN_OR_RETURN(TableHandle table, FindAny(name, uid));
  if (!table->ready()) {
    return WithRetryAfterMs(
        Error(Reason::kFilling,
              fmt::format("table '{}' is being filled with its initial rows: "
                          "{:.0f} % done; try again",
                          name, 100 * table->filled()),
              "table.name"),
        kFillingRetryMs);
  }
  return table;
}

std::vector<TableHandle> Engine::List() const {
  std::vector<TableHandle> tables;
  {
    ReaderLock lock(mutex_);
    for (const auto& [name, table] : tables_) {
      tables.push_back(table);
    }
  }
  std::ranges::sort(tables, {}, [](const TableHandle& table) {
    return std::string_view(table->name());
  });
  return tables;
}

absl::StatusOr<TableUid> Engine::DropTable(std::string_view name,
                                           const std::optional<TableUid>& uid) {
  QUIRE_ASSIGN_OR_RETURN(TableHandle table, FindAny(name, uid));
  storage::v1::DropTableRecord record;
  record.set_uid(BytesOf(table->uid()));
  // Only one of several droppers finds it in the order.
  QUIRE_RETURN_IF_ERROR(
      Commit(RecordType::kDropTable, record, [&](Sequencer::Change* change) {
        return sequencer_.Remove(change, table->uid(), table->name());
      }));
  Hide(*table);
  return table->uid();
}

absl::Status Engine::AlterTable(const LiveTable& table,
                                const Sequencer::Alteration& alteration) {
  storage::v1::AlterTableRecord record;
  record.set_uid(BytesOf(table.uid()));
  if (alteration.learning_rate) {
    QUIRE_RETURN_IF_ERROR(
        CheckLearningRate(*alteration.learning_rate, "learning_rate"));
    record.set_learning_rate(*alteration.learning_rate);
  }
  if (alteration.frozen) {
    record.set_frozen(*alteration.frozen);
  }
  if (alteration.default_durability) {
    QUIRE_RETURN_IF_ERROR(CheckDefaultDurability(
        *alteration.default_durability, table.created_spec().persistence(),
        "default_durability"));
    record.set_default_durability(*alteration.default_durability);
  }
  return Commit(
      RecordType::kAlterTable, record, [&](Sequencer::Change* change) {
        return sequencer_.Alter(change, table.uid(), table.name(), alteration);
      });
}

v1::Table Engine::Describe(const LiveTable& table) const {
  v1::Table description;
  description.set_uid(BytesOf(table.uid()));
  description.set_origin_uid(BytesOf(table.origin()));
  *description.mutable_spec() = table.created_spec();
  if (std::optional<Sequencer::State> state = sequencer_.StateOf(table.uid())) {
    v1::TableSpec& spec = *description.mutable_spec();
    spec.mutable_optimizer()->set_learning_rate(state->settings.learning_rate);
    spec.set_frozen(state->settings.frozen);
    spec.set_default_durability(state->settings.default_durability);
    description.set_step(state->step);
    if (table.is_logged() && state->last_lsn > 0) {
      description.set_last_change_lsn(state->last_lsn);
    }
  }
  description.set_state(table.ready() ? v1::TABLE_STATE_READY
                                      : v1::TABLE_STATE_FILLING);
  description.set_filled(table.filled());
  if (const int64_t saved = table.saved_unix_seconds(); saved > 0) {
    description.set_saved_unix_seconds(saved);
  }

  const TableConfig& config = table.rows().config();
  const LiveTable::Counters& counters = table.counters();
  v1::TableStats& stats = *description.mutable_stats();
  stats.set_row_count(config.num_embeddings);
  stats.set_value_bytes(Table::ValueBytes(config));
  stats.set_state_bytes(Table::StateBytes(config));
  stats.set_label_bytes(table.labels().bytes());
  stats.set_label_count(table.labels().count());
  stats.set_lookups(counters.lookups.load(std::memory_order_relaxed));
  stats.set_rows_looked_up(
      counters.rows_looked_up.load(std::memory_order_relaxed));
  stats.set_pushes(counters.pushes.load(std::memory_order_relaxed));
  stats.set_rows_changed(counters.rows_changed.load(std::memory_order_relaxed));
  stats.set_rows_skipped(counters.rows_skipped.load(std::memory_order_relaxed));
  return description;
}

// --- Through the log ---

absl::Status Engine::Commit(RecordType type, std::span<const Bytes> payload,
                            const Sequence& sequence) {
  if (directory_ == nullptr) {
    return sequence(nullptr).status();
  }
  WaitingChange change(type, payload);
  while (true) {
    QUIRE_ASSIGN_OR_RETURN(const bool is_sequenced, sequence(&change));
    if (is_sequenced) {
      return change.WaitForTurn();
    }
    QUIRE_RETURN_IF_ERROR(log_->WaitForRoom(change.payload_bytes()));
  }
}

absl::Status Engine::Commit(RecordType type,
                            const google::protobuf::MessageLite& record,
                            const Sequence& sequence) {
  const std::string bytes = record.SerializeAsString();
  const Bytes payload = std::as_bytes(std::span(bytes));
  return Commit(type, {&payload, 1}, sequence);
}

absl::StatusOr<ChangePlace> Engine::CommitWrite(
    const LiveTable& table, RecordType type, std::span<const Bytes> payload) {
  if (!table.is_logged()) {
    return sequencer_.SequenceWrite(table.uid(), table.name());
  }
  ChangePlace place{Ticket{0}};
  QUIRE_RETURN_IF_ERROR(Commit(
      type, payload, [&](Sequencer::Change* change) -> absl::StatusOr<bool> {
        QUIRE_ASSIGN_OR_RETURN(
            const std::optional<Ticket> ticket,
            sequencer_.SequenceLoggedWrite(*change, table.uid(), table.name()));
        place = {ticket.value_or(place.ticket), change->lsn()};
        return ticket.has_value();
      }));
  return place;
}

// --- Rows ---

absl::Status Engine::CheckFinite(const Table& table,
                                 std::span<const float> numbers,
                                 int64_t columns,
                                 std::string_view field) const {
  if (table.config().non_finite_policy == NonFinitePolicy::kAllow) {
    return absl::OkStatus();
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(numbers.data());
  const size_t bad = kernels_.first_non_finite(bytes, numbers.size());
  if (bad == numbers.size()) {
    return absl::OkStatus();
  }
  const auto at = static_cast<int64_t>(bad);
  return Error(Reason::kNonFinite,
               fmt::format("{}: row {}, column {} is {}; nothing was changed",
                           field, at / columns, at % columns, numbers[bad]),
               field);
}

absl::Status Engine::WriteRows(LiveTable& table, std::span<const int64_t> ids,
                               std::span<const float> values,
                               std::span<const float> state) {
  QUIRE_RETURN_IF_ERROR(table.CheckIds(ids));
  std::vector<int64_t> sorted(ids.begin(), ids.end());
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted);
      twice != sorted.end()) {
    return Error(Reason::kBadValue,
                 fmt::format("table '{}': id {} is written twice in one "
                             "request",
                             table.name(), *twice),
                 "ids.ids");
  }
  QUIRE_RETURN_IF_ERROR(
      CheckFinite(table.rows(), values, table.dim(), "values"));
  QUIRE_RETURN_IF_ERROR(
      CheckFinite(table.rows(), state, table.rows().state_floats(), "state"));
  return WriteCheckedRows(table, ids, values, state);
}

absl::Status Engine::WriteCheckedRows(LiveTable& table,
                                      std::span<const int64_t> ids,
                                      std::span<const float> values,
                                      std::span<const float> state) {
  const WriteRowsRecordBytes record(
      {.table = table.uid(), .ids = ids, .values = values, .state = state});
  QUIRE_ASSIGN_OR_RETURN(
      const ChangePlace place,
      CommitWrite(table, RecordType::kWriteRows, record.pieces()));
  table.rows().WriteRows(ids, values.data(),
                         state.empty() ? nullptr : state.data(), place);
  table.NoteApplied(place.lsn);
  return absl::OkStatus();
}

absl::Status Engine::SetLabels(LiveTable& table, std::span<const int64_t> ids,
                               std::span<const std::string_view> labels) {
  QUIRE_ASSIGN_OR_RETURN(RowLabels::Room room, table.labels().Reserve(labels));
  storage::v1::SetLabelsRecord record;
  record.set_uid(BytesOf(table.uid()));
  record.mutable_ids()->Add(ids.begin(), ids.end());
  for (const std::string_view label : labels) {
    record.add_labels(label.data(), label.size());
  }
  const std::string bytes = record.SerializeAsString();
  const Bytes payload = std::as_bytes(std::span(bytes));
  QUIRE_ASSIGN_OR_RETURN(
      const ChangePlace place,
      CommitWrite(table, RecordType::kSetLabels, {&payload, 1}));
  table.rows().InTurn(
      place, [&] { table.labels().Set(ids, labels, std::move(room)); });
  table.NoteApplied(place.lsn);
  return absl::OkStatus();
}

// --- Sessions ---

absl::StatusOr<SessionId> Engine::OpenSession() {
  const auto session = FreshId<SessionId>();
  storage::v1::OpenSessionRecord record;
  record.set_session_id(BytesOf(session));
  QUIRE_RETURN_IF_ERROR(
      Commit(RecordType::kOpenSession, record, [&](Sequencer::Change* change) {
        return sequencer_.OpenSession(change, session);
      }));
  return session;
}

absl::Status Engine::CloseSession(const SessionId& session) {
  storage::v1::CloseSessionRecord record;
  record.set_session_id(BytesOf(session));
  return Commit(RecordType::kCloseSession, record,
                [&](Sequencer::Change* change) {
                  return sequencer_.CloseSession(change, session);
                });
}

// --- Snapshots ---

absl::StatusOr<uint64_t> Engine::CreateSnapshot() {
  if (snapshots_ == nullptr) {
    return Error(Reason::kUnsupportedDurability,
                 "this server has no data directory; start it with --data-dir");
  }
  return snapshots_->Make();
}

absl::Status Engine::SaveMemoryTables(
    std::chrono::steady_clock::time_point deadline) {
  if (snapshots_ == nullptr) {
    return absl::OkStatus();
  }
  scrubber_->Stop();
  return snapshots_->EndWithSave(deadline);
}

}  // namespace quire
