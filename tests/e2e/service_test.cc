// The server over real gRPC, as a stock client sees it: generated stubs and
// raw bytes.

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "quire/v1/admin.grpc.pb.h"
#include "quire/v1/embedding.grpc.pb.h"
#include "server/server.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What a client reads from an error's details.
struct Details {
  std::string reason;
  std::string field;
  bool has_retry = false;
};

Details DetailsOf(const google::rpc::Status& status) {
  Details details;
  for (const auto& any : status.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (any.UnpackTo(&info)) {
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
  return DetailsOf(rpc);
}

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = Server::Start({.listen = "127.0.0.1:0",
                                 .table_bytes_max = 256 << 20,
                                 .inflight_bytes_max = 256 << 20,
                                 .push_bytes_max = 1 << 20});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    channel_ = grpc::CreateCustomChannel(
        server_->address(), grpc::InsecureChannelCredentials(), arguments);
    rows_ = v1::EmbeddingService::NewStub(channel_);
    tables_ = v1::TableService::NewStub(channel_);
    info_ = v1::ServerService::NewStub(channel_);
  }

  grpc::Status Create(const std::string& name, int64_t rows, int64_t dim,
                      v1::CreateTableResponse* response = nullptr) {
    v1::CreateTableRequest request;
    request.mutable_spec()->set_name(name);
    request.mutable_spec()->set_num_embeddings(rows);
    request.mutable_spec()->set_embedding_dim(dim);
    request.mutable_spec()->mutable_optimizer()->set_learning_rate(1.0);
    grpc::ClientContext context;
    v1::CreateTableResponse ignored;
    return tables_->CreateTable(&context, request,
                                response == nullptr ? &ignored : response);
  }

  // Adds one table to a request; `dims` absent: no shape.
  template <typename Request>
  static auto& Add(Request& request, const std::string& table,
                   std::vector<int64_t> ids,
                   std::optional<std::vector<int>> dims = {}) {
    auto& entry = *request.add_tables();
    entry.mutable_table()->set_name(table);
    entry.mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
    if (dims) {
      entry.mutable_ids()->mutable_shape()->mutable_dims()->Add(dims->begin(),
                                                                dims->end());
    }
    return entry;
  }

  grpc::Status Lookup(const v1::LookupRequest& request,
                      v1::LookupResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::LookupResponse ignored;
    return rows_->Lookup(&context, request,
                         response == nullptr ? &ignored : response);
  }

  grpc::Status Push(const v1::ApplyGradientRequest& request,
                    v1::ApplyGradientResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::ApplyGradientResponse ignored;
    return rows_->ApplyGradient(&context, request,
                                response == nullptr ? &ignored : response);
  }

  std::vector<float> Row(const std::string& table, int64_t id) {
    v1::LookupRequest request;
    Add(request, table, {id});
    v1::LookupResponse response;
    EXPECT_TRUE(Lookup(request, &response).ok());
    const auto& values = response.tables(0).embeddings().values();
    return {values.begin(), values.end()};
  }

  // The status of sending `bytes` as a message of `method`.
  grpc::Status SendRaw(const std::string& method, const std::string& bytes) {
    grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(
        channel_);
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
    return status;
  }

  void ExpectRefused(const grpc::Status& status, grpc::StatusCode code,
                     const std::string& reason, const std::string& field) {
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_EQ(DetailsOf(status).reason, reason) << status.error_message();
    EXPECT_EQ(DetailsOf(status).field, field) << status.error_message();
  }

  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::EmbeddingService::Stub> rows_;
  std::unique_ptr<v1::TableService::Stub> tables_;
  std::unique_ptr<v1::ServerService::Stub> info_;
};

constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;

TEST_F(ServiceTest, TheSeedExampleHasTheShapeOfItsIdsAndDim) {
  ASSERT_TRUE(Create("dictionary", 10, 5).ok());
  v1::LookupRequest request;
  Add(request, "dictionary", {2, 3, 1, 0, 8, 6}, {{3, 2}});

  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());

  const v1::Tensor& tensor = response.tables(0).embeddings();
  EXPECT_THAT(tensor.shape().dims(), ElementsAre(3, 2, 5));
  ASSERT_EQ(tensor.values_size(), 30);
  EXPECT_EQ(std::vector<float>(tensor.values().begin() + 20,
                               tensor.values().begin() + 25),
            Row("dictionary", 8));
}

