// Tables, their stored rows and labels, imports and exports.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/c/arguments.h"
#include "client/c/client.h"
#include "client/c/error.h"
#include "client/c/results.h"
#include "client/client.h"

struct quire_import {
  std::unique_ptr<quire::Client::Import> stream;
  const int64_t dim;
  const pid_t pid = getpid();
};

struct quire_export {
  std::unique_ptr<quire::Client::Export> stream;
  const pid_t pid = getpid();
};

namespace {

using quire::c::CheckThere;
using quire::c::DeadlineIn;
using quire::c::Guard;
using quire::c::LabelsOf;
using quire::c::ReadJson;
using quire::c::RowsOf;
using quire::c::SpanOf;
using quire::c::WriteJson;

absl::Status CheckCall(quire_client* client, const char* table) {
  QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
  return CheckThere(table, "table");
}

// Half of a stream stays with the process that opened it.
absl::Status CheckProcess(pid_t pid) {
  return pid == getpid()
             ? absl::OkStatus()
             : absl::FailedPreconditionError(
                   "this import or export was begun in the process that this "
                   "one was forked from; only there it goes on");
}

// Elsewhere, to end it would be to wait for ever.
template <typename Handle>
void Free(Handle* handle) {
  if (handle != nullptr && handle->pid != getpid()) {
    (void)handle->stream.release();
  }
  delete handle;
}

quire_table_info InfoOf(const quire::v1::Table& table) {
  const quire::v1::TableSpec& spec = table.spec();
  quire_table_info info = {
      .uid = {},
      .num_embeddings = spec.num_embeddings(),
      .embedding_dim = spec.embedding_dim(),
      .padding_idx = spec.has_padding_idx() ? spec.padding_idx() : -1,
      .step = table.step()};
  std::copy_n(table.uid().begin(),
              std::min(table.uid().size(), sizeof(info.uid)), info.uid);
  return info;
}

// [count, floats / count]: BAD_SHAPE if they do not lie evenly.
absl::Status SetTensor(std::span<const float> floats, int64_t count,
                       const char* name, quire::v1::Tensor& tensor) {
  const int64_t dim = count == 0 ? 0 : std::ssize(floats) / count;
  if (dim * count != std::ssize(floats) || dim > INT32_MAX ||
      count > INT32_MAX) {
    return quire::Error(
        quire::Reason::kBadShape,
        fmt::format("{} floats of {} for {} ids; there must be as many for "
                    "each",
                    floats.size(), name, count),
        name);
  }
  tensor.mutable_shape()->add_dims(static_cast<int32_t>(count));
  tensor.mutable_shape()->add_dims(static_cast<int32_t>(dim));
  tensor.mutable_values()->Add(floats.begin(), floats.end());
  return absl::OkStatus();
}

}  // namespace

quire_error* quire_create_table(quire_client* client, const char* request,
                                int64_t timeout_ms, char** table) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(table, "table"));
    quire::v1::CreateTableRequest message;
    QUIRE_RETURN_IF_ERROR(ReadJson(request, "request", message));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::CreateTableResponse response,
        client->client->CreateTable(message, {DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*table, WriteJson(response));
    return absl::OkStatus();
  });
}

quire_error* quire_get_table(quire_client* client, const char* table,
                             int64_t timeout_ms, quire_table_info* info,
                             char** json) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::Table found,
        client->client->GetTable(table, {DeadlineIn(timeout_ms)}));
    if (json != nullptr) {
      QUIRE_ASSIGN_OR_RETURN(*json, WriteJson(found));
    }
    if (info != nullptr) {
      *info = InfoOf(found);
    }
    return absl::OkStatus();
  });
}

quire_error* quire_list_tables(quire_client* client, int64_t timeout_ms,
                               char** tables) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(tables, "tables"));
    QUIRE_ASSIGN_OR_RETURN(
        const std::vector<quire::v1::Table> found,
        client->client->ListTables({DeadlineIn(timeout_ms)}));
    quire::v1::ListTablesResponse response;
    response.mutable_tables()->Add(found.begin(), found.end());
    QUIRE_ASSIGN_OR_RETURN(*tables, WriteJson(response));
    return absl::OkStatus();
  });
}

quire_error* quire_alter_table(quire_client* client, const char* request,
                               int64_t timeout_ms, char** table) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(table, "table"));
    quire::v1::AlterTableRequest message;
    QUIRE_RETURN_IF_ERROR(ReadJson(request, "request", message));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::Table altered,
        client->client->AlterTable(message, {DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*table, WriteJson(altered));
    return absl::OkStatus();
  });
}

