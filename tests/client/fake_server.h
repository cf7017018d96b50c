// A gRPC server on a loopback port whose answers a test writes: what a real
// one cannot be made to do. Lookups are answered from tables whose values are
// a function of (table, id, column), unless the test says otherwise.

#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/status.h"
#include "client/client.h"
#include "quire/v1/admin.grpc.pb.h"
#include "quire/v1/embedding.grpc.pb.h"

namespace quire::testing {

// An error as a server of ours sends it.
grpc::Status Refusal(Reason reason, std::string_view message,
                     std::string_view field = {},
                     std::optional<int64_t> retry_after_ms = std::nullopt);

// Column `column` of row `id` of table `table`.
float ValueAt(std::string_view table, int64_t id, int64_t column);

// A uid that only tables of this number have.
TableUid UidOf(uint8_t number);
std::string Text(const TableUid& uid);

class FakeServer final : private v1::EmbeddingService::Service,
                         private v1::TableService::Service,
                         private v1::ServerService::Service {
 public:
  template <typename Request, typename Response>
  using Handler = std::function<grpc::Status(grpc::ServerContext&,
                                             const Request&, Response&)>;

  struct FakeTable {
    TableUid uid;
    int64_t dim = 0;
  };

  // Listens on a free port.
  FakeServer();
  ~FakeServer() override;

  const std::string& address() const { return address_; }
  // Ends all connections at once.
  void Stop();
  // Listens again, where it did before it was stopped.
  void Restart();
  // What the health service says.
  void SetServing(bool serving);
  // A client that has connected; the test fails if none can.
  std::unique_ptr<Client> Connect(ClientOptions options = {});

  // Of Lookup: the rows, or the error that a server of ours would send.
  grpc::Status AnswerLookup(const v1::LookupRequest& request,
                            v1::LookupResponse& response);

  // What a test sets, before it connects.
  v1::GetServerInfoResponse info;
  std::map<std::string, FakeTable, std::less<>> tables;
  Handler<v1::LookupRequest, v1::LookupResponse> on_lookup;
  Handler<v1::ApplyGradientRequest, v1::ApplyGradientResponse> on_push;
  Handler<v1::OpenSessionRequest, v1::OpenSessionResponse> on_open;
  Handler<v1::CloseSessionRequest, v1::CloseSessionResponse> on_close;
  Handler<v1::CreateTableRequest, v1::CreateTableResponse> on_create;
  Handler<v1::GetTableRequest, v1::GetTableResponse> on_get;
  Handler<v1::ListTablesRequest, v1::ListTablesResponse> on_list;
  std::function<grpc::Status(grpc::ServerContext&,
                             grpc::ServerReader<v1::ImportTableRequest>&,
                             v1::ImportTableResponse&)>
      on_import;
  std::function<grpc::Status(grpc::ServerWriter<v1::ExportTableResponse>&)>
      on_export;

  // What it has seen.
  std::atomic<int> lookup_count = 0;
  std::atomic<int> lookups_at_once_max = 0;
  std::atomic<int> push_count = 0;
  std::atomic<int> open_count = 0;

 private:
  grpc::Status Lookup(grpc::ServerContext* context,
                      const v1::LookupRequest* request,
                      v1::LookupResponse* response) override;
  grpc::Status ApplyGradient(grpc::ServerContext* context,
                             const v1::ApplyGradientRequest* request,
                             v1::ApplyGradientResponse* response) override;
  grpc::Status OpenSession(grpc::ServerContext* context,
                           const v1::OpenSessionRequest* request,
                           v1::OpenSessionResponse* response) override;
  grpc::Status CloseSession(grpc::ServerContext* context,
                            const v1::CloseSessionRequest* request,
                            v1::CloseSessionResponse* response) override;
  grpc::Status CreateTable(grpc::ServerContext* context,
                           const v1::CreateTableRequest* request,
                           v1::CreateTableResponse* response) override;
  grpc::Status GetTable(grpc::ServerContext* context,
                        const v1::GetTableRequest* request,
                        v1::GetTableResponse* response) override;
  grpc::Status ListTables(grpc::ServerContext* context,
                          const v1::ListTablesRequest* request,
                          v1::ListTablesResponse* response) override;
  grpc::Status ImportTable(grpc::ServerContext* context,
                           grpc::ServerReader<v1::ImportTableRequest>* reader,
                           v1::ImportTableResponse* response) override;
  grpc::Status ExportTable(
      grpc::ServerContext* context, const v1::ExportTableRequest* request,
      grpc::ServerWriter<v1::ExportTableResponse>* writer) override;
  grpc::Status GetServerInfo(grpc::ServerContext* context,
                             const v1::GetServerInfoRequest* request,
                             v1::GetServerInfoResponse* response) override;

  // Listens at address_.
  void Listen();

  std::atomic<int> lookups_now_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::string address_ = "127.0.0.1:0";
};

}  // namespace quire::testing
