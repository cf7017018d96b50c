#include "tests/client/fake_server.h"

#include <fmt/format.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <chrono>
#include <utility>

#include "base/limits.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quire::testing {
namespace {

// The answer of `handler`, or that of a server without the method.
template <typename Handler, typename... Arguments>
grpc::Status Answer(const Handler& handler, Arguments&&... arguments) {
  return handler ? handler(arguments...)
                 : grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");
}

}  // namespace

grpc::Status Refusal(Reason reason, std::string_view message,
                     std::string_view field,
                     std::optional<int64_t> retry_after_ms) {
  google::rpc::Status status;
  status.set_code(static_cast<int>(CodeOf(reason)));
  status.set_message(std::string(message));
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(ReasonName(reason)));
  info.set_domain("quire");
  status.add_details()->PackFrom(info);
  if (!field.empty()) {
    google::rpc::BadRequest bad;
    bad.add_field_violations()->set_field(std::string(field));
    status.add_details()->PackFrom(bad);
  }
  if (retry_after_ms) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(*retry_after_ms / 1000);
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(*retry_after_ms % 1000 * 1'000'000));
    status.add_details()->PackFrom(retry);
  }
  return {static_cast<grpc::StatusCode>(status.code()), status.message(),
          status.SerializeAsString()};
}

float ValueAt(std::string_view table, int64_t id, int64_t column) {
  const uint64_t hash =
      (static_cast<uint64_t>(id) * 31 + static_cast<uint64_t>(column)) * 31 +
      std::hash<std::string_view>()(table);
  return static_cast<float>(hash % 1'000'003);
}

TableUid UidOf(uint8_t number) {
  TableUid uid;
  uid.bytes.fill(number);
  return uid;
}

std::string Text(const TableUid& uid) {
  return {uid.bytes.begin(), uid.bytes.end()};
}

FakeServer::FakeServer() {
  info.set_version("0.0.9");
  Listen();
}

void FakeServer::Listen() {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(kPushBytesMax + kMessageBytesSlack));
  builder.RegisterService(static_cast<v1::EmbeddingService::Service*>(this));
  builder.RegisterService(static_cast<v1::TableService::Service*>(this));
  builder.RegisterService(static_cast<v1::ServerService::Service*>(this));
  grpc::EnableDefaultHealthCheckService(true);
  server_ = builder.BuildAndStart();
  ASSERT_NE(server_, nullptr) << "cannot listen at " << address_;
  address_ = fmt::format("127.0.0.1:{}", port);
}

FakeServer::~FakeServer() { Stop(); }

void FakeServer::Stop() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

void FakeServer::Restart() { Listen(); }

void FakeServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(serving);
}

std::unique_ptr<Client> FakeServer::Connect(ClientOptions options) {
  options.server = address_;
  absl::StatusOr<std::unique_ptr<Client>> client =
      Client::Connect(std::move(options));
  EXPECT_TRUE(client.ok()) << client.status();
  return client.ok() ? *std::move(client) : nullptr;
}

grpc::Status FakeServer::AnswerLookup(const v1::LookupRequest& request,
                                      v1::LookupResponse& response) {
  int64_t id_count = 0;
  for (const v1::TableLookup& wanted : request.tables()) {
    const auto table = tables.find(wanted.table().name());
    if (table == tables.end()) {
      return Refusal(Reason::kNoSuchTable, "no such table");
    }
    v1::TableLookupResult& result = *response.add_tables();
    result.set_table_uid(Text(table->second.uid));
    result.mutable_embeddings()->mutable_shape()->add_dims(
        wanted.ids().ids_size());
    result.mutable_embeddings()->mutable_shape()->add_dims(
        static_cast<int32_t>(table->second.dim));
    for (int64_t id : wanted.ids().ids()) {
      for (int64_t column = 0; column < table->second.dim; ++column) {
        result.mutable_embeddings()->add_values(
            ValueAt(table->first, id, column));
      }
    }
    id_count += wanted.ids().ids_size();
  }
  if (static_cast<int64_t>(response.ByteSizeLong()) >
      request.max_response_bytes()) {
    return Refusal(Reason::kReplyTooLarge, "the reply is too large");
  }
  const int64_t ids_max = info.limits().ids_per_request();
  if (ids_max > 0 && id_count > ids_max) {
    return Refusal(Reason::kTooLarge, "too many ids");
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::Lookup(grpc::ServerContext* context,
                                const v1::LookupRequest* request,
                                v1::LookupResponse* response) {
  ++lookup_count;
  const int now = ++lookups_now_;
  int most = lookups_at_once_max;
  while (now > most && !lookups_at_once_max.compare_exchange_weak(most, now)) {
  }
  const grpc::Status status = on_lookup
                                  ? on_lookup(*context, *request, *response)
                                  : AnswerLookup(*request, *response);
  --lookups_now_;
  return status;
}

grpc::Status FakeServer::ApplyGradient(grpc::ServerContext* context,
                                       const v1::ApplyGradientRequest* request,
                                       v1::ApplyGradientResponse* response) {
  ++push_count;
  return Answer(on_push, *context, *request, *response);
}

grpc::Status FakeServer::OpenSession(grpc::ServerContext* context,
                                     const v1::OpenSessionRequest* request,
                                     v1::OpenSessionResponse* response) {
  ++open_count;
  return Answer(on_open, *context, *request, *response);
}

grpc::Status FakeServer::CloseSession(grpc::ServerContext* context,
                                      const v1::CloseSessionRequest* request,
                                      v1::CloseSessionResponse* response) {
  return Answer(on_close, *context, *request, *response);
}

grpc::Status FakeServer::CreateTable(grpc::ServerContext* context,
                                     const v1::CreateTableRequest* request,
                                     v1::CreateTableResponse* response) {
  return Answer(on_create, *context, *request, *response);
}

grpc::Status FakeServer::GetTable(grpc::ServerContext* context,
                                  const v1::GetTableRequest* request,
                                  v1::GetTableResponse* response) {
  if (on_get) {
    return on_get(*context, *request, *response);
  }
  const auto table = tables.find(request->table().name());
  if (table == tables.end()) {
    return Refusal(Reason::kNoSuchTable, "no such table");
  }
  response->mutable_table()->set_uid(Text(table->second.uid));
  response->mutable_table()->mutable_spec()->set_embedding_dim(
      table->second.dim);
  return grpc::Status::OK;
}

grpc::Status FakeServer::ListTables(grpc::ServerContext* context,
                                    const v1::ListTablesRequest* request,
                                    v1::ListTablesResponse* response) {
  return Answer(on_list, *context, *request, *response);
}

grpc::Status FakeServer::ImportTable(
    grpc::ServerContext* context,
    grpc::ServerReader<v1::ImportTableRequest>* reader,
    v1::ImportTableResponse* response) {
  return Answer(on_import, *context, *reader, *response);
}

grpc::Status FakeServer::ExportTable(
    grpc::ServerContext* /*context*/, const v1::ExportTableRequest* /*request*/,
    grpc::ServerWriter<v1::ExportTableResponse>* writer) {
  return Answer(on_export, *writer);
}

grpc::Status FakeServer::GetServerInfo(
    grpc::ServerContext* /*context*/,
    const v1::GetServerInfoRequest* /*request*/,
    v1::GetServerInfoResponse* response) {
  *response = info;
  return grpc::Status::OK;
}

}  // namespace quire::testing
