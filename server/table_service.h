// The control plane's methods: tables, stored rows, labels, the server.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "quire/v1/admin.pb.h"

namespace quire {

class TableService {
 public:
  explicit TableService(Engine& engine) : engine_(engine) {}

  absl::StatusOr<v1::CreateTableResponse> CreateTable(
      const v1::CreateTableRequest& request);
  absl::StatusOr<v1::GetTableResponse> GetTable(
      const v1::GetTableRequest& request);
  absl::StatusOr<v1::ListTablesResponse> ListTables(
      const v1::ListTablesRequest& request);
  absl::StatusOr<v1::AlterTableResponse> AlterTable(
      const v1::AlterTableRequest& request);
  absl::StatusOr<v1::DropTableResponse> DropTable(
      const v1::DropTableRequest& request);

  absl::StatusOr<v1::ReadRowsResponse> ReadRows(
      const v1::ReadRowsRequest& request);
  absl::StatusOr<v1::WriteRowsResponse> WriteRows(
      const v1::WriteRowsRequest& request);

  absl::StatusOr<v1::SetLabelsResponse> SetLabels(
      const v1::SetLabelsRequest& request);
  absl::StatusOr<v1::GetLabelsResponse> GetLabels(
      const v1::GetLabelsRequest& request);
  absl::StatusOr<v1::FindLabelsResponse> FindLabels(
      const v1::FindLabelsRequest& request);

  // An import: one call for each message of the stream, then Finish.
  class Import {
   public:
    explicit Import(Engine& engine) : engine_(engine) {}
    absl::Status Take(const v1::ImportTableRequest& part);
    absl::StatusOr<v1::ImportTableResponse> Finish();

   private:
    absl::Status TakeChunk(const v1::ImportTableRequest::Chunk& chunk);

    Engine& engine_;
    std::unique_ptr<Engine::Import> import_;
    int64_t rows_taken_ = 0;
  };

  // An export: Next gives the messages of the stream, then nullopt.
  class Export {
   public:
    static absl::StatusOr<Export> Open(Engine& engine,
                                       const v1::ExportTableRequest& request);
    std::optional<v1::ExportTableResponse> Next();

   private:
    Export() = default;

    TableHandle table_;
    std::optional<v1::ExportTableResponse> header_;
    bool include_state_ = false;
    bool as_values_ = false;
    bool include_labels_ = false;
    int64_t next_id_ = 0;
    int64_t end_id_ = 0;
  };

 private:
  Engine& engine_;
};

}  // namespace quire
