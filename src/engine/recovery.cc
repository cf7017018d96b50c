#include "engine/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/faults.h"
#include "base/limits.h"
#include "base/status.h"
#include "engine/push.h"
#include "engine/records.h"
#include "engine/stored.h"
#include "journal/snapshots.h"

namespace quire {
namespace {

// The error of a log that is damaged, and who can say more.
absl::Status WithNextStep(const absl::Status& error,
                          const DataDirectory& directory) {
  if (ReasonOf(error) != Reason::kCorrupt) {
    return error;
  }
  return Error(
      Reason::kCorrupt,
      fmt::format(
          "{}. 'quire log verify --data-dir {}' says what can be saved",
          std::string_view(error.message().data(), error.message().size()),
          directory.path()));
}

}  // namespace

absl::StatusOr<journal::LogEnd> Recovery::Run(DataDirectory& directory) {
  QUIRE_KILL_POINT("recovery_begun");
  QUIRE_RETURN_IF_ERROR(journal::RemoveDrafts(directory.snapshots()));
  const absl::StatusOr<journal::LogReader> opened =
      journal::LogReader::Open(directory.log(), directory.identity());
  if (!opened.ok()) {
    return WithNextStep(opened.status(), directory);
  }
  const journal::LogReader& reader = *opened;
  QUIRE_RETURN_IF_ERROR(LoadNewestSnapshot(directory, reader));
  if (reader.first_lsn() > snapshot_lsn_ + 1) {
    std::string why;
    for (const std::string& damaged : damaged_snapshots_) {
      why += " " + damaged;
    }
    return Error(
        Reason::kCorrupt,
        fmt::format("the log of {} begins at LSN {}, and {}: what was between "
                    "is gone. Put back a copy of the snapshots.{}",
                    directory.path(), reader.first_lsn(),
                    snapshot_lsn_ == 0
                        ? "there is no snapshot that is whole"
                        : fmt::format("the newest snapshot that is whole is "
                                      "of LSN {}",
                                      snapshot_lsn_),
                    why));
  }
  progress_.BeginLog();
  journal::LogEnd end;
  absl::Status replayed;
  const absl::Status read = reader.ReadTo(
      snapshot_lsn_ + 1,
      [&](const journal::LogRecord& record) {
        replayed = CheckIsWanted();
        if (replayed.ok()) {
          replayed = Replay(record);
        }
        progress_.SetLogBytes(record.bytes_read);
        return replayed;
      },
      end);
  QUIRE_RETURN_IF_ERROR(replayed);
  if (!read.ok()) {
    return WithNextStep(read, directory);
  }
  QUIRE_RETURN_IF_ERROR(CheckIsWanted());
  if (end.next_lsn <= snapshot_lsn_) {
    return Error(Reason::kCorrupt,
                 fmt::format("the log of {} ends before LSN {}, of which there "
                             "is a snapshot: its files are not all there. Put "
                             "them back",
                             directory.path(), end.next_lsn));
  }
  DropImports();
  LearnEpochEnds(end);
  progress_.End();
  // Not in the figures of the progress, which end before it.
  QUIRE_RETURN_IF_ERROR(LoadNewestSave(directory));
  QUIRE_KILL_POINT("recovery_log_replayed");
  return end;
}

void Recovery::LearnEpochEnds(const journal::LogEnd& end) {
  for (size_t i = 0; i + 1 < end.kept.size(); ++i) {
    if (end.kept[i].epoch != end.kept[i + 1].epoch) {
      epoch_ends_[end.kept[i].epoch] = end.kept[i + 1].first_lsn - 1;
    }
  }
  if (end.epoch > 0) {
    epoch_ends_[end.epoch] = end.next_lsn - 1;
  }
  while (epoch_ends_.size() > kEpochsMax) {
    epoch_ends_.erase(epoch_ends_.begin());
  }
}

absl::Status Recovery::CheckIsWanted() const {
  return progress_.is_cancelled()
             ? Error(Reason::kStopping,
                     "the server is stopping: what it has on disk is as it was")
             : absl::OkStatus();
}

void Recovery::Fill(const TableHandle& table, bool initial_values) {
  engine_.workers_.ParallelFor(
      table->rows().config().shard_count, [&](int64_t shard) {
        if (!progress_.is_cancelled()) {
          table->FillShard(ShardId{static_cast<uint32_t>(shard)},
                           initial_values);
        }
      });
}

absl::Status Recovery::RunUntil(DataDirectory& directory,
                                std::span<const journal::KeptSegment> kept,
                                Past past) {
  const uint64_t until_lsn = past.until_lsn;
  past_ = std::move(past);
  QUIRE_ASSIGN_OR_RETURN(
      const journal::LogReader reader,
      journal::LogReader::OpenUntil(directory.log(), directory.identity(), kept,
                                    until_lsn));
  QUIRE_RETURN_IF_ERROR(LoadNewestSnapshot(directory, reader));
  if (kept.front().first_lsn > snapshot_lsn_ + 1) {
    return NotKept(kept.front().first_lsn);
  }
  QUIRE_RETURN_IF_ERROR(reader.ReadUntil(
      snapshot_lsn_ + 1, until_lsn,
      [this](const journal::LogRecord& record) { return Replay(record); }));
  DropImports();
  return absl::OkStatus();
}

absl::Status Recovery::NotKept(uint64_t first_lsn) const {
  std::string what = fmt::format(
      "the log begins at LSN {}, and no snapshot has the table as of one LSN. "
      "Make one: quire snapshot create",
      first_lsn);
  if (oldest_lsn_) {
    what =
        fmt::format("the oldest that can be rebuilt is LSN {}", *oldest_lsn_);
  }
  for (const std::string& damaged : damaged_snapshots_) {
    what += ". Passed over: " + damaged;
  }
  return Error(Reason::kNotKept,
               fmt::format("table '{}' as of LSN {} is not "
                           "kept any more: {}",
                           past_->name, past_->until_lsn, what));
}

// --- Saves of MEMORY tables ---

absl::Status Recovery::LoadNewestSave(DataDirectory& directory) {
  QUIRE_RETURN_IF_ERROR(journal::RemoveDrafts(directory.memory()));
  QUIRE_ASSIGN_OR_RETURN(const journal::SnapshotList list,
                         journal::ListSnapshots(directory.memory()));
  memory_number_ = list.lsns.empty() ? 0 : list.lsns.front();
  for (const uint64_t number : list.lsns) {
    const absl::StatusOr<journal::SnapshotReader> reader =
        journal::SnapshotReader::Open(directory.memory(), directory.identity(),
                                      number);
    // Rows of a part of it would be those of no point: all is looked at first.
    const absl::Status whole = reader.ok() ? reader->Verify() : reader.status();
    if (whole.ok()) {
      return LoadSave(*reader);
    }
    if (ReasonOf(whole) != Reason::kCorrupt &&
        ReasonOf(whole) != Reason::kIoFailed) {
      return whole;
    }
    damaged_snapshots_.emplace_back(whole.message().data(),
                                    whole.message().size());
  }
  return absl::OkStatus();
}

absl::Status Recovery::LoadSave(const journal::SnapshotReader& reader) {
  QUIRE_ASSIGN_OR_RETURN(const auto manifest,
                         Parse<storage::v1::SnapshotManifest>(reader.body()));
  // By stream; null if it is gone.
  std::vector<TableHandle> tables;
  for (const storage::v1::TableState& state : manifest.tables()) {
    QUIRE_ASSIGN_OR_RETURN(const auto uid, IdOf<TableUid>(state.uid()));
    const auto found = tables_.find(uid.bytes);
    tables.push_back(found == tables_.end() ? nullptr : found->second.table);
    if (tables.back() != nullptr) {
      engine_.sequencer_.RestoreStep(uid, state.step());
      tables.back()->SetSaved(manifest.saved_unix_seconds());
    }
  }
  const auto take = [&](const journal::ChunkHeader& header,
                        Bytes payload) -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckIsWanted());
    if (header.stream >= tables.size()) {
      return NotUnderstood("a chunk is of no table");
    }
    return tables[header.stream] == nullptr
               ? absl::OkStatus()
               : LoadChunk(*tables[header.stream], header, payload);
  };
  for (size_t i = 0; i < reader.file_count(); ++i) {
    QUIRE_RETURN_IF_ERROR(reader.ReadFile(i, take));
  }
  for (const storage::v1::SessionState& state : manifest.sessions()) {
    QUIRE_ASSIGN_OR_RETURN(const auto session,
                           IdOf<SessionId>(state.session_id()));
    if (state.hashes_size() != state.sequences_size()) {
      return NotUnderstood("a session's lists have different lengths");
    }
    for (int i = 0; i < state.sequences_size(); ++i) {
      engine_.sequencer_.RestorePushId({.session = session,
                                        .sequence = state.sequences(i),
                                        .hash = state.hashes(i)});
    }
  }
  return absl::OkStatus();
}

