// Messages that are too large, broken, or nothing of ours, on every method.

#include <google/protobuf/descriptor.h>

#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kLookup[] = "/quire.v1.EmbeddingService/Lookup";
constexpr char kPush[] = "/quire.v1.EmbeddingService/ApplyGradient";

class LimitsTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    ASSERT_TRUE(Create("t", 10, 2).ok());
  }

  static std::vector<const google::protobuf::MethodDescriptor*> AllMethods() {
    const auto* pool = google::protobuf::DescriptorPool::generated_pool();
    std::vector<const google::protobuf::MethodDescriptor*> methods;
    for (const char* name :
         {"quire.v1.EmbeddingService", "quire.v1.TableService",
          "quire.v1.ServerService"}) {
      const auto* service = pool->FindServiceByName(name);
      for (int i = 0; i < service->method_count(); ++i) {
        methods.push_back(service->method(i));
      }
    }
    return methods;
  }

  static std::string PathOf(const google::protobuf::MethodDescriptor& method) {
    return "/" + method.service()->full_name() + "/" + method.name();
  }
};

// --- Bytes that are no message ---

TEST_F(LimitsTest, TruncatedAndDeeplyNestedBytesAreRefusedByEveryMethod) {
  const std::vector<std::string> broken = {
      "\x1a\x7f",                    // a length beyond the end
      "\x08",                        // a tag without its value
      std::string("\x00\x01", 2),    // field 0
      "\x0f",                        // a wire type that is none
      std::string(11, '\xff'),       // a varint without end
      std::string(100'000, '\x1b'),  // groups 100,000 deep
      std::string(100'000, '\x1b') + std::string(100'000, '\x1c'),
  };
  for (const auto* method : AllMethods()) {
    for (const std::string& bytes : broken) {
      SCOPED_TRACE(method->full_name() + ": " + std::to_string(bytes.size()) +
                   " bytes");
      const bool answers_in_band =
          method->client_streaming() && method->server_streaming();
      if (answers_in_band) {
        std::string answer;
        const grpc::Status status = SendRaw(PathOf(*method), bytes, &answer);
        ASSERT_TRUE(status.ok()) << status.error_message();
        v1::LookupStreamResponse response;  // the errors are of one form
        ASSERT_TRUE(response.ParseFromString(answer));
        EXPECT_EQ(response.error().code(), kInvalid);
        EXPECT_EQ(DetailsOf(response.error()).reason, "MALFORMED");
      } else {
        ExpectRefused([&] { return SendRaw(PathOf(*method), bytes); },
                      {kInvalid, "MALFORMED", "", {}});
      }
    }
  }
}

TEST_F(LimitsTest, APushThatIsCutAnywhereIsMalformedAndChangesNothing) {
  v1::ApplyGradientRequest push;
  auto& entry = Add(push, "t", {1, 2}, {{2, 1}});
  entry.set_learning_rate(0.5);
  SetGradient({2, 1, 2}, {1, 2, 3, 4}, entry);
  const std::string bytes = push.SerializeAsString();
  for (size_t size = 1; size < bytes.size(); ++size) {
    ExpectRefused([&] { return SendRaw(kPush, bytes.substr(0, size)); },
                  {kInvalid, "MALFORMED", "", {}});
  }
  EXPECT_TRUE(SendRaw(kPush, bytes).ok());
  EXPECT_EQ(Describe("t").step(), 1);
}

// Whatever is in it, a name that is not UTF-8 is no proto3 string.
TEST_F(LimitsTest, ANameThatIsNotUtf8IsRefusedByEveryKindOfMethod) {
  v1::LookupRequest lookup;
  Add(lookup, "NAME", {1});
  v1::GetTableRequest get;
  get.mutable_table()->set_name("NAME");
  const auto spoil = [](std::string bytes) {
    return bytes.replace(bytes.find("NAME"), 4, "\xff\xfe\xc3\x28");
  };
  ExpectRefused(
      [&] { return SendRaw(kLookup, spoil(lookup.SerializeAsString())); },
      {kInvalid, "MALFORMED", "", {}});
  ExpectRefused(
      [&] {
        return SendRaw("/quire.v1.TableService/GetTable",
                       spoil(get.SerializeAsString()));
      },
      {kInvalid, "MALFORMED", "", {}});
}

TEST_F(LimitsTest, AMethodThatIsNotThereIsUnimplemented) {
  for (const char* path :
       {"/quire.v1.EmbeddingService/Nothing", "/quire.v2.Other/Lookup", "/"}) {
    EXPECT_EQ(SendRaw(path, "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
}

// --- Messages over a limit ---

TEST_F(LimitsTest, APushOverTheLimitIsToldTheLimitAndARemedy) {
  v1::ApplyGradientRequest push;
  SetGradient({200'000, 2}, std::vector<float>(400'000, 1.0f),
              Add(push, "t", std::vector<int64_t>(200'000, 1)));
  ExpectRefused([&] { return Push(push); },
                {kInvalid,
                 "TOO_LARGE",
                 "",
                 {std::to_string(push.ByteSizeLong()), "1048576",
                  "--push-limit", "Sum the gradients"}});
}

TEST_F(LimitsTest, APushOverTheLimitOnAStreamHarmsNoNeighbour) {
  grpc::ClientContext context;
  auto stream = rows_->ApplyGradientStream(&context);
  for (const int rows : {1, 200'000, 1}) {
    v1::ApplyGradientStreamRequest request;
    request.set_request_id(static_cast<uint64_t>(rows));
    const auto count = static_cast<size_t>(rows);
    SetGradient(
        {rows, 2}, std::vector<float>(2 * count, 1.0f),
        Add(*request.mutable_request(), "t", std::vector<int64_t>(count, 1)));
    ASSERT_TRUE(stream->Write(request));
    v1::ApplyGradientStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.request_id(), request.request_id());
    ASSERT_EQ(response.has_error(), rows > 1);
    if (response.has_error()) {
      EXPECT_EQ(DetailsOf(response.error()).reason, "TOO_LARGE");
      EXPECT_THAT(response.error().message(), HasSubstr("1048576"));
    }
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(Describe("t").step(), 2);
}

TEST_F(LimitsTest, AnyOtherRequestOverSixtyFourMebibytesIsToldTheLimit) {
  // In the slack between our limit and gRPC's.
  const std::string bytes((64 << 20) + 1000, '\0');
  ExpectRefused(
      [&] { return SendRaw("/quire.v1.TableService/WriteRows", bytes); },
      {kInvalid, "TOO_LARGE", "", {"67109864", "67108864", "parts"}});
}

// Above gRPC's own cap our code never sees the message: the sentence is
// gRPC's. It holds both sizes; docs/ERRORS.md says what to do.
TEST_F(LimitsTest, AMessageAboveWhatGrpcTakesIsToldBothSizes) {
  const std::string bytes(65 << 20, '\0');
  const std::string before = State();
  for (const char* method : {kPush, kLookup, "/quire.v1.TableService/WriteRows",
                             "/quire.v1.EmbeddingService/ApplyGradientStream",
                             "/quire.v1.TableService/ImportTable"}) {
    const grpc::Status status = SendRaw(method, bytes);

    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
        << method << ": " << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("larger than max"));
    EXPECT_THAT(status.error_message(), HasSubstr("68157440"));
    EXPECT_THAT(status.error_message(), HasSubstr("67174400"));
  }
  EXPECT_EQ(State(), before);
  ExpectNothingInFlight();
}

// RULINGS 18: small on the wire, large in memory.
TEST_F(LimitsTest, ACompressedRequestIsRefused) {
  v1::LookupRequest request;
  Add(request, "t", std::vector<int64_t>(10'000, 1));
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::LookupResponse response;
  EXPECT_EQ(rows_->Lookup(&context, request, &response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Row("t", 1).size(), 2u);
}

// --- The byte budget ---

TEST(BudgetTest, ARequestThatNeverFitsIsToldTheLimit) {
  auto server = Server::Start({.listen = "127.0.0.1:0",
                               .table_bytes_max = 64 << 20,
                               .inflight_bytes_max = 1 << 20});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto channel = grpc::CreateChannel((*server)->address(),
                                           grpc::InsecureChannelCredentials());
  const auto tables = v1::TableService::NewStub(channel);
  const auto rows = v1::EmbeddingService::NewStub(channel);
  v1::CreateTableRequest create;
  *create.mutable_spec() = Spec("t", 10, 256);
  grpc::ClientContext create_context;
  v1::CreateTableResponse created;
  ASSERT_TRUE(tables->CreateTable(&create_context, create, &created).ok());
  v1::LookupRequest lookup;
  Add(lookup, "t", std::vector<int64_t>(2000, 1));  // 2 MB
  grpc::ClientContext context;
  v1::LookupResponse response;

  const grpc::Status status = rows->Lookup(&context, lookup, &response);

  EXPECT_EQ(status.error_code(), kInvalid);
  EXPECT_EQ(DetailsOf(status).reason, "TOO_LARGE");
  EXPECT_FALSE(DetailsOf(status).has_retry);
  EXPECT_THAT(status.error_message(), HasSubstr("--inflight-limit"));
  lookup.mutable_tables(0)->mutable_ids()->mutable_ids()->Truncate(500);
  grpc::ClientContext small_context;
  EXPECT_TRUE(rows->Lookup(&small_context, lookup, &response).ok());
}

}  // namespace
}  // namespace quire::testing