quire_error* quire_drop_table(quire_client* client, const char* table,
                              int64_t timeout_ms) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    return client->client->DropTable(table, {DeadlineIn(timeout_ms)});
  });
}

quire_error* quire_rewind_table(quire_client* client, const char* table,
                                uint64_t to_lsn, int64_t timeout_ms,
                                char** rewound) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    QUIRE_RETURN_IF_ERROR(CheckThere(rewound, "rewound"));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::RewindTableResponse response,
        client->client->RewindTable(table, to_lsn, {DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*rewound, WriteJson(response));
    return absl::OkStatus();
  });
}

quire_error* quire_read_rows(quire_client* client, const char* table,
                             const int64_t* ids, int64_t id_count,
                             int32_t values, int64_t timeout_ms,
                             quire_rows** rows) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    QUIRE_RETURN_IF_ERROR(CheckThere(rows, "rows"));
    QUIRE_ASSIGN_OR_RETURN(const auto id_span, SpanOf(ids, id_count, "ids"));
    quire::v1::ReadRowsRequest request;
    request.mutable_table()->set_name(table);
    request.mutable_ids()->mutable_ids()->Add(id_span.begin(), id_span.end());
    request.set_values(values != 0);
    QUIRE_ASSIGN_OR_RETURN(
        quire::v1::ReadRowsResponse response,
        client->client->ReadRows(request, {DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*rows, RowsOf(std::move(response)));
    return absl::OkStatus();
  });
}

quire_error* quire_write_rows(quire_client* client, const char* table,
                              const int64_t* ids, int64_t id_count,
                              const float* values, int64_t value_count,
                              const float* state, int64_t state_count,
                              int64_t timeout_ms) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    QUIRE_ASSIGN_OR_RETURN(const auto id_span, SpanOf(ids, id_count, "ids"));
    QUIRE_ASSIGN_OR_RETURN(const auto value_span,
                           SpanOf(values, value_count, "values"));
    quire::v1::WriteRowsRequest request;
    request.mutable_table()->set_name(table);
    request.mutable_ids()->mutable_ids()->Add(id_span.begin(), id_span.end());
    QUIRE_RETURN_IF_ERROR(
        SetTensor(value_span, id_count, "values", *request.mutable_values()));
    if (state != nullptr) {
      QUIRE_ASSIGN_OR_RETURN(const auto state_span,
                             SpanOf(state, state_count, "state"));
      QUIRE_RETURN_IF_ERROR(
          SetTensor(state_span, id_count, "state", *request.mutable_state()));
    }
    return client->client->WriteRows(request, {DeadlineIn(timeout_ms)})
        .status();
  });
}

quire_error* quire_get_row(quire_client* client, const char* table, int64_t id,
                           int64_t timeout_ms, char** row) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    QUIRE_RETURN_IF_ERROR(CheckThere(row, "row"));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::GetRowResponse response,
        client->client->GetRow(table, id, {DeadlineIn(timeout_ms)}));
    QUIRE_ASSIGN_OR_RETURN(*row, WriteJson(response));
    return absl::OkStatus();
  });
}

quire_error* quire_set_labels(quire_client* client, const char* table,
                              const int64_t* ids, int64_t id_count,
                              const quire_labels* labels, int64_t timeout_ms) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    QUIRE_ASSIGN_OR_RETURN(const auto id_span, SpanOf(ids, id_count, "ids"));
    QUIRE_ASSIGN_OR_RETURN(const quire::Labels copies,
                           LabelsOf(labels, id_count));
    return client->client->SetLabels(table, id_span, copies,
                                     {DeadlineIn(timeout_ms)});
  });
}

quire_error* quire_get_labels(quire_client* client, const char* table,
                              const int64_t* ids, int64_t id_count,
                              int64_t timeout_ms, quire_labels** labels) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    QUIRE_RETURN_IF_ERROR(CheckThere(labels, "labels"));
    QUIRE_ASSIGN_OR_RETURN(const auto id_span, SpanOf(ids, id_count, "ids"));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::Labels found,
        client->client->GetLabels(table, id_span, {DeadlineIn(timeout_ms)}));
    *labels = (new quire::c::OwnedLabels(found))->view();
    return absl::OkStatus();
  });
}