// --- The log ---

absl::Status Recovery::Replay(const journal::LogRecord& record) {
  if (record.epoch != epoch_) {
    DropImports();
    epoch_ = record.epoch;
  }
  engine_.sequencer_.SetReplayed(record.lsn);
  const absl::Status status = [&] {
    switch (static_cast<RecordType>(record.type)) {
      case RecordType::kPush:
        return ReplayPush(record);
      case RecordType::kWriteRows:
        return ReplayWriteRows(record);
      case RecordType::kCreateTable:
        return ReplayCreateTable(record.payload);
      case RecordType::kPublishTable:
        return ReplayPublishTable(record.payload);
      case RecordType::kAlterTable:
        return ReplayAlterTable(record.payload);
      case RecordType::kDropTable:
        return ReplayDropTable(record.payload);
      case RecordType::kSetLabels:
        return ReplaySetLabels(record);
      case RecordType::kOpenSession:
        return ReplayOpenSession(record.payload);
      case RecordType::kCloseSession:
        return ReplayCloseSession(record.payload);
    }
    return NotUnderstood(
        fmt::format("this version has no type {}", int{record.type}));
  }();
  QUIRE_KILL_POINT("recovery_record_replayed");
  if (status.ok() || ReasonOf(status) == Reason::kMemoryFull) {
    return status;
  }
  return Error(Reason::kCorrupt,
               fmt::format("the log's record {} (type {}) cannot be replayed: "
                           "{}. Was it written by another version?",
                           record.lsn, int{record.type},
                           std::string_view(status.message().data(),
                                            status.message().size())));
}

