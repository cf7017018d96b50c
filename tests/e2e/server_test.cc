// The server itself: what it says of itself, what it counts, how it stops.

#include <google/protobuf/descriptor.h>

#include <atomic>
#include <thread>

#include "base/limits.h"
#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;

using ServerTest = ServiceTest;

TEST_F(ServerTest, SaysAllThatItIs) {
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(info_->GetServerInfo(&context, {}, &info).ok());

  EXPECT_EQ(info.version(), Version());
  EXPECT_THAT(info.instruction_set(), AnyOf("scalar", "avx2", "avx512"));
  EXPECT_EQ(info.thread_count(), 2);
  EXPECT_EQ(info.epoch(), 0u);  // there is no data directory
  for (const char* feature :
       {"lookup", "apply_gradient", "lookup_stream", "apply_gradient_stream",
        "nearest", "labels", "rows", "import", "export"}) {
    EXPECT_THAT(info.features(), Contains(feature));
  }
  const v1::ServerLimits& limits = info.limits();
  EXPECT_EQ(limits.ids_per_request(), kIdsPerRequestMax);
  EXPECT_EQ(limits.tables_per_request(), kTablesPerRequestMax);
  EXPECT_EQ(limits.rank(), kRankMax);
  EXPECT_EQ(limits.lookup_reply_bytes(), kLookupReplyBytesMax);
  EXPECT_EQ(limits.push_bytes(), kPushBytes);
  EXPECT_EQ(limits.embedding_dim(), kDimMax);
  EXPECT_EQ(limits.table_bytes(), kTableBytes);
  EXPECT_EQ(limits.inflight_bytes(), 256 << 20);
  EXPECT_EQ(limits.nearest_count(), kNearestCountMax);
  // A limit that is added to the API is told, or fails here.
  const auto* descriptor = v1::ServerLimits::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    EXPECT_TRUE(limits.GetReflection()->HasField(limits, descriptor->field(i)))
        << descriptor->field(i)->name();
  }
}

TEST_F(ServerTest, CountsWhatItHasDone) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  Row("t", 3);
  v1::LookupRequest bad;
  Add(bad, "t", {10});
  ASSERT_FALSE(Lookup(bad).ok());

  grpc::ClientContext context;
  v1::GetStatsResponse stats;
  ASSERT_TRUE(info_->GetStats(&context, {}, &stats).ok());

  ASSERT_EQ(stats.tables_size(), 1);
  EXPECT_EQ(stats.tables(0).stats().lookups(), 1);
  EXPECT_EQ(stats.tables(0).stats().rows_looked_up(), 1);
  EXPECT_GE(stats.table_bytes(), 10 * 2 * 4);
  EXPECT_GT(stats.uptime_seconds(), 0);
  bool found = false;
  for (const auto& method : stats.methods()) {
    if (method.method() == "Lookup") {
      found = true;
      EXPECT_EQ(method.ok(), 1);
      EXPECT_EQ(method.failed(), 1);
      EXPECT_GT(method.bytes_received(), 0);
      EXPECT_GT(method.bytes_sent(), 0);
    }
  }
  EXPECT_TRUE(found);
  ExpectNothingInFlight();
}

TEST_F(ServerTest, ADeadlineThatHasPassedIsToldAndNothingIsDone) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  const std::string before = State();
  v1::ApplyGradientRequest push;
  SetGradient({1, 2}, {1, 2}, Add(push, "t", {1}));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() -
                       std::chrono::seconds(1));
  v1::ApplyGradientResponse response;

  EXPECT_EQ(rows_->ApplyGradient(&context, push, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);

  EXPECT_EQ(State(), before);
}

TEST_F(ServerTest, StopEndsAnIdleStreamAndRefusesNewCalls) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  grpc::ClientContext context;
  auto stream = rows_->LookupStream(&context);
  v1::LookupStreamRequest request;
  Add(*request.mutable_request(), "t", {1});
  v1::LookupStreamResponse response;
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));

  EXPECT_TRUE(server_->Stop(absl::Seconds(30)).ok());

  EXPECT_FALSE(stream->Read(&response));
  EXPECT_FALSE(stream->Finish().ok());
  v1::LookupRequest late;
  Add(late, "t", {1});
  EXPECT_EQ(Lookup(late).error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace quire::testing
