// The control plane's methods: tables, stored rows, labels, the server.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/exact_table.h"
#include "journal/files.h"
#include "quire/v1/admin.pb.h"

namespace quire {

class TableService {
 public:
  // Both outlive it.
  //   backups  the directory in which they are made; null: none are
  TableService(Engine& engine, journal::Directory* backups)
      : engine_(engine), backups_(backups) {}

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

  absl::StatusOr<v1::RewindTableResponse> RewindTable(
      const v1::RewindTableRequest& request);

  absl::StatusOr<v1::ReadRowsResponse> ReadRows(
      const v1::ReadRowsRequest& request);
  absl::StatusOr<v1::GetRowResponse> GetRow(const v1::GetRowRequest& request);
  absl::StatusOr<v1::WriteRowsResponse> WriteRows(
      const v1::WriteRowsRequest& request);

  absl::StatusOr<v1::SetLabelsResponse> SetLabels(
      const v1::SetLabelsRequest& request);
  absl::StatusOr<v1::GetLabelsResponse> GetLabels(
      const v1::GetLabelsRequest& request);
  absl::StatusOr<v1::CreateSnapshotResponse> CreateSnapshot(
      const v1::CreateSnapshotRequest& request);
  absl::StatusOr<v1::BackUpResponse> BackUp(const v1::BackUpRequest& request);
  absl::StatusOr<v1::VerifyTableResponse> VerifyTable(
      const v1::VerifyTableRequest& request,
      const std::function<bool()>& is_cancelled);
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
    absl::StatusOr<std::optional<v1::ExportTableResponse>> Next();

   private:
    explicit Export(ExactTable table) : table_(std::move(table)) {}
    // The table as of its position, as the API describes it.
    absl::Status MakeHeader(const Engine& engine, const LiveTable& table);
    // The next rows, as many as `chunk` has values for.
    void Fill(const LiveTable& table,
              v1::ExportTableResponse::Chunk& chunk) const;

    ExactTable table_;
    std::optional<v1::ExportTableResponse> header_;
    bool include_state_ = false;
    bool as_values_ = false;
    bool include_labels_ = false;
    int64_t dim_ = 0;
    int64_t state_floats_ = 0;
    int64_t next_id_ = 0;
    int64_t end_id_ = 0;
  };

 private:
  Engine& engine_;
  journal::Directory* const backups_;
};

}  // namespace quire