TableUid Recovery::UidFor(const TableUid& logged) const {
  return past_ ? Engine::FreshUid() : logged;
}

absl::StatusOr<TableHandle> Recovery::Find(const TableUid& uid) const {
  const auto found = tables_.find(uid.bytes);
  if (found == tables_.end()) {
    return NotUnderstood("its table does not exist");
  }
  return found->second.table;
}

void Recovery::DropImports() {
  absl::erase_if(tables_, [this](const auto& entry) {
    if (entry.second.is_import) {
      engine_.sequencer_
          .Remove(nullptr, entry.second.table->uid(),
                  entry.second.table->name())
          .IgnoreError();
    }
    return entry.second.is_import;
  });
}

absl::Status Recovery::ReplayPush(const journal::LogRecord& record) {
  std::vector<Bytes> gradients;
  QUIRE_ASSIGN_OR_RETURN(const PushRecord logged,
                         ReadPushRecord(record.payload, gradients));
  std::vector<PushPart> parts;
  std::vector<const PushRecordPart*> wanted;
  for (const PushRecordPart& part : logged.parts) {
    if (IsPassedOver(part.table)) {
      continue;
    }
    wanted.push_back(&part);
    QUIRE_ASSIGN_OR_RETURN(TableHandle table, Find(part.table));
    const int64_t rows =
        part.bags ? part.bags->bag_count() : std::ssize(part.ids);
    if (static_cast<int64_t>(part.gradient.size()) !=
        rows * table->dim() * static_cast<int64_t>(sizeof(float))) {
      return NotUnderstood("its gradient is not that of its rows");
    }
    parts.push_back({.table = std::move(table),
                     .ids = part.ids,
                     .gradient = part.gradient,
                     .learning_rate = part.learning_rate,
                     .bags = part.bags,
                     .gradient_scale = part.gradient_scale});
  }
  if (past_ && parts.empty()) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(PreparedPush push,
                         PreparedPush::Make(parts, engine_.kernels_));
  std::vector<Sequencer::PushPlace> places;
  for (size_t group = 0; group < push.group_count(); ++group) {
    const PushRecordPart& first = *wanted[push.positions(group).front()];
    QUIRE_ASSIGN_OR_RETURN(
        const Ticket ticket,
        engine_.sequencer_.ReplayPush(push.table(group).uid(), first.step));
    places.push_back({.ticket = ticket,
                      .step = first.step,
                      .learning_rate = first.learning_rate});
  }
  push.Apply(places, record.lsn);
  if (logged.id && !past_ && !QUIRE_FAULT("pushes_forgotten_on_restart")) {
    engine_.sequencer_.ReplayPushId(*logged.id, record.lsn);
  }
  return absl::OkStatus();
}

