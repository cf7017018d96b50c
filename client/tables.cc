// Client's calls about tables, their rows and labels, and the server.

#include <fmt/format.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "client/client.h"
#include "client/core.h"
#include "client/message.h"

namespace quire {
namespace {

using Embedding = v1::EmbeddingService::Stub;
using Tables = v1::TableService::Stub;
using Server = v1::ServerService::Stub;

// Between two questions whether a table is filled, or a server back.
constexpr absl::Duration kPollMin = absl::Milliseconds(2);
constexpr absl::Duration kPollMax = absl::Milliseconds(500);

constexpr char kHealthPath[] = "/grpc.health.v1.Health/Check";

// grpc.health.v1.HealthCheckResponse { status: SERVING }.
constexpr std::byte kServing[] = {std::byte{0x08}, std::byte{0x01}};

void SetIds(std::span<const int64_t> ids, v1::IdBatch& batch) {
  batch.mutable_ids()->Add(ids.begin(), ids.end());
}

absl::Status NotFilledInTime(const v1::Table& table) {
  return Error(
      Reason::kDeadline,
      fmt::format("table '{}' was created, but its initial rows are not yet "
                  "written ({:.0f} %). It will serve later.",
                  table.spec().name(), table.filled() * 100));
}

}  // namespace

absl::StatusOr<v1::NearestResponse> Client::Nearest(
    const v1::NearestRequest& request, CallOptions call) {
  return core().Read("Nearest", core().connection().embedding(),
                     &Embedding::PrepareAsyncNearest, request,
                     core().DeadlineOf(call));
}

absl::StatusOr<v1::CreateTableResponse> Client::CreateTable(
    const v1::CreateTableRequest& request, CallOptions call) {
  const absl::Time deadline = core().DeadlineOf(call);
  Tables& tables = core().connection().tables();
  QUIRE_ASSIGN_OR_RETURN(
      v1::CreateTableResponse created,
      core().Unary("CreateTable", tables, &Tables::PrepareAsyncCreateTable,
                   request, deadline));
  v1::GetTableRequest poll;
  poll.mutable_table()->set_name(created.table().spec().name());
  poll.mutable_table()->set_uid(created.table().uid());
  absl::Duration pause = kPollMin;
  while (created.table().state() == v1::TABLE_STATE_FILLING) {
    if (absl::Now() + pause >= deadline) {
      return NotFilledInTime(created.table());
    }
    absl::SleepFor(pause);
    pause = std::min(pause * 1.5, kPollMax);
    QUIRE_ASSIGN_OR_RETURN(
        v1::GetTableResponse polled,
        core().Read("GetTable", tables, &Tables::PrepareAsyncGetTable, poll,
                    deadline));
    created.mutable_table()->Swap(polled.mutable_table());
  }
  return created;
}

absl::StatusOr<v1::Table> Client::GetTable(std::string_view table,
                                           CallOptions call) {
  v1::GetTableRequest request;
  request.mutable_table()->set_name(std::string(table));
  QUIRE_ASSIGN_OR_RETURN(v1::GetTableResponse response,
                         core().Read("GetTable", core().connection().tables(),
                                     &Tables::PrepareAsyncGetTable, request,
                                     core().DeadlineOf(call)));
  return std::move(*response.mutable_table());
}

absl::StatusOr<std::vector<v1::Table>> Client::ListTables(CallOptions call) {
  QUIRE_ASSIGN_OR_RETURN(
      v1::ListTablesResponse response,
      core().Read("ListTables", core().connection().tables(),
                  &Tables::PrepareAsyncListTables, v1::ListTablesRequest(),
                  core().DeadlineOf(call)));
  return std::vector<v1::Table>(
      std::make_move_iterator(response.mutable_tables()->begin()),
      std::make_move_iterator(response.mutable_tables()->end()));
}

absl::StatusOr<v1::Table> Client::AlterTable(
    const v1::AlterTableRequest& request, CallOptions call) {
  QUIRE_ASSIGN_OR_RETURN(
      v1::AlterTableResponse response,
      core().Unary("AlterTable", core().connection().tables(),
                   &Tables::PrepareAsyncAlterTable, request,
                   core().DeadlineOf(call)));
  return std::move(*response.mutable_table());
}

absl::Status Client::DropTable(std::string_view table, CallOptions call) {
  v1::DropTableRequest request;
  request.mutable_table()->set_name(std::string(table));
  return core()
      .Unary("DropTable", core().connection().tables(),
             &Tables::PrepareAsyncDropTable, request, core().DeadlineOf(call))
      .status();
}

absl::StatusOr<v1::RewindTableResponse> Client::RewindTable(
    std::string_view table, uint64_t to_lsn, CallOptions call) {
  v1::RewindTableRequest request;
  request.mutable_table()->set_name(std::string(table));
  request.set_to_lsn(to_lsn);
  return core().Unary("RewindTable", core().connection().tables(),
                      &Tables::PrepareAsyncRewindTable, request,
                      call.deadline.value_or(absl::InfiniteFuture()));
}

absl::StatusOr<v1::GetRowResponse> Client::GetRow(std::string_view table,
                                                  int64_t id,
                                                  CallOptions call) {
  v1::GetRowRequest request;
  request.mutable_table()->set_name(std::string(table));
  request.set_id(id);
  return core().Read("GetRow", core().connection().tables(),
                     &Tables::PrepareAsyncGetRow, request,
                     core().DeadlineOf(call));
}

absl::StatusOr<v1::ReadRowsResponse> Client::ReadRows(
    const v1::ReadRowsRequest& request, CallOptions call) {
  return core().Read("ReadRows", core().connection().tables(),
                     &Tables::PrepareAsyncReadRows, request,
                     core().DeadlineOf(call));
}

absl::StatusOr<v1::WriteRowsResponse> Client::WriteRows(
    const v1::WriteRowsRequest& request, CallOptions call) {
  return core().Unary("WriteRows", core().connection().tables(),
                      &Tables::PrepareAsyncWriteRows, request,
                      core().DeadlineOf(call));
}

absl::Status Client::SetLabels(std::string_view table,
                               std::span<const int64_t> ids,
                               const Labels& labels, CallOptions call) {
  v1::SetLabelsRequest request;
  request.mutable_table()->set_name(std::string(table));
  SetIds(ids, *request.mutable_ids());
  request.mutable_labels()->Add(labels.begin(), labels.end());
  return core()
      .Unary("SetLabels", core().connection().tables(),
             &Tables::PrepareAsyncSetLabels, request, core().DeadlineOf(call))
      .status();
}

absl::StatusOr<Labels> Client::GetLabels(std::string_view table,
                                         std::span<const int64_t> ids,
                                         CallOptions call) {
  v1::GetLabelsRequest request;
  request.mutable_table()->set_name(std::string(table));
  SetIds(ids, *request.mutable_ids());
  QUIRE_ASSIGN_OR_RETURN(v1::GetLabelsResponse response,
                         core().Read("GetLabels", core().connection().tables(),
                                     &Tables::PrepareAsyncGetLabels, request,
                                     core().DeadlineOf(call)));
  return Labels(std::make_move_iterator(response.mutable_labels()->begin()),
                std::make_move_iterator(response.mutable_labels()->end()));
}

absl::StatusOr<std::vector<int64_t>> Client::FindLabels(std::string_view table,
                                                        const Labels& labels,
                                                        CallOptions call) {
  v1::FindLabelsRequest request;
  request.mutable_table()->set_name(std::string(table));
  request.mutable_labels()->Add(labels.begin(), labels.end());
  QUIRE_ASSIGN_OR_RETURN(const v1::FindLabelsResponse response,
                         core().Read("FindLabels", core().connection().tables(),
                                     &Tables::PrepareAsyncFindLabels, request,
                                     core().DeadlineOf(call)));
  return std::vector<int64_t>(response.ids().begin(), response.ids().end());
}

absl::StatusOr<v1::Position> Client::CreateSnapshot(CallOptions call) {
  QUIRE_ASSIGN_OR_RETURN(
      v1::CreateSnapshotResponse response,
      core().Unary("CreateSnapshot", core().connection().tables(),
                   &Tables::PrepareAsyncCreateSnapshot,
                   v1::CreateSnapshotRequest(),
                   call.deadline.value_or(absl::InfiniteFuture())));
  return std::move(*response.mutable_position());
}

absl::StatusOr<v1::VerifyTableResponse> Client::VerifyTable(
    std::string_view table, CallOptions call) {
  v1::VerifyTableRequest request;
  request.mutable_table()->set_name(std::string(table));
  return core().Unary("VerifyTable", core().connection().tables(),
                      &Tables::PrepareAsyncVerifyTable, request,
                      call.deadline.value_or(absl::InfiniteFuture()));
}

absl::StatusOr<v1::BackUpResponse> Client::BackUp(const std::string& name,
                                                  CallOptions call) {
  v1::BackUpRequest request;
  request.set_name(name);
  return core().Unary("BackUp", core().connection().tables(),
                      &Tables::PrepareAsyncBackUp, request,
                      call.deadline.value_or(absl::InfiniteFuture()));
}

absl::StatusOr<v1::GetStatsResponse> Client::GetStats(CallOptions call) {
  return core().Read("GetStats", core().connection().server(),
                     &Server::PrepareAsyncGetStats, v1::GetStatsRequest(),
                     core().DeadlineOf(call));
}

absl::StatusOr<v1::AdvanceClockResponse> Client::AdvanceClock(
    const v1::AdvanceClockRequest& request, CallOptions call) {
  return core().Read("AdvanceClock", core().connection().server(),
                     &Server::PrepareAsyncAdvanceClock, request,
                     core().DeadlineOf(call));
}

// The two messages of the health protocol are so small that they are written
// and read here: an empty one asks for the server as a whole.
absl::Status Client::Health(CallOptions call) {
  Connection& connection = core().connection();
  const CallSite site = connection.Site("Health", core().DeadlineOf(call));
  QUIRE_ASSIGN_OR_RETURN(const grpc::ByteBuffer response,
                         core().Wait<grpc::ByteBuffer>(
                             site, [&connection](grpc::ClientContext* context,
                                                 grpc::CompletionQueue* queue) {
                               const grpc::Slice nothing;
                               return connection.raw().PrepareUnaryCall(
                                   context, kHealthPath,
                                   grpc::ByteBuffer(&nothing, 1), queue);
                             }));
  grpc::Slice bytes;
  if (!response.DumpToSingleSlice(&bytes).ok() ||
      !std::ranges::equal(std::as_bytes(std::span(bytes.begin(), bytes.end())),
                          kServing)) {
    return Error(Reason::kStopping,
                 fmt::format("the server at {} does not serve now: it is "
                             "starting or stopping",
                             site.server));
  }
  return absl::OkStatus();
}

}  // namespace quire
