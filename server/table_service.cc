#include "server/table_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>

#include "base/limits.h"
#include "base/status.h"
#include "server/requests.h"

namespace quire {
namespace {

using google::protobuf::RepeatedPtrField;

// Bytes of one message of an export: below every client's default limit.
constexpr int64_t kExportChunkBytes = 1 << 20;

absl::StatusOr<std::vector<std::string_view>> CheckedLabels(
    const RepeatedPtrField<std::string>& labels, int64_t needed,
    std::string_view field) {
  if (labels.size() != needed) {
    return Error(Reason::kBadShape,
                 fmt::format("{} labels for {} ids", labels.size(), needed),
                 field);
  }
  for (int i = 0; i < labels.size(); ++i) {
    if (labels[i].size() > kLabelBytesMax) {
      return Error(Reason::kTooLarge,
                   fmt::format("label {} has {} bytes; at most {} are allowed",
                               i, labels[i].size(), kLabelBytesMax),
                   fmt::format("{}[{}]", field, i));
    }
  }
  return std::vector<std::string_view>(labels.begin(), labels.end());
}

absl::StatusOr<std::span<const int64_t>> CheckedIds(const v1::IdBatch& batch,
                                                    const LiveTable& table) {
  QUIRE_ASSIGN_OR_RETURN(const std::span<const int64_t> ids, FlatIds(batch));
  QUIRE_RETURN_IF_ERROR(table.CheckIds(ids));
  return ids;
}

void ReadRow(const LiveTable& table, int64_t id, v1::GetRowResponse& response) {
  const Table& rows = table.rows();
  std::vector<float> state(static_cast<size_t>(rows.state_floats()));
  response.mutable_values()->Resize(static_cast<int>(table.dim()), 0.0f);
  rows.ReadRows({&id, 1}, response.mutable_values()->mutable_data(),
                state.data());
  std::span<const float> rest = state;
  for (const Optimizer::StatePart& part :
       rows.config().optimizer.StateParts(table.dim())) {
    v1::GetRowResponse::State& named = *response.add_state();
    named.set_name(std::string(part.name));
    const auto values = rest.first(static_cast<size_t>(part.floats));
    named.mutable_values()->Add(values.begin(), values.end());
    rest = rest.subspan(values.size());
  }
  response.set_label(table.labels().Get({&id, 1})[0]);
}

v1::RowChangeKind KindOf(Engine::RowHistory::Kind kind) {
  switch (kind) {
    case Engine::RowHistory::Kind::kPush:
      return v1::ROW_CHANGE_KIND_PUSH;
    case Engine::RowHistory::Kind::kWrite:
      return v1::ROW_CHANGE_KIND_WRITE;
    case Engine::RowHistory::Kind::kCreate:
      return v1::ROW_CHANGE_KIND_CREATE;
  }
  return v1::ROW_CHANGE_KIND_UNSPECIFIED;
}

}  // namespace

// --- Tables ---

absl::StatusOr<v1::CreateTableResponse> TableService::CreateTable(
    const v1::CreateTableRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(
      const Engine::Created created,
      engine_.CreateTable(request.spec(), request.if_exists()));
  v1::CreateTableResponse response;
  *response.mutable_table() = engine_.Describe(*created.table);
  response.set_created(created.is_new);
  return response;
}

absl::StatusOr<v1::GetTableResponse> TableService::GetTable(
    const v1::GetTableRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const auto uid, UidOf(request.table()));
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         engine_.FindAny(request.table().name(), uid));
  v1::GetTableResponse response;
  *response.mutable_table() = engine_.Describe(*table);
  return response;
}

absl::StatusOr<v1::ListTablesResponse> TableService::ListTables(
    const v1::ListTablesRequest&) {
  v1::ListTablesResponse response;
  for (const TableHandle& table : engine_.List()) {
    *response.add_tables() = engine_.Describe(*table);
  }
  return response;
}

absl::StatusOr<v1::AlterTableResponse> TableService::AlterTable(
    const v1::AlterTableRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const auto uid, UidOf(request.table()));
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         engine_.FindAny(request.table().name(), uid));
  Sequencer::Alteration alteration;
  if (request.has_learning_rate()) {
    alteration.learning_rate = request.learning_rate();
  }
  if (request.has_frozen()) {
    alteration.frozen = request.frozen();
  }
  if (request.default_durability() != v1::DURABILITY_UNSPECIFIED) {
    alteration.default_durability = request.default_durability();
  }
  QUIRE_RETURN_IF_ERROR(engine_.AlterTable(*table, alteration));
  v1::AlterTableResponse response;
  *response.mutable_table() = engine_.Describe(*table);
  return response;
}

