// Lookups and pushes on streams: in order, and a bad one harms no neighbour.

#include <limits>
#include <thread>

#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kBadId = 99;

class StreamsTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    ASSERT_TRUE(Create("t", 10, 1).ok());
  }

  static v1::LookupStreamRequest LookupOf(uint64_t request_id, int64_t id) {
    v1::LookupStreamRequest request;
    request.set_request_id(request_id);
    Add(*request.mutable_request(), "t", {id});
    return request;
  }

  // A push of gradient 1 for row `id`.
  static v1::ApplyGradientStreamRequest PushOf(uint64_t request_id,
                                               int64_t id) {
    v1::ApplyGradientStreamRequest request;
    request.set_request_id(request_id);
    SetGradient({1, 1}, {1}, Add(*request.mutable_request(), "t", {id}));
    return request;
  }

  static void ExpectError(const google::rpc::Status& error,
                          const Refusal& refusal) {
    EXPECT_EQ(error.code(), static_cast<int>(refusal.code));
    EXPECT_EQ(DetailsOf(error).reason, refusal.reason) << error.message();
    EXPECT_EQ(DetailsOf(error).field, refusal.field) << error.message();
    for (const std::string& words : refusal.says) {
      EXPECT_THAT(error.message(), HasSubstr(words));
    }
  }
};