quire_error* quire_find_labels(quire_client* client, const char* table,
                               const quire_labels* labels, int64_t timeout_ms,
                               int64_t* ids) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckCall(client, table));
    QUIRE_RETURN_IF_ERROR(CheckThere(labels, "labels"));
    QUIRE_ASSIGN_OR_RETURN(const auto out, SpanOf(ids, labels->count, "ids"));
    QUIRE_ASSIGN_OR_RETURN(const quire::Labels copies,
                           LabelsOf(labels, labels->count));
    QUIRE_ASSIGN_OR_RETURN(
        const std::vector<int64_t> found,
        client->client->FindLabels(table, copies, {DeadlineIn(timeout_ms)}));
    if (found.size() != out.size()) {
      return quire::Error(quire::Reason::kBug,
                          "the server did not answer for each label");
    }
    std::ranges::copy(found, out.begin());
    return absl::OkStatus();
  });
}

quire_error* quire_import_begin(quire_client* client, const char* spec,
                                int64_t step, int64_t timeout_ms,
                                quire_import** import) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(import, "import"));
    quire::v1::ImportTableRequest::Header header;
    QUIRE_RETURN_IF_ERROR(ReadJson(spec, "spec", *header.mutable_spec()));
    header.set_step(step);
    QUIRE_ASSIGN_OR_RETURN(
        std::unique_ptr<quire::Client::Import> stream,
        client->client->ImportTable(header, {DeadlineIn(timeout_ms)}));
    *import = new quire_import{.stream = std::move(stream),
                               .dim = header.spec().embedding_dim()};
    return absl::OkStatus();
  });
}

quire_error* quire_import_write(quire_import* import, const float* values,
                                int64_t value_count, const quire_labels* labels,
                                const float* state, int64_t state_count) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(import, "import"));
    QUIRE_RETURN_IF_ERROR(CheckProcess(import->pid));
    QUIRE_ASSIGN_OR_RETURN(const auto floats,
                           SpanOf(values, value_count, "values"));
    QUIRE_ASSIGN_OR_RETURN(const auto states,
                           SpanOf(state, state_count, "state"));
    quire::Labels copies;
    if (labels != nullptr) {
      QUIRE_ASSIGN_OR_RETURN(copies,
                             LabelsOf(labels, value_count / import->dim));
    }
    return import->stream->Write(floats, copies, states);
  });
}

quire_error* quire_import_finish(quire_import* import, char** table) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(import, "import"));
    QUIRE_RETURN_IF_ERROR(CheckProcess(import->pid));
    QUIRE_ASSIGN_OR_RETURN(const quire::v1::Table made,
                           import->stream->Finish());
    if (table != nullptr) {
      QUIRE_ASSIGN_OR_RETURN(*table, WriteJson(made));
    }
    return absl::OkStatus();
  });
}

void quire_import_free(quire_import* import) { Free(import); }

quire_error* quire_export_begin(quire_client* client, const char* request,
                                int64_t timeout_ms, quire_export** exported) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(exported, "exported"));
    quire::v1::ExportTableRequest message;
    QUIRE_RETURN_IF_ERROR(ReadJson(request, "request", message));
    QUIRE_ASSIGN_OR_RETURN(
        std::unique_ptr<quire::Client::Export> stream,
        client->client->ExportTable(message, {DeadlineIn(timeout_ms)}));
    *exported = new quire_export{.stream = std::move(stream)};
    return absl::OkStatus();
  });
}

quire_error* quire_export_table(const quire_export* exported, char** table) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(exported, "exported"));
    QUIRE_RETURN_IF_ERROR(CheckThere(table, "table"));
    QUIRE_ASSIGN_OR_RETURN(*table, WriteJson(exported->stream->table()));
    return absl::OkStatus();
  });
}

quire_position quire_export_position(const quire_export* exported) {
  return quire::c::PositionOf(exported->stream->position());
}

quire_error* quire_export_read(quire_export* exported, quire_rows** rows) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(exported, "exported"));
    QUIRE_RETURN_IF_ERROR(CheckThere(rows, "rows"));
    QUIRE_RETURN_IF_ERROR(CheckProcess(exported->pid));
    QUIRE_ASSIGN_OR_RETURN(
        std::optional<quire::v1::ExportTableResponse::Chunk> chunk,
        exported->stream->Read());
    *rows = nullptr;
    if (chunk) {
      QUIRE_ASSIGN_OR_RETURN(*rows, RowsOf(*std::move(chunk)));
    }
    return absl::OkStatus();
  });
}

void quire_export_free(quire_export* exported) { Free(exported); }