absl::StatusOr<v1::DropTableResponse> TableService::DropTable(
    const v1::DropTableRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const auto uid, UidOf(request.table()));
  QUIRE_ASSIGN_OR_RETURN(const TableUid dropped,
                         engine_.DropTable(request.table().name(), uid));
  v1::DropTableResponse response;
  response.set_uid(UidBytes(dropped));
  return response;
}

absl::StatusOr<v1::RewindTableResponse> TableService::RewindTable(
    const v1::RewindTableRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const auto uid, UidOf(request.table()));
  if (request.to_lsn() == 0) {
    return Error(Reason::kBadValue,
                 "to_lsn is 0, or absent: it is the last change that stays, 1 "
                 "or more",
                 "to_lsn");
  }
  QUIRE_ASSIGN_OR_RETURN(
      const Engine::Rewound rewound,
      engine_.RewindTable(request.table().name(), uid, request.to_lsn()));
  v1::RewindTableResponse response;
  *response.mutable_table() = engine_.Describe(*rewound.table);
  response.mutable_position()->set_epoch(engine_.log()->epoch());
  response.mutable_position()->set_lsn(rewound.lsn);
  return response;
}

// --- Stored rows ---

absl::StatusOr<v1::ReadRowsResponse> TableService::ReadRows(
    const v1::ReadRowsRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine_, request.table()));
  QUIRE_ASSIGN_OR_RETURN(const std::span<const int64_t> ids,
                         CheckedIds(request.ids(), *table));
  const auto rows = static_cast<int64_t>(ids.size());
  const int64_t state_floats = table->rows().state_floats();
  const int64_t bytes = rows * (table->dim() + state_floats) * 4;
  if (bytes > kLookupReplyBytesMax) {
    return Error(
        Reason::kReplyTooLarge,
        fmt::format("{} rows are {} bytes; a reply has at most {}. Ask "
                    "for fewer, or export the table",
                    rows, bytes, kLookupReplyBytesMax),
        "ids");
  }
  v1::ReadRowsResponse response;
  const auto values =
      MakeMatrix(rows, table->dim(), *response.mutable_values());
  const auto state = MakeMatrix(rows, state_floats, *response.mutable_state());
  table->rows().ReadRows(ids, values.data(), state.data());
  if (request.values()) {
    table->rows().MakeValues(values);
  }
  return response;
}

absl::StatusOr<v1::GetRowResponse> TableService::GetRow(
    const v1::GetRowRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine_, request.table()));
  if (const int64_t rows = table->rows().config().num_embeddings;
      request.id() < 0 || request.id() >= rows) {
    return Error(Reason::kIdOutOfRange,
                 fmt::format("table '{}': id {} is not in [0, {})",
                             table->name(), request.id(), rows),
                 "id");
  }
  v1::GetRowResponse response;
  // Before the row is read: the changes up to there are in it.
  uint64_t lsn = 0;
  {
    QUIRE_ASSIGN_OR_RETURN(const ExactTable exact,
                           ExactTable::Open(engine_, table));
    lsn = exact.lsn();
    response.set_step(exact.step());
  }
  response.set_table_uid(UidBytes(table->uid()));
  ReadRow(*table, request.id(), response);
  if (lsn > 0) {
    response.mutable_position()->set_epoch(engine_.log()->epoch());
    response.mutable_position()->set_lsn(lsn);
    QUIRE_ASSIGN_OR_RETURN(const Engine::RowHistory history,
                           engine_.HistoryOf(*table, request.id(), lsn));
    response.set_first_lsn(history.first_lsn);
    if (history.last) {
      response.mutable_last_change()->set_lsn(history.last->lsn);
      response.mutable_last_change()->set_kind(KindOf(history.last->kind));
    }
  }
  return response;
}

absl::StatusOr<v1::WriteRowsResponse> TableService::WriteRows(
    const v1::WriteRowsRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine_, request.table()));
  QUIRE_ASSIGN_OR_RETURN(const std::span<const int64_t> ids,
                         FlatIds(request.ids()));
  const auto rows = static_cast<int64_t>(ids.size());
  QUIRE_ASSIGN_OR_RETURN(
      const std::span<const float> values,
      Matrix(request.values(), rows, table->dim(), "values"));
  std::span<const float> state;
  if (request.has_state()) {
    QUIRE_ASSIGN_OR_RETURN(
        state,
        Matrix(request.state(), rows, table->rows().state_floats(), "state"));
  }
  QUIRE_RETURN_IF_ERROR(engine_.WriteRows(*table, ids, values, state));
  v1::WriteRowsResponse response;
  response.set_rows_written(rows);
  return response;
}

// --- Labels ---

