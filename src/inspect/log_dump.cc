#include "inspect/log_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "engine/records.h"
#include "inspect/snapshot_report.h"
#include "journal/log_reader.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire::inspect {
namespace {

using Part = RecordSummary::Part;

std::string TypeName(uint8_t type) {
  switch (static_cast<RecordType>(type)) {
    case RecordType::kPush:
      return "push";
    case RecordType::kWriteRows:
      return "write_rows";
    case RecordType::kCreateTable:
      return "create_table";
    case RecordType::kPublishTable:
      return "publish_table";
    case RecordType::kAlterTable:
      return "alter_table";
    case RecordType::kDropTable:
      return "drop_table";
    case RecordType::kSetLabels:
      return "set_labels";
    case RecordType::kOpenSession:
      return "open_session";
    case RecordType::kCloseSession:
      return "close_session";
  }
  return fmt::format("type {}", type);
}

// A TableUid or a SessionId.
template <typename Id>
bool Take(const std::string& bytes, Id& id) {
  if (bytes.size() != id.bytes.size()) {
    return false;
  }
  std::ranges::copy(bytes, id.bytes.begin());
  return true;
}

// Summaries of records, with the names of tables as far as they are known.
class Summarizer {
 public:
  explicit Summarizer(bool with_ids) : with_ids_(with_ids) {}

  void AddName(const std::string& uid, const std::string& name) {
    TableUid key;
    if (Take(uid, key)) {
      names_[key.bytes] = name;
    }
  }

  RecordSummary Of(const journal::LogRecord& record);

 private:
  bool Fill(RecordType type, Bytes payload, RecordSummary& summary);
  bool FillPush(Bytes payload, RecordSummary& summary);
  bool FillRows(Bytes payload, RecordSummary& summary);
  template <typename Record>
  bool FillTable(Bytes payload, RecordSummary& summary);
  template <typename Record>
  bool FillSession(Bytes payload, RecordSummary& summary);
  bool FillLabels(Bytes payload, RecordSummary& summary);
  bool FillCreation(Bytes payload, RecordSummary& summary);

  Part PartOf(const TableUid& uid, std::span<const int64_t> ids) const;