absl::Status Recovery::ReplayWriteRows(const journal::LogRecord& record) {
  QUIRE_ASSIGN_OR_RETURN(const WriteRowsRecord rows,
                         ReadWriteRowsRecord(record.payload));
  if (IsPassedOver(rows.table)) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table, Find(rows.table));
  QUIRE_RETURN_IF_ERROR(table->CheckIds(rows.ids));
  const auto count = std::ssize(rows.ids);
  if (std::ssize(rows.values) != count * table->dim() ||
      (!rows.state.empty() &&
       std::ssize(rows.state) != count * table->rows().state_floats())) {
    return NotUnderstood("its values are not those of its rows");
  }
  QUIRE_ASSIGN_OR_RETURN(const Ticket ticket, engine_.sequencer_.SequenceWrite(
                                                  table->uid(), table->name()));
  table->rows().WriteRows(rows.ids, rows.values.data(),
                          rows.state.empty() ? nullptr : rows.state.data(),
                          {ticket, record.lsn});
  return absl::OkStatus();
}

absl::Status Recovery::ReplayCreateTable(Bytes payload) {
  QUIRE_ASSIGN_OR_RETURN(const auto record,
                         Parse<storage::v1::CreateTableRecord>(payload));
  if (past_ && !IsOf(past_->origin, record)) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const auto uid, IdOf<TableUid>(record.uid()));
  QUIRE_ASSIGN_OR_RETURN(const TableUid origin, OriginOf(record));
  TableHandle table;
  if (record.is_import()) {
    QUIRE_ASSIGN_OR_RETURN(
        table, engine_.MakeImportedTable(UidFor(uid), record.spec(), origin));
  } else {
    QUIRE_ASSIGN_OR_RETURN(
        table, engine_.MakeTable(UidFor(uid), record.spec(), origin));
    Fill(table, /*initial_values=*/true);
    engine_.Show(table);
  }
  QUIRE_RETURN_IF_ERROR(engine_.sequencer_
                            .Add(nullptr, table,
                                 Sequencer::SettingsOf(record.spec()),
                                 record.is_import())
                            .status());
  tables_.emplace(uid.bytes, Recovered{std::move(table), record.is_import()});
  return absl::OkStatus();
}

absl::Status Recovery::ReplayPublishTable(Bytes payload) {
  QUIRE_ASSIGN_OR_RETURN(const auto record,
                         Parse<storage::v1::PublishTableRecord>(payload));
  QUIRE_ASSIGN_OR_RETURN(const auto uid, IdOf<TableUid>(record.uid()));
  if (IsPassedOver(uid)) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table, Find(uid));
  tables_[uid.bytes].is_import = false;
  if (!record.replaces_uid().empty()) {
    return ReplayReplaceTable(record, table);
  }
  QUIRE_RETURN_IF_ERROR(engine_.CheckRoomFor(table->name()));
  engine_.Show(table);
  return engine_.sequencer_.Publish(nullptr, table->uid(), record.step())
      .status();
}