absl::StatusOr<v1::SetLabelsResponse> TableService::SetLabels(
    const v1::SetLabelsRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine_, request.table()));
  QUIRE_ASSIGN_OR_RETURN(const std::span<const int64_t> ids,
                         CheckedIds(request.ids(), *table));
  QUIRE_ASSIGN_OR_RETURN(
      const std::vector<std::string_view> labels,
      CheckedLabels(request.labels(), static_cast<int64_t>(ids.size()),
                    "labels"));
  QUIRE_RETURN_IF_ERROR(engine_.SetLabels(*table, ids, labels));
  v1::SetLabelsResponse response;
  response.set_label_count(table->labels().count());
  return response;
}

absl::StatusOr<v1::GetLabelsResponse> TableService::GetLabels(
    const v1::GetLabelsRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine_, request.table()));
  QUIRE_ASSIGN_OR_RETURN(const std::span<const int64_t> ids,
                         CheckedIds(request.ids(), *table));
  v1::GetLabelsResponse response;
  for (std::string& label : table->labels().Get(ids)) {
    response.add_labels(std::move(label));
  }
  return response;
}

absl::StatusOr<v1::FindLabelsResponse> TableService::FindLabels(
    const v1::FindLabelsRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine_, request.table()));
  v1::FindLabelsResponse response;
  for (const std::string& label : request.labels()) {
    response.add_ids(table->labels().Find(label));
  }
  return response;
}

// --- Snapshots ---

absl::StatusOr<v1::CreateSnapshotResponse> TableService::CreateSnapshot(
    const v1::CreateSnapshotRequest& request) {
  if (request.has_table()) {
    return Error(Reason::kNotBuilt,
                 "a snapshot is of all tables; one of a table is not built "
                 "yet: leave it out",
                 "table");
  }
  QUIRE_ASSIGN_OR_RETURN(const uint64_t lsn, engine_.CreateSnapshot());
  v1::CreateSnapshotResponse response;
  response.mutable_position()->set_epoch(engine_.log()->epoch());
  response.mutable_position()->set_lsn(lsn);
  return response;
}

absl::StatusOr<v1::BackUpResponse> TableService::BackUp(
    const v1::BackUpRequest& request) {
  if (backups_ == nullptr) {
    return Error(Reason::kNoBackupDir,
                 "this server makes no backups: it was started without "
                 "--backup-dir, the directory that they are made in");
  }
  QUIRE_ASSIGN_OR_RETURN(const Engine::Backup backup,
                         engine_.BackUp(*backups_, request.name()));
  v1::BackUpResponse response;
  response.mutable_position()->set_epoch(backup.epoch);
  response.mutable_position()->set_lsn(backup.lsn);
  response.set_bytes(backup.bytes);
  response.set_files(backup.files);
  return response;
}

absl::StatusOr<v1::VerifyTableResponse> TableService::VerifyTable(
    const v1::VerifyTableRequest& request,
    const std::function<bool()>& is_cancelled) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine_, request.table()));
  QUIRE_ASSIGN_OR_RETURN(const Engine::Verified verified,
                         engine_.VerifyTable(*table, is_cancelled));
  v1::VerifyTableResponse response;
  response.set_chunks_verified(verified.chunk_count);
  response.set_snapshot_lsn(verified.snapshot_lsn);
  return response;
}

// --- Import ---

absl::Status TableService::Import::Take(const v1::ImportTableRequest& part) {
  switch (part.part_case()) {
    case v1::ImportTableRequest::kHeader: {
      if (import_ != nullptr) {
        return Error(Reason::kMalformed, "an import has one header", "header");
      }
      QUIRE_ASSIGN_OR_RETURN(
          import_,
          engine_.BeginImport(part.header().spec(), part.header().step()));
      return absl::OkStatus();
    }
    case v1::ImportTableRequest::kChunk:
      return TakeChunk(part.chunk());
    case v1::ImportTableRequest::PART_NOT_SET:
      break;
  }
  return Error(Reason::kMalformed, "a part of an import is a header or a chunk",
               "part");
}

absl::Status TableService::Import::TakeChunk(
    const v1::ImportTableRequest::Chunk& chunk) {
  if (import_ == nullptr) {
    return Error(Reason::kMalformed, "an import begins with its header",
                 "chunk");
  }
  if (chunk.first_id() != rows_taken_) {
    return Error(Reason::kBadValue,
                 fmt::format("a chunk from id {}; the next row is {}",
                             chunk.first_id(), rows_taken_),
                 "chunk.first_id");
  }
  const LiveTable& table = import_->table();
  const int64_t rows = chunk.values().values_size() / table.dim();
  QUIRE_ASSIGN_OR_RETURN(
      const std::span<const float> values,
      Matrix(chunk.values(), rows, table.dim(), "chunk.values"));
  std::span<const float> state;
  if (chunk.has_state()) {
    QUIRE_ASSIGN_OR_RETURN(
        state, Matrix(chunk.state(), rows, table.rows().state_floats(),
                      "chunk.state"));
  }
  std::vector<std::string_view> labels;
  if (chunk.labels_size() > 0) {
    QUIRE_ASSIGN_OR_RETURN(labels,
                           CheckedLabels(chunk.labels(), rows, "chunk.labels"));
  }
  QUIRE_RETURN_IF_ERROR(import_->Write(values, state, labels));
  rows_taken_ += rows;
  return absl::OkStatus();
}