TEST_F(ServiceTest, IdsOfEveryRankGiveRowsOfOneRankMore) {
  ASSERT_TRUE(Create("t", 10, 3).ok());
  v1::LookupRequest request;
  Add(request, "t", {4}, std::vector<int>{});          // a scalar
  Add(request, "t", {4, 5});                           // no shape
  Add(request, "t", {}, {{2, 0, 3}});                  // empty
  Add(request, "t", {7}, {{1, 1, 1, 1, 1, 1, 1, 1}});  // rank 8

  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());

  EXPECT_THAT(response.tables(0).embeddings().shape().dims(), ElementsAre(3));
  EXPECT_THAT(response.tables(1).embeddings().shape().dims(),
              ElementsAre(2, 3));
  EXPECT_THAT(response.tables(2).embeddings().shape().dims(),
              ElementsAre(2, 0, 3, 3));
  EXPECT_EQ(response.tables(2).embeddings().values_size(), 0);
  EXPECT_EQ(response.tables(3).embeddings().shape().dims_size(), 9);
}

TEST_F(ServiceTest, APushIsOneStepOfSummedDuplicates) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  const std::vector<float> before = Row("t", 4);
  v1::ApplyGradientRequest request;
  auto& entry = Add(request, "t", {4, 7, 4}, {{3}});
  for (const float g : {1.0f, 2.0f, 0.5f, 0.5f, 3.0f, 4.0f}) {
    entry.mutable_gradient()->add_values(g);
  }
  entry.mutable_gradient()->mutable_shape()->add_dims(3);
  entry.mutable_gradient()->mutable_shape()->add_dims(2);

  v1::ApplyGradientResponse response;
  ASSERT_TRUE(Push(request, &response).ok());

  EXPECT_EQ(response.tables(0).rows_changed(), 2);
  EXPECT_EQ(response.tables(0).step(), 1);
  EXPECT_EQ(response.reached(), v1::DURABILITY_MEMORY);
  EXPECT_FALSE(response.exactly_once());
  EXPECT_THAT(Row("t", 4), ElementsAre(std::fma(-1.0f, 4.0f, before[0]),
                                       std::fma(-1.0f, 6.0f, before[1])));
}