  const bool with_ids_;
  absl::flat_hash_map<std::array<uint8_t, 16>, std::string> names_;
};

template <typename Record>
bool Parse(Bytes payload, Record& record) {
  return record.ParseFromArray(payload.data(),
                               static_cast<int>(payload.size()));
}

Part Summarizer::PartOf(const TableUid& uid,
                        std::span<const int64_t> ids) const {
  Part part = {.uid = uid, .id_count = std::ssize(ids)};
  if (const auto name = names_.find(uid.bytes); name != names_.end()) {
    part.table = name->second;
  }
  if (with_ids_) {
    part.ids.assign(ids.begin(), ids.end());
  }
  return part;
}

bool Summarizer::FillPush(Bytes payload, RecordSummary& summary) {
  std::vector<Bytes> gradients;
  const absl::StatusOr<PushRecord> push = ReadPushRecord(payload, gradients);
  if (!push.ok()) {
    return false;
  }
  for (const PushRecordPart& part : push->parts) {
    summary.parts.push_back(PartOf(part.table, part.ids));
  }
  if (push->id) {
    summary.session = push->id->session;
    summary.sequence = push->id->sequence;
  }
  return true;
}

bool Summarizer::FillRows(Bytes payload, RecordSummary& summary) {
  const absl::StatusOr<WriteRowsRecord> rows = ReadWriteRowsRecord(payload);
  if (rows.ok()) {
    summary.parts.push_back(PartOf(rows->table, rows->ids));
  }
  return rows.ok();
}

template <typename Record>
bool Summarizer::FillTable(Bytes payload, RecordSummary& summary) {
  Record record;
  TableUid uid;
  if (!Parse(payload, record) || !Take(record.uid(), uid)) {
    return false;
  }
  summary.parts.push_back(PartOf(uid, {}));
  return true;
}

bool Summarizer::FillCreation(Bytes payload, RecordSummary& summary) {
  storage::v1::CreateTableRecord record;
  if (!Parse(payload, record)) {
    return false;
  }
  AddName(record.uid(), record.spec().name());
  return FillTable<storage::v1::CreateTableRecord>(payload, summary);
}

bool Summarizer::FillLabels(Bytes payload, RecordSummary& summary) {
  storage::v1::SetLabelsRecord record;
  TableUid uid;
  if (!Parse(payload, record) || !Take(record.uid(), uid)) {
    return false;
  }
  summary.parts.push_back(PartOf(
      uid, {record.ids().data(), static_cast<size_t>(record.ids_size())}));
  return true;
}

template <typename Record>
bool Summarizer::FillSession(Bytes payload, RecordSummary& summary) {
  Record record;
  SessionId session;
  if (!Parse(payload, record) || !Take(record.session_id(), session)) {
    return false;
  }
  summary.session = session;
  return true;
}

bool Summarizer::Fill(RecordType type, Bytes payload, RecordSummary& summary) {
  switch (type) {
    case RecordType::kPush:
      return FillPush(payload, summary);
    case RecordType::kWriteRows:
      return FillRows(payload, summary);
    case RecordType::kCreateTable:
      return FillCreation(payload, summary);
    case RecordType::kPublishTable:
      return FillTable<storage::v1::PublishTableRecord>(payload, summary);
    case RecordType::kAlterTable:
      return FillTable<storage::v1::AlterTableRecord>(payload, summary);
    case RecordType::kDropTable:
      return FillTable<storage::v1::DropTableRecord>(payload, summary);
    case RecordType::kSetLabels:
      return FillLabels(payload, summary);
    case RecordType::kOpenSession:
      return FillSession<storage::v1::OpenSessionRecord>(payload, summary);
    case RecordType::kCloseSession:
      return FillSession<storage::v1::CloseSessionRecord>(payload, summary);
  }
  return false;
}

RecordSummary Summarizer::Of(const journal::LogRecord& record) {
  RecordSummary summary = {
      .lsn = record.lsn,
      .epoch = record.epoch,
      .type = TypeName(record.type),
      .bytes = journal::RecordBytes(std::ssize(record.payload))};
  summary.is_understood =
      Fill(static_cast<RecordType>(record.type), record.payload, summary);
  return summary;
}

bool IsOf(const RecordSummary& record, const std::string& table) {
  return table.empty() ||
         std::ranges::any_of(record.parts, [&table](const Part& part) {
           return part.table == table;
         });
}

}  // namespace

absl::StatusOr<std::optional<std::string>> DumpLog(
    const DataFiles& files, const DumpOptions& options,
    const std::function<absl::Status(const RecordSummary&)>& take) {
  absl::Status header_damage;
  QUIRE_ASSIGN_OR_RETURN(const journal::LogReader reader,
                         journal::LogReader::OpenToDamage(
                             files.log(), files.identity(), header_damage));
  if (options.from_lsn > options.to_lsn ||
      options.to_lsn < reader.first_lsn()) {
    return Error(
        Reason::kBadValue,
        fmt::format("there are no records from LSN {} to {}: the log "
                    "begins with {}",
                    options.from_lsn, options.to_lsn, reader.first_lsn()));
  }
  Summarizer summarizer(options.with_ids);
  QUIRE_ASSIGN_OR_RETURN(const std::vector<SnapshotReport> snapshots,
                         ListSnapshots(files));
  for (const SnapshotReport& snapshot : snapshots) {
    for (const SnapshotReport::OfTable& table : snapshot.tables) {
      summarizer.AddName(table.uid, table.name);
    }
  }
  bool is_done = false;
  journal::LogEnd end;
  // From the beginning: it has the names of tables.
  const absl::Status read = reader.ReadTo(
      reader.first_lsn(),
      [&](const journal::LogRecord& record) -> absl::Status {
        if (record.lsn > options.to_lsn) {
          is_done = true;
          return absl::CancelledError();
        }
        const RecordSummary summary = summarizer.Of(record);
        return record.lsn >= options.from_lsn && IsOf(summary, options.table)
                   ? take(summary)
                   : absl::OkStatus();
      },
      end);
  if (is_done) {
    return std::nullopt;
  }
  QUIRE_RETURN_IF_ERROR(read);
  QUIRE_RETURN_IF_ERROR(header_damage);
  return end.torn;
}

}  // namespace quire::inspect
