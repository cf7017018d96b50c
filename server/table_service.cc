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
  if (request.default_durability() != v1::DURABILITY_UNSPECIFIED) {
    return Error(Reason::kNotBuilt,
                 "default_durability is not built yet; leave it out",
                 "default_durability");
  }
  QUIRE_ASSIGN_OR_RETURN(const auto uid, UidOf(request.table()));
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         engine_.FindAny(request.table().name(), uid));
  std::optional<double> learning_rate;
  if (request.has_learning_rate()) {
    learning_rate = request.learning_rate();
  }
  std::optional<bool> frozen;
  if (request.has_frozen()) {
    frozen = request.frozen();
  }
  QUIRE_RETURN_IF_ERROR(engine_.AlterTable(*table, learning_rate, frozen));
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
  QUIRE_RETURN_IF_ERROR(table->labels().Set(ids, labels));
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

// --- Import ---

absl::Status TableService::Import::Take(const v1::ImportTableRequest& part) {
  switch (part.part_case()) {
    case v1::ImportTableRequest::kHeader: {
      if (import_ != nullptr) {
        return Error(Reason::kMalformed, "an import has one header", "header");
      }
      QUIRE_ASSIGN_OR_RETURN(import_,
                             engine_.BeginImport(part.header().spec()));
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
  Export result;
  QUIRE_ASSIGN_OR_RETURN(result.table_, FindTable(engine, request.table()));
  const int64_t rows = result.table_->rows().config().num_embeddings;
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
  result.next_id_ = first;
  result.end_id_ = first + count;
  result.include_state_ = request.include_state();
  result.as_values_ = request.values();
  result.include_labels_ = result.table_->labels().count() > 0;
  result.header_.emplace();
  *result.header_->mutable_header() = engine.Describe(*result.table_);
  return result;
}

std::optional<v1::ExportTableResponse> TableService::Export::Next() {
  if (header_) {
    return std::exchange(header_, std::nullopt);
  }
  if (next_id_ == end_id_) {
    return std::nullopt;
  }
  const Table& rows = table_->rows();
  const int64_t state_floats = include_state_ ? rows.state_floats() : 0;
  const int64_t row_bytes = 4 * (table_->dim() + state_floats);
  std::vector<int64_t> ids(static_cast<size_t>(
      std::min(std::max<int64_t>(1, kExportChunkBytes / row_bytes),
               end_id_ - next_id_)));
  std::iota(ids.begin(), ids.end(), next_id_);
  const auto count = static_cast<int64_t>(ids.size());

  v1::ExportTableResponse response;
  v1::ExportTableResponse::Chunk& chunk = *response.mutable_chunk();
  chunk.set_first_id(next_id_);
  const auto values = MakeMatrix(count, table_->dim(), *chunk.mutable_values());
  float* state = nullptr;
  if (include_state_) {
    state = MakeMatrix(count, state_floats, *chunk.mutable_state()).data();
  }
  rows.ReadRows(ids, values.data(), state);
  if (as_values_) {
    rows.MakeValues(values);
  }
  if (include_labels_) {
    for (std::string& label : table_->labels().Get(ids)) {
      chunk.add_labels(std::move(label));
    }
  }
  next_id_ += count;
  return response;
}

}  // namespace quire