TEST_F(ServiceTest, BadLookupsAreRefusedByNameAndPlace) {
  ASSERT_TRUE(Create("t", 10, 5).ok());
  const auto refused = [&](auto change) {
    v1::LookupRequest request;
    Add(request, "t", {1});
    change(request);
    return Lookup(request);
  };
  ExpectRefused(refused([](auto& r) { Add(r, "nobody", {1}); }),
                grpc::StatusCode::NOT_FOUND, "NO_SUCH_TABLE",
                "tables[1].table.name");
  ExpectRefused(refused([](auto& r) { Add(r, "../etc", {1}); }), kInvalid,
                "BAD_NAME", "tables[1].table.name");
  for (const int64_t bad :
       {int64_t{-1}, int64_t{10}, std::numeric_limits<int64_t>::min(),
        std::numeric_limits<int64_t>::max()}) {
    const grpc::Status status = refused([&](auto& r) {
      Add(r, "t", {0, 9, bad});
    });
    ExpectRefused(status, grpc::StatusCode::OUT_OF_RANGE, "ID_OUT_OF_RANGE",
                  "tables[1].ids.ids[2]");
    EXPECT_THAT(status.error_message(), HasSubstr(std::to_string(bad)));
  }
  ExpectRefused(refused([](auto& r) {
                  Add(r, "t", {1, 2}, {{3}});
                }),
                kInvalid, "BAD_SHAPE", "tables[1].ids.shape");
  ExpectRefused(refused([](auto& r) {
                  Add(r, "t", {1}, {{-1, -1}});
                }),
                kInvalid, "BAD_SHAPE", "tables[1].ids.shape");
  ExpectRefused(
      refused([](auto& r) { Add(r, "t", {1}, {std::vector<int>(9, 1)}); }),
      kInvalid, "BAD_SHAPE", "tables[1].ids.shape");
  ExpectRefused(refused([](auto& r) {
                  Add(r, "t", {}, {std::vector<int>(4, 2'000'000'000)});
                }),
                kInvalid, "BAD_SHAPE", "tables[1].ids.shape");
  ExpectRefused(
      refused([](auto& r) {
        r.mutable_tables(0)->mutable_table()->set_uid(std::string(16, 'x'));
      }),
      grpc::StatusCode::FAILED_PRECONDITION, "TABLE_REPLACED",
      "tables[0].table.uid");
  ExpectRefused(refused([](auto& r) { r.mutable_min_position(); }), kInvalid,
                "NOT_BUILT", "min_position");
  ExpectRefused(refused([](auto& r) { r.mutable_tables(0)->mutable_bags(); }),
                kInvalid, "NOT_BUILT", "tables[0].bags");
}

// LANDSCAPE A16: a stock client learns from the sentence how to get more.
TEST_F(ServiceTest, AReplyAboveTheLimitSaysHowToGetIt) {
  ASSERT_TRUE(Create("wide", 100, 1280).ok());
  v1::LookupRequest request;
  std::vector<int64_t> ids(1024);
  std::ranges::generate(ids, [i = 0]() mutable { return i++ % 100; });
  Add(request, "wide", ids);

  const grpc::Status refused = Lookup(request);
  ExpectRefused(refused, kInvalid, "REPLY_TOO_LARGE", "max_response_bytes");
  EXPECT_THAT(refused.error_message(),
              HasSubstr("grpc.max_receive_message_length"));

  request.set_max_response_bytes(6 << 20);
  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());
  EXPECT_EQ(response.tables(0).embeddings().values_size(), 1024 * 1280);
}

TEST_F(ServiceTest, BadPushesAreRefusedAndChangeNothing) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  ASSERT_TRUE(Create("other", 10, 2).ok());
  const std::vector<float> before = Row("other", 1);
  const auto refused = [&](auto change) {
    v1::ApplyGradientRequest request;
    for (const char* name : {"other", "t"}) {
      auto& entry = Add(request, name, {1});
      entry.mutable_gradient()->mutable_values()->Resize(2, 1.0f);
      entry.mutable_gradient()->mutable_shape()->add_dims(1);
      entry.mutable_gradient()->mutable_shape()->add_dims(2);
    }
    change(request, *request.mutable_tables(1));
    return Push(request);
  };
  ExpectRefused(refused([](auto&, auto& entry) {
                  entry.mutable_gradient()->mutable_shape()->set_dims(1, 1);
                  entry.mutable_gradient()->mutable_values()->RemoveLast();
                }),
                kInvalid, "BAD_SHAPE", "tables[1].gradient.shape");
  ExpectRefused(refused([](auto&, auto& entry) {
                  entry.mutable_gradient()->add_values(1);
                }),
                kInvalid, "BAD_SHAPE", "tables[1].gradient.shape");
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity()}) {
    ExpectRefused(refused([&](auto&, auto& entry) {
                    entry.mutable_gradient()->set_values(1, bad);
                  }),
                  kInvalid, "NON_FINITE", "tables[1].gradient");
  }
  ExpectRefused(
      refused([](auto&, auto& entry) { entry.mutable_ids()->set_ids(0, 10); }),
      grpc::StatusCode::OUT_OF_RANGE, "ID_OUT_OF_RANGE",
      "tables[1].ids.ids[0]");
  ExpectRefused(
      refused([](auto&, auto& entry) { entry.set_learning_rate(-1); }),
      kInvalid, "BAD_VALUE", "tables[1].learning_rate");
  ExpectRefused(
      refused([](auto&, auto& entry) { entry.set_gradient_scale(2); }),
      kInvalid, "NOT_BUILT", "tables[1].gradient_scale");
  ExpectRefused(refused([](auto& request, auto&) {
                  request.mutable_push_id()->set_sequence(1);
                }),
                kInvalid, "NOT_BUILT", "push_id");
  ExpectRefused(refused([](auto& request, auto&) {
                  request.set_min_durability(v1::DURABILITY_SYNCED);
                }),
                grpc::StatusCode::FAILED_PRECONDITION, "UNSUPPORTED_DURABILITY",
                "min_durability");
  EXPECT_EQ(Row("other", 1), before);
}

TEST_F(ServiceTest, AMessageOverTheLimitSaysTheLimitAndTheRemedy) {
  ASSERT_TRUE(Create("t", 10, 2).ok());

  const grpc::Status status = SendRaw(
      "/quire.v1.EmbeddingService/ApplyGradient", std::string(2 << 20, '\0'));

  ExpectRefused(status, kInvalid, "TOO_LARGE", "");
  EXPECT_THAT(status.error_message(), HasSubstr("1048576"));
}