absl::Status Recovery::ReplayReplaceTable(
    const storage::v1::PublishTableRecord& record, const TableHandle& table) {
  QUIRE_ASSIGN_OR_RETURN(const auto replaced,
                         IdOf<TableUid>(record.replaces_uid()));
  QUIRE_ASSIGN_OR_RETURN(const TableHandle old, Find(replaced));
  if (old->name() != table->name()) {
    return NotUnderstood("it replaces a table of another name");
  }
  QUIRE_RETURN_IF_ERROR(
      engine_.sequencer_
          .PublishInPlaceOf(*old, nullptr, table->uid(), record.step())
          .status());
  engine_.Hide(*old);
  engine_.Show(table);
  tables_.erase(replaced.bytes);
  return absl::OkStatus();
}

absl::Status Recovery::ReplayAlterTable(Bytes payload) {
  QUIRE_ASSIGN_OR_RETURN(const auto record,
                         Parse<storage::v1::AlterTableRecord>(payload));
  QUIRE_ASSIGN_OR_RETURN(const auto uid, IdOf<TableUid>(record.uid()));
  if (IsPassedOver(uid)) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table, Find(uid));
  Sequencer::Alteration alteration;
  if (record.has_learning_rate()) {
    alteration.learning_rate = record.learning_rate();
  }
  if (record.has_frozen()) {
    alteration.frozen = record.frozen();
  }
  if (record.has_default_durability()) {
    alteration.default_durability = record.default_durability();
  }
  return engine_.sequencer_
      .Alter(nullptr, table->uid(), table->name(), alteration)
      .status();
}

absl::Status Recovery::ReplayDropTable(Bytes payload) {
  QUIRE_ASSIGN_OR_RETURN(const auto record,
                         Parse<storage::v1::DropTableRecord>(payload));
  QUIRE_ASSIGN_OR_RETURN(const auto uid, IdOf<TableUid>(record.uid()));
  if (IsPassedOver(uid)) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table, Find(uid));
  QUIRE_RETURN_IF_ERROR(
      engine_.sequencer_.Remove(nullptr, table->uid(), table->name()).status());
  if (!tables_[uid.bytes].is_import) {
    engine_.Hide(*table);
  }
  tables_.erase(uid.bytes);
  return absl::OkStatus();
}

absl::Status Recovery::ReplaySetLabels(const journal::LogRecord& record) {
  QUIRE_ASSIGN_OR_RETURN(const auto labels,
                         Parse<storage::v1::SetLabelsRecord>(record.payload));
  QUIRE_ASSIGN_OR_RETURN(const auto uid, IdOf<TableUid>(labels.uid()));
  if (IsPassedOver(uid)) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table, Find(uid));
  QUIRE_ASSIGN_OR_RETURN(const Ticket ticket, engine_.sequencer_.SequenceWrite(
                                                  table->uid(), table->name()));
  return SetLabels(*table, labels, ChangePlace{ticket, record.lsn});
}

absl::Status Recovery::SetLabels(LiveTable& table,
                                 const storage::v1::SetLabelsRecord& record,
                                 std::optional<ChangePlace> place) {
  if (record.ids_size() != record.labels_size()) {
    return NotUnderstood("it has not one label for each id");
  }
  const std::vector<std::string_view> labels(record.labels().begin(),
                                             record.labels().end());
  const std::span<const int64_t> ids(record.ids().data(), labels.size());
  QUIRE_RETURN_IF_ERROR(table.CheckIds(ids));
  QUIRE_ASSIGN_OR_RETURN(RowLabels::Room room, table.labels().Reserve(labels));
  const auto set = [&] { table.labels().Set(ids, labels, std::move(room)); };
  if (place) {
    table.rows().InTurn(*place, set);
  } else {
    set();
  }
  return absl::OkStatus();
}

absl::Status Recovery::ReplayOpenSession(Bytes payload) {
  if (past_) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const auto record,
                         Parse<storage::v1::OpenSessionRecord>(payload));
  QUIRE_ASSIGN_OR_RETURN(const auto session,
                         IdOf<SessionId>(record.session_id()));
  return engine_.sequencer_.OpenSession(nullptr, session).status();
}

absl::Status Recovery::ReplayCloseSession(Bytes payload) {
  if (past_) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const auto record,
                         Parse<storage::v1::CloseSessionRecord>(payload));
  QUIRE_ASSIGN_OR_RETURN(const auto session,
                         IdOf<SessionId>(record.session_id()));
  return engine_.sequencer_.CloseSession(nullptr, session).status();
}

}  // namespace quire