absl::StatusOr<v1::ImportTableResponse> TableService::Import::Finish() {
  if (import_ == nullptr) {
    return Error(Reason::kMalformed, "an import begins with its header",
                 "header");
  }
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table, import_->Publish());
  v1::ImportTableResponse response;
  *response.mutable_table() = engine_.Describe(*table);
  return response;
}

// --- Export ---

absl::StatusOr<TableService::Export> TableService::Export::Open(
    Engine& engine, const v1::ExportTableRequest& request) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine, request.table()));
  const int64_t rows = table->rows().config().num_embeddings;
  const int64_t first = request.first_id();
  const int64_t count =
      request.has_row_count() ? request.row_count() : rows - first;
  if (first < 0 || first > rows || count < 0 || count > rows - first) {
    return Error(
        Reason::kIdOutOfRange,
        fmt::format("table '{}': {} rows from id {} are not in [0, {})",
                    request.table().name(), count, first, rows),
        "first_id");
  }
  QUIRE_ASSIGN_OR_RETURN(ExactTable exact, ExactTable::Open(engine, table));
  Export result(std::move(exact));
  result.next_id_ = first;
  result.end_id_ = first + count;
  result.include_state_ = request.include_state();
  result.as_values_ = request.values();
  result.dim_ = table->dim();
  result.state_floats_ =
      request.include_state() ? table->rows().state_floats() : 0;
  QUIRE_RETURN_IF_ERROR(result.MakeHeader(engine, *table));
  return result;
}

absl::Status TableService::Export::MakeHeader(const Engine& engine,
                                              const LiveTable& table) {
  header_.emplace();
  v1::Table& header = *header_->mutable_header();
  header = engine.Describe(table);
  QUIRE_RETURN_IF_ERROR(table_.Read([&](const LiveTable& then) {
    header.mutable_stats()->set_label_count(then.labels().count());
    header.mutable_stats()->set_label_bytes(then.labels().bytes());
  }));
  include_labels_ = header.stats().label_count() > 0;
  if (table_.lsn() > 0) {
    header.set_step(table_.step());
    header_->mutable_position()->set_epoch(engine.log()->epoch());
    header_->mutable_position()->set_lsn(table_.lsn());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<v1::ExportTableResponse>>
TableService::Export::Next() {
  if (header_) {
    return std::exchange(header_, std::nullopt);
  }
  std::optional<v1::ExportTableResponse> response;
  if (next_id_ == end_id_) {
    return response;
  }
  const int64_t row_bytes = 4 * (dim_ + state_floats_);
  const int64_t count = std::min(
      std::max<int64_t>(1, kExportChunkBytes / row_bytes), end_id_ - next_id_);
  response.emplace();
  v1::ExportTableResponse::Chunk& chunk = *response->mutable_chunk();
  QUIRE_RETURN_IF_ERROR(table_.Read([&](const LiveTable& table) {
    chunk.Clear();
    chunk.set_first_id(next_id_);
    MakeMatrix(count, dim_, *chunk.mutable_values());
    Fill(table, chunk);
  }));
  next_id_ += count;
  return response;
}

void TableService::Export::Fill(const LiveTable& table,
                                v1::ExportTableResponse::Chunk& chunk) const {
  std::vector<int64_t> ids(
      static_cast<size_t>(chunk.values().values_size() / dim_));
  std::iota(ids.begin(), ids.end(), chunk.first_id());
  const std::span<float> values(
      chunk.mutable_values()->mutable_values()->mutable_data(),
      static_cast<size_t>(chunk.values().values_size()));
  float* state = nullptr;
  if (include_state_) {
    state = MakeMatrix(std::ssize(ids), state_floats_, *chunk.mutable_state())
                .data();
  }
  table.rows().ReadRows(ids, values.data(), state);
  if (as_values_) {
    table.rows().MakeValues(values);
  }
  if (include_labels_) {
    for (std::string& label : table.labels().Get(ids)) {
      chunk.add_labels(std::move(label));
    }
  }
}

}  // namespace quire