TEST_F(ServiceTest, GarbageIsRefusedByEveryUnaryMethod) {
  std::string nested;  // 100,000 groups deep
  for (int i = 0; i < 100'000; ++i) {
    nested += '\x1b';
  }
  const std::string truncated = "\x1a\x7f";
  for (const char* method :
       {"EmbeddingService/Lookup", "EmbeddingService/ApplyGradient",
        "EmbeddingService/Nearest", "TableService/CreateTable",
        "TableService/WriteRows"}) {
    for (const std::string& bytes : {nested, truncated}) {
      ExpectRefused(SendRaw(std::string("/quire.v1.") + method, bytes),
                    kInvalid, "MALFORMED", "");
    }
  }
  EXPECT_TRUE(Create("alive", 1, 1).ok());
}

TEST_F(ServiceTest, WhatIsNotBuiltSaysSo) {
  grpc::ClientContext context;
  v1::OpenSessionResponse response;

  const grpc::Status status = rows_->OpenSession(&context, {}, &response);

  ExpectRefused(status, grpc::StatusCode::UNIMPLEMENTED, "NO_SUCH_METHOD", "");
}

TEST_F(ServiceTest, CreatingWhatExistsOrCannotBeIsRefused) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  ExpectRefused(Create("t", 10, 2), grpc::StatusCode::ALREADY_EXISTS,
                "TABLE_EXISTS", "spec.name");
  ExpectRefused(Create("bad name", 10, 2), kInvalid, "BAD_NAME", "spec.name");
  ExpectRefused(Create("zero", 10, 0), kInvalid, "BAD_VALUE",
                "spec.embedding_dim");
  ExpectRefused(Create("huge", 100'000'000, 64), kInvalid, "TOO_LARGE",
                "spec.num_embeddings");
}