TEST_F(StreamsTest, ABadLookupInTheMiddleHarmsNoNeighbour) {
  const float row = Row("t", 1)[0];
  grpc::ClientContext context;
  auto stream = rows_->LookupStream(&context);
  for (uint64_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(stream->Write(LookupOf(i, i == 3 ? kBadId : 1)));
  }
  stream->WritesDone();

  for (uint64_t i = 1; i <= 5; ++i) {
    v1::LookupStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.request_id(), i);
    ASSERT_EQ(response.has_error(), i == 3);
    if (i == 3) {
      ExpectError(response.error(), {kOutOfRange,
                                     "ID_OUT_OF_RANGE",
                                     "tables[0].ids.ids[0]",
                                     {"99", "position 0"}});
    } else {
      EXPECT_EQ(response.response().tables(0).embeddings().values(0), row);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamsTest, ABadPushInTheMiddleIsNoStepAndHarmsNoNeighbour) {
  const float before = Row("t", 1)[0];
  grpc::ClientContext context;
  auto stream = rows_->ApplyGradientStream(&context);
  for (uint64_t i = 1; i <= 6; ++i) {
    v1::ApplyGradientStreamRequest request = PushOf(i, i == 3 ? kBadId : 1);
    if (i == 5) {
      request.mutable_request()
          ->mutable_tables(0)
          ->mutable_gradient()
          ->set_values(0, std::numeric_limits<float>::quiet_NaN());
    }
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();

  int64_t step = 0;
  for (uint64_t i = 1; i <= 6; ++i) {
    v1::ApplyGradientStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.request_id(), i);
    if (i == 3) {
      ExpectError(response.error(),
                  {kOutOfRange, "ID_OUT_OF_RANGE", "tables[0].ids.ids[0]", {}});
    } else if (i == 5) {
      ExpectError(response.error(),
                  {kInvalid, "NON_FINITE", "tables[0].gradient", {}});
    } else {
      EXPECT_EQ(response.response().tables(0).step(), ++step);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  float expected = before;
  for (int i = 0; i < 4; ++i) {
    expected -= 1;
  }
  EXPECT_EQ(Row("t", 1)[0], expected);
  EXPECT_EQ(Describe("t").step(), 4);
}

TEST_F(StreamsTest, ALookupSeesThePushThatWasAnsweredBeforeIt) {
  grpc::ClientContext push_context;
  grpc::ClientContext lookup_context;
  auto pushes = rows_->ApplyGradientStream(&push_context);
  auto lookups = rows_->LookupStream(&lookup_context);
  float expected = Row("t", 2)[0];
  for (uint64_t i = 0; i < 50; ++i) {
    v1::ApplyGradientStreamResponse pushed;
    v1::LookupStreamResponse found;
    ASSERT_TRUE(pushes->Write(PushOf(i, 2)) && pushes->Read(&pushed));
    ASSERT_TRUE(lookups->Write(LookupOf(i, 2)) && lookups->Read(&found));
    expected -= 1;
    EXPECT_EQ(found.response().tables(0).embeddings().values(0), expected);
  }
  pushes->WritesDone();
  lookups->WritesDone();
  EXPECT_TRUE(pushes->Finish().ok());
  EXPECT_TRUE(lookups->Finish().ok());
}

// Messages that are nothing of ours, between good ones, as raw bytes.
TEST_F(StreamsTest, GarbageInTheMiddleIsAnsweredInItsPlace) {
  const auto send = [&](const std::string& method, const std::string& good,
                        const std::string& bad) {
    const grpc::internal::RpcMethod raw(
        method.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING);
    grpc::ClientContext context;
    std::unique_ptr<
        grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>
        stream(grpc::internal::ClientReaderWriterFactory<
               grpc::ByteBuffer, grpc::ByteBuffer>::Create(channel_.get(), raw,
                                                           &context));
    std::vector<std::string> answers;
    for (const std::string& bytes : {good, bad, good}) {
      const grpc::Slice slice(bytes);
      EXPECT_TRUE(stream->Write(grpc::ByteBuffer(&slice, 1)));
      grpc::ByteBuffer answer;
      EXPECT_TRUE(stream->Read(&answer));
      grpc::Slice whole;
      EXPECT_TRUE(answer.DumpToSingleSlice(&whole).ok());
      answers.emplace_back(reinterpret_cast<const char*>(whole.begin()),
                           whole.size());
    }
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    return answers;
  };
  const std::string good_lookup = LookupOf(7, 1).SerializeAsString();
  const std::string good_push = PushOf(7, 1).SerializeAsString();
  // request_id 9, then a field that is cut, or groups without end.
  for (const std::string& rest :
       {std::string("\x12\x7f"), std::string(100'000, '\x1b'),
        std::string("\x12\x03\xff\xff\xff")}) {
    const std::string bad = "\x08\x09" + rest;
    for (const std::string& bytes :
         send("/quire.v1.EmbeddingService/LookupStream", good_lookup, bad)) {
      v1::LookupStreamResponse answer;
      ASSERT_TRUE(answer.ParseFromString(bytes));
      ASSERT_EQ(answer.request_id() == 9, answer.has_error());
      if (answer.has_error()) {
        ExpectError(answer.error(), {kInvalid, "MALFORMED", "", {}});
      }
    }
    const int64_t step = Describe("t").step();
    for (const std::string& bytes :
         send("/quire.v1.EmbeddingService/ApplyGradientStream", good_push,
              bad)) {
      v1::ApplyGradientStreamResponse answer;
      ASSERT_TRUE(answer.ParseFromString(bytes));
      ASSERT_EQ(answer.request_id() == 9, answer.has_error());
    }
    EXPECT_EQ(Describe("t").step(), step + 2);
  }
}

TEST_F(StreamsTest, PushesAreAppliedInOrder) {
  grpc::ClientContext context;
  auto stream = rows_->ApplyGradientStream(&context);
  for (uint64_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(stream->Write(PushOf(i, 0)));
  }
  stream->WritesDone();
  for (int i = 0; i < 20; ++i) {
    v1::ApplyGradientStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.response().tables(0).step(), i + 1);
  }
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamsTest, AReplyAboveTheLimitIsRefusedInBand) {
  ASSERT_TRUE(Create("wide", 2, 65536).ok());
  v1::LookupStreamRequest large;
  large.set_request_id(1);
  Add(*large.mutable_request(), "wide", std::vector<int64_t>(16, 1));
  v1::LookupStreamRequest small;
  small.set_request_id(2);
  Add(*small.mutable_request(), "wide", {1});
  grpc::ClientContext context;
  auto stream = rows_->LookupStream(&context);
  ASSERT_TRUE(stream->Write(large) && stream->Write(small));
  stream->WritesDone();

  v1::LookupStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ExpectError(response.error(),
              {kInvalid, "REPLY_TOO_LARGE", "max_response_bytes", {"4000000"}});
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.response().tables(0).embeddings().values_size(), 65536);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamsTest, WhatIsRefusedInBandIsCountedAsFailed) {
  grpc::ClientContext context;
  auto stream = rows_->LookupStream(&context);
  for (uint64_t i = 1; i <= 3; ++i) {
    v1::LookupStreamResponse response;
    ASSERT_TRUE(stream->Write(LookupOf(i, i == 2 ? kBadId : 1)));
    ASSERT_TRUE(stream->Read(&response));
  }
  stream->WritesDone();
  ASSERT_TRUE(stream->Finish().ok());

  grpc::ClientContext stats_context;
  v1::GetStatsResponse stats;
  ASSERT_TRUE(info_->GetStats(&stats_context, {}, &stats).ok());

  bool found = false;
  for (const auto& method : stats.methods()) {
    if (method.method() == "LookupStream") {
      found = true;
      EXPECT_EQ(method.ok(), 2);
      EXPECT_EQ(method.failed(), 1);
    }
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace quire::testing
