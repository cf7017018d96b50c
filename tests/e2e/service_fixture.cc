#include "e2e/service_fixture.h"

#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "google/rpc/error_details.pb.h"

namespace quire::testing {

using ::testing::HasSubstr;

Details DetailsOf(const google::rpc::Status& status) {
  Details details;
  for (const auto& any : status.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (any.UnpackTo(&info)) {
      EXPECT_EQ(info.domain(), "quire");
      details.reason = info.reason();
    } else if (any.UnpackTo(&bad)) {
      details.field = bad.field_violations(0).field();
    } else if (any.Is<google::rpc::RetryInfo>()) {
      details.has_retry = true;
    }
  }
  return details;
}

Details DetailsOf(const grpc::Status& status) {
  google::rpc::Status rpc;
  EXPECT_TRUE(rpc.ParseFromString(status.error_details()));
  EXPECT_EQ(rpc.message(), status.ok() ? "" : status.error_message());
  return DetailsOf(rpc);
}

void SetGradient(const std::vector<int>& dims, const std::vector<float>& values,
                 v1::TableGradient& entry) {
  v1::Tensor& gradient = *entry.mutable_gradient();
  gradient.mutable_shape()->mutable_dims()->Assign(dims.begin(), dims.end());
  gradient.mutable_values()->Assign(values.begin(), values.end());
}

v1::TableSpec Spec(const std::string& name, int64_t rows, int64_t dim) {
  v1::TableSpec spec;
  spec.set_name(name);
  spec.set_num_embeddings(rows);
  spec.set_embedding_dim(dim);
  spec.mutable_optimizer()->set_learning_rate(1.0);
  return spec;
}

void ServiceTest::StartServer(const std::string& data_dir) {
  // gRPC that shuts down between tests may wait ten seconds for a thread that
  // polls after a large send: keep it up.
  static const bool kept_up [[maybe_unused]] = (grpc_init(), true);
  auto server = Server::Start(Options(data_dir));
  ASSERT_TRUE(server.ok()) << server.status();
  Use(*std::move(server));
}

ServerOptions ServiceTest::Options(const std::string& data_dir) {
  return {.listen = "127.0.0.1:0",
          .table_bytes_max = kTableBytes,
          .inflight_bytes_max = 256 << 20,
          .push_bytes_max = kPushBytes,
          .data_dir = data_dir};
}

void ServiceTest::Use(std::unique_ptr<Server> server) {
  server_ = std::move(server);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  channel_ = grpc::CreateCustomChannel(
      server_->address(), grpc::InsecureChannelCredentials(), arguments);
  rows_ = v1::EmbeddingService::NewStub(channel_);
  tables_ = v1::TableService::NewStub(channel_);
  info_ = v1::ServerService::NewStub(channel_);
}

grpc::Status ServiceTest::Create(const v1::TableSpec& spec) {
  v1::CreateTableRequest request;
  *request.mutable_spec() = spec;
  grpc::ClientContext context;
  v1::CreateTableResponse response;
  return tables_->CreateTable(&context, request, &response);
}

grpc::Status ServiceTest::Lookup(const v1::LookupRequest& request,
                                 v1::LookupResponse* response) {
  grpc::ClientContext context;
  v1::LookupResponse ignored;
  return rows_->Lookup(&context, request,
                       response == nullptr ? &ignored : response);
}

grpc::Status ServiceTest::Push(const v1::ApplyGradientRequest& request,
                               v1::ApplyGradientResponse* response) {
  grpc::ClientContext context;
  v1::ApplyGradientResponse ignored;
  return rows_->ApplyGradient(&context, request,
                              response == nullptr ? &ignored : response);
}

std::vector<float> ServiceTest::Row(const std::string& table, int64_t id) {
  v1::LookupRequest request;
  Add(request, table, {id});
  v1::LookupResponse response;
  const grpc::Status status = Lookup(request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  if (response.tables_size() != 1) {
    return {};
  }
  const auto& values = response.tables(0).embeddings().values();
  return {values.begin(), values.end()};
}

v1::Table ServiceTest::Describe(const std::string& table) {
  v1::GetTableRequest request;
  request.mutable_table()->set_name(table);
  grpc::ClientContext context;
  v1::GetTableResponse response;
  const grpc::Status status = tables_->GetTable(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.table();
}

grpc::Status ServiceTest::SendRaw(const std::string& method,
                                  const std::string& bytes,
                                  std::string* answer) {
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  grpc::ByteBuffer request(&slice, 1);
  auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, this);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice whole;
  if (answer != nullptr && status.ok() &&
      response.DumpToSingleSlice(&whole).ok()) {
    answer->assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
  }
  return status;
}

std::string ServiceTest::State() {
  grpc::ClientContext list_context;
  v1::ListTablesResponse tables;
  const grpc::Status listed = tables_->ListTables(&list_context, {}, &tables);
  EXPECT_TRUE(listed.ok()) << listed.error_message();
  std::string state = tables.DebugString();
  for (const v1::Table& table : tables.tables()) {
    if (table.state() != v1::TABLE_STATE_READY) {
      continue;
    }
    std::vector<int64_t> ids(
        static_cast<size_t>(table.spec().num_embeddings()));
    std::iota(ids.begin(), ids.end(), 0);
    v1::ReadRowsRequest read;
    read.mutable_table()->set_name(table.spec().name());
    read.mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
    grpc::ClientContext read_context;
    v1::ReadRowsResponse rows;
    EXPECT_TRUE(tables_->ReadRows(&read_context, read, &rows).ok());
    v1::GetLabelsRequest get;
    *get.mutable_table() = read.table();
    *get.mutable_ids() = read.ids();
    grpc::ClientContext labels_context;
    v1::GetLabelsResponse labels;
    EXPECT_TRUE(tables_->GetLabels(&labels_context, get, &labels).ok());
    state += rows.SerializeAsString() + labels.SerializeAsString();
  }
  return state;
}

void ServiceTest::ExpectRefused(const std::function<grpc::Status()>& call,
                                const Refusal& refusal) {
  const std::string before = State();

  const grpc::Status status = call();

  EXPECT_EQ(status.error_code(), refusal.code) << status.error_message();
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.reason, refusal.reason) << status.error_message();
  EXPECT_EQ(details.field, refusal.field) << status.error_message();
  for (const std::string& words : refusal.says) {
    EXPECT_THAT(status.error_message(), HasSubstr(words));
  }
  EXPECT_EQ(State(), before)
      << "changed by what was refused with: " << status.error_message();
}

void ServiceTest::ExpectNothingInFlight() {
  int64_t in_flight = -1;
  for (int i = 0; i < 1000 && in_flight != 0; ++i) {
    grpc::ClientContext context;
    v1::GetStatsResponse stats;
    ASSERT_TRUE(info_->GetStats(&context, {}, &stats).ok());
    in_flight = stats.inflight_bytes();
    std::this_thread::yield();
  }
  EXPECT_EQ(in_flight, 0);
}

}  // namespace quire::testing