TEST_F(ServiceTest, ABadRequestInAStreamHarmsNoNeighbour) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  grpc::ClientContext context;
  auto stream = rows_->LookupStream(&context);
  for (uint64_t i = 1; i <= 5; ++i) {
    v1::LookupStreamRequest request;
    request.set_request_id(i);
    Add(*request.mutable_request(), "t", {i == 3 ? int64_t{99} : int64_t{1}});
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();

  for (uint64_t i = 1; i <= 5; ++i) {
    v1::LookupStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.request_id(), i);
    EXPECT_EQ(response.has_error(), i == 3);
    if (i == 3) {
      EXPECT_EQ(DetailsOf(response.error()).reason, "ID_OUT_OF_RANGE");
    } else {
      EXPECT_EQ(response.response().tables(0).embeddings().values_size(), 2);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ServiceTest, PushesOnAStreamAreAppliedInOrder) {
  ASSERT_TRUE(Create("t", 10, 1).ok());
  const float before = Row("t", 0)[0];
  grpc::ClientContext context;
  auto stream = rows_->ApplyGradientStream(&context);
  for (int i = 0; i < 20; ++i) {
    v1::ApplyGradientStreamRequest request;
    request.set_request_id(static_cast<uint64_t>(i));
    auto& entry = Add(*request.mutable_request(), "t", {0});
    entry.mutable_gradient()->add_values(1);
    entry.mutable_gradient()->mutable_shape()->add_dims(1);
    entry.mutable_gradient()->mutable_shape()->add_dims(1);
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  for (int i = 0; i < 20; ++i) {
    v1::ApplyGradientStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.response().tables(0).step(), i + 1);
  }
  EXPECT_TRUE(stream->Finish().ok());

  float expected = before;
  for (int i = 0; i < 20; ++i) {
    expected -= 1;
  }
  EXPECT_EQ(Row("t", 0)[0], expected);
}

TEST_F(ServiceTest, AnImportAppearsWholeAndExportsTheSame) {
  grpc::ClientContext import_context;
  v1::ImportTableResponse imported;
  auto writer = tables_->ImportTable(&import_context, &imported);
  v1::ImportTableRequest part;
  part.mutable_header()->mutable_spec()->set_name("words");
  part.mutable_header()->mutable_spec()->set_num_embeddings(4);
  part.mutable_header()->mutable_spec()->set_embedding_dim(2);
  ASSERT_TRUE(writer->Write(part));
  for (int chunk = 0; chunk < 2; ++chunk) {
    v1::ImportTableRequest::Chunk& rows = *part.mutable_chunk();
    rows.Clear();
    rows.set_first_id(2 * chunk);
    for (int i = 0; i < 4; ++i) {
      rows.mutable_values()->add_values(static_cast<float>(4 * chunk + i));
    }
    rows.add_labels(chunk == 0 ? "king" : "\xff\xfe");
    rows.add_labels("word");
    ASSERT_TRUE(writer->Write(part));
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(imported.table().stats().label_count(), 4);

  grpc::ClientContext export_context;
  v1::ExportTableRequest request;
  request.mutable_table()->set_name("words");
  auto reader = tables_->ExportTable(&export_context, request);
  v1::ExportTableResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.header().spec().num_embeddings(), 4);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_THAT(response.chunk().values().values(),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(response.chunk().labels(),
              ElementsAre("king", "word", "\xff\xfe", "word"));
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ServiceTest, ABrokenImportLeavesNoTable) {
  {
    grpc::ClientContext context;
    v1::ImportTableResponse response;
    auto writer = tables_->ImportTable(&context, &response);
    v1::ImportTableRequest part;
    part.mutable_header()->mutable_spec()->set_name("half");
    part.mutable_header()->mutable_spec()->set_num_embeddings(4);
    part.mutable_header()->mutable_spec()->set_embedding_dim(2);
    writer->Write(part);
    writer->WritesDone();
    ExpectRefused(writer->Finish(), kInvalid, "BAD_SHAPE", "chunk");
  }
  grpc::ClientContext context;
  v1::ListTablesResponse tables;
  ASSERT_TRUE(tables_->ListTables(&context, {}, &tables).ok());
  EXPECT_EQ(tables.tables_size(), 0);
}

TEST_F(ServiceTest, NearestReturnsLabelledNeighbours) {
  ASSERT_TRUE(Create("t", 4, 2).ok());
  v1::WriteRowsRequest rows;
  rows.mutable_table()->set_name("t");
  for (const int64_t id : {0, 1, 2, 3}) {
    rows.mutable_ids()->add_ids(id);
  }
  for (const float x : {1.f, 0.f, 2.f, 0.1f, 0.f, 1.f, -1.f, 0.f}) {
    rows.mutable_values()->add_values(x);
  }
  grpc::ClientContext write_context;
  v1::WriteRowsResponse written;
  ASSERT_TRUE(tables_->WriteRows(&write_context, rows, &written).ok());
  v1::SetLabelsRequest labels;
  labels.mutable_table()->set_name("t");
  labels.mutable_ids()->add_ids(1);
  labels.add_labels("near");
  grpc::ClientContext label_context;
  v1::SetLabelsResponse labelled;
  ASSERT_TRUE(tables_->SetLabels(&label_context, labels, &labelled).ok());

  v1::NearestRequest request;
  request.mutable_table()->set_name("t");
  request.set_k(2);
  request.set_return_labels(true);
  request.add_ids(0);
  grpc::ClientContext context;
  v1::NearestResponse response;
  ASSERT_TRUE(rows_->Nearest(&context, request, &response).ok());

  EXPECT_THAT(response.queries(0).ids(), ElementsAre(1, 2));
  EXPECT_THAT(response.queries(0).labels(), ElementsAre("near", ""));
  EXPECT_NEAR(response.queries(0).scores(0), 2 / std::sqrt(4.01), 1e-6);
  request.set_k(0);
  grpc::ClientContext bad_context;
  ExpectRefused(rows_->Nearest(&bad_context, request, &response), kInvalid,
                "BAD_VALUE", "k");
}

TEST_F(ServiceTest, TheServerSaysWhatItIsAndWhatItHasDone) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  Row("t", 3);
  grpc::ClientContext info_context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(info_->GetServerInfo(&info_context, {}, &info).ok());
  grpc::ClientContext stats_context;
  v1::GetStatsResponse stats;
  ASSERT_TRUE(info_->GetStats(&stats_context, {}, &stats).ok());

  EXPECT_EQ(info.version(), Version());
  EXPECT_EQ(info.limits().push_bytes(), 1 << 20);
  ASSERT_EQ(stats.tables_size(), 1);
  EXPECT_EQ(stats.tables(0).stats().rows_looked_up(), 1);
  EXPECT_EQ(stats.inflight_bytes(), 0);
}

TEST_F(ServiceTest, StopEndsAnIdleStreamAndRefusesNewCalls) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  grpc::ClientContext context;
  auto stream = rows_->LookupStream(&context);
  v1::LookupStreamRequest request;
  Add(*request.mutable_request(), "t", {1});
  v1::LookupStreamResponse response;
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));

  server_->Stop(absl::Seconds(30));

  EXPECT_FALSE(stream->Read(&response));
  EXPECT_FALSE(stream->Finish().ok());
  v1::LookupRequest late;
  Add(late, "t", {1});
  EXPECT_EQ(Lookup(late).error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace quire
