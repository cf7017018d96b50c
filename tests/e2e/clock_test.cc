// AdvanceClock over the network: what is refused, who is told what, restarts.

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "clock/clocks.h"
#include "e2e/client_fixture.h"
#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::AdvanceClockRequest Step(int32_t workers, int32_t worker, int64_t step,
                             int64_t max_ahead = 0) {
  v1::AdvanceClockRequest request;
  request.set_clock("run");
  request.set_workers(workers);
  request.set_worker(worker);
  request.set_step(step);
  request.set_max_ahead(max_ahead);
  return request;
}

v1::AdvanceClockRequest Leave(int32_t workers, int32_t worker) {
  v1::AdvanceClockRequest request = Step(workers, worker, 0);
  request.set_leave(true);
  return request;
}

// --- As a stock client sees it ---

class ClockTest : public ServiceTest {
 protected:
  grpc::Status Advance(const v1::AdvanceClockRequest& request,
                       std::chrono::milliseconds deadline = 60s,
                       v1::AdvanceClockResponse* response = nullptr) {
    grpc::ClientContext context;
    return Advance(context, request, deadline, response);
  }
  grpc::Status Advance(grpc::ClientContext& context,
                       const v1::AdvanceClockRequest& request,
                       std::chrono::milliseconds deadline = 60s,
                       v1::AdvanceClockResponse* response = nullptr) {
    context.set_deadline(std::chrono::system_clock::now() + deadline);
    v1::AdvanceClockResponse ignored;
    return info_->AdvanceClock(&context, request,
                               response == nullptr ? &ignored : response);
  }

  std::future<grpc::Status> AdvanceLater(
      const v1::AdvanceClockRequest& request,
      std::chrono::milliseconds deadline = 60s) {
    return std::async(std::launch::async, [this, request, deadline] {
      return Advance(request, deadline);
    });
  }

  v1::GetStatsResponse::MethodStats Counters() {
    grpc::ClientContext context;
    v1::GetStatsResponse stats;
    EXPECT_TRUE(info_->GetStats(&context, {}, &stats).ok());
    for (const auto& method : stats.methods()) {
      if (method.method() == "AdvanceClock") {
        return method;
      }
    }
    return {};
  }
};

TEST_F(ClockTest, WhatIsOutOfRangeIsRefusedAndMakesNoClock) {
  const auto refused =
      [&](const std::function<void(v1::AdvanceClockRequest&)>& spoil,
          const Refusal& refusal) {
        v1::AdvanceClockRequest request = Step(2, 1, 3, 4);
        spoil(request);
        ExpectRefused([&] { return Advance(request); }, refusal);
      };
  for (const char* name : {"", ".x", "a b", "ä"}) {
    refused([&](auto& request) { request.set_clock(name); },
            {kInvalid, "BAD_NAME", "clock", {"clock's name"}});
  }
  refused([](auto& request) { request.set_clock(std::string(129, 'x')); },
          {kInvalid, "BAD_NAME", "clock", {"129 bytes"}});
  for (const int32_t workers : {-1, 0, 65'537}) {
    refused([&](auto& request) { request.set_workers(workers); },
            {kInvalid, "BAD_VALUE", "workers", {"[1, 65536]"}});
  }
  for (const int32_t worker : {-1, 2}) {
    refused([&](auto& request) { request.set_worker(worker); },
            {kInvalid, "BAD_VALUE", "worker", {"[0, 2)"}});
  }
  refused([](auto& request) { request.set_step(-1); },
          {kInvalid, "BAD_VALUE", "step", {"-1"}});
  refused([](auto& request) { request.set_max_ahead(-1); },
          {kInvalid, "BAD_VALUE", "max_ahead", {"-1"}});
  for (const int32_t left : {-1, 2}) {
    refused(
        [&](auto& request) {
          request.add_left(0);
          request.add_left(left);
        },
        {kInvalid, "BAD_VALUE", "left[1]", {"[0, 2)"}});
  }
  refused(
      [](auto& request) {
        request.mutable_left()->Resize(3, 0);
        request.set_leave(true);
      },
      {kInvalid, "BAD_VALUE", "left", {"3 entries"}});
  const std::string method = "/quire.v1.ServerService/AdvanceClock";
  ExpectRefused([&] { return SendRaw(method, "\xff"); },
                {kInvalid, "MALFORMED", "", {}});

  // None of them is there: another number of workers would be refused.
  EXPECT_TRUE(Advance(Step(65'536, 65'535, 0)).ok());
  EXPECT_EQ(DetailsOf(Advance(Step(3, 0, 0))).reason, "CLOCK_DIFFERS");
}

TEST_F(ClockTest, AServerSaysThatItHasClocks) {
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(info_->GetServerInfo(&context, {}, &info).ok());
  EXPECT_THAT(info.features(), Contains("clocks"));
}

TEST_F(ClockTest, AWaitIsToldBeforeItsDeadlineWhoIsBehind) {
  const auto start = std::chrono::steady_clock::now();

  const grpc::Status status = Advance(Step(3, 1, 7, 2), 1000ms);

  EXPECT_GE(std::chrono::steady_clock::now() - start, 700ms);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.reason, "CLOCK_BEHIND");
  EXPECT_TRUE(details.has_retry);
  EXPECT_THAT(status.error_message(),
              HasSubstr("clock 'run': step 5 of every worker is waited for, "
                        "and by the deadline worker 0 of 3 had done 0; it was "
                        "never heard of"));
}

TEST_F(ClockTest, AWaitThatIsCancelledIsLetGoAndItsStepStays) {
  grpc::ClientContext context;
  auto waiting = std::async(std::launch::async,
                            [&] { return Advance(context, Step(2, 0, 4)); });
  EXPECT_EQ(waiting.wait_for(200ms), std::future_status::timeout);

  context.TryCancel();

  EXPECT_EQ(waiting.get().error_code(), grpc::StatusCode::CANCELLED);
  // The server has let go of it, long before its deadline.
  const auto start = std::chrono::steady_clock::now();
  while (Counters().failed() == 0) {
    ASSERT_LT(std::chrono::steady_clock::now() - start, 20s);
    std::this_thread::sleep_for(5ms);
  }
  v1::AdvanceClockResponse response;
  EXPECT_TRUE(Advance(Step(2, 1, 4), 60s, &response).ok());
  EXPECT_EQ(response.slowest_step(), 4);
}

// More of them than there are threads: the server goes on meanwhile.
TEST_F(ClockTest, WorkersThatWaitHoldNoThread) {
  constexpr int32_t kWorkers = 64;
  ASSERT_TRUE(Create("t", 10, 2).ok());
  std::vector<std::future<grpc::Status>> waiting;
  for (int32_t worker = 1; worker < kWorkers; ++worker) {
    waiting.push_back(AdvanceLater(Step(kWorkers, worker, 1)));
  }
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(Row("t", 3).size(), 2u);
  for (const auto& one : waiting) {
    EXPECT_EQ(one.wait_for(0s), std::future_status::timeout);
  }

  EXPECT_TRUE(Advance(Step(kWorkers, 0, 1)).ok());

  for (auto& one : waiting) {
    EXPECT_TRUE(one.get().ok());
  }
  EXPECT_EQ(Counters().ok(), kWorkers);
}

TEST_F(ClockTest, AServerThatStopsTellsThoseWhoWaitAndIsGoneAtOnce) {
  auto waiting = AdvanceLater(Step(2, 0, 4));
  EXPECT_EQ(waiting.wait_for(200ms), std::future_status::timeout);
  const auto start = std::chrono::steady_clock::now();

  EXPECT_TRUE(server_->Stop(absl::Seconds(60)).ok());

  EXPECT_LT(std::chrono::steady_clock::now() - start, 30s);
  const grpc::Status status = waiting.get();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(DetailsOf(status).reason, "STOPPING");
}

// --- Through our client ---

using ClientClockTest = ClientTest;

CallOptions Within(absl::Duration duration) {
  return {.deadline = absl::Now() + duration};
}

TEST_F(ClientClockTest, TheSlowestIsNamedAtTheDeadlineAndDismissed) {
  ASSERT_TRUE(client_->AdvanceClock(Step(2, 1, 3, 5)).ok());
  const absl::Time start = absl::Now();

  const absl::Status status =
      client_->AdvanceClock(Step(2, 0, 4), Within(absl::Milliseconds(800)))
          .status();

  EXPECT_EQ(ReasonOf(status), Reason::kClockBehind) << status;
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(500));
  EXPECT_THAT(MessageOf(status),
              HasSubstr("worker 1 of 2 had done 3; it was last heard of 0."));
  const auto left = client_->AdvanceClock(Leave(2, 1));
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_EQ(left->slowest_step(), 4);
  EXPECT_EQ(left->slowest_worker(), 0);
  EXPECT_THAT(left->left(), ElementsAre(1));
  EXPECT_TRUE(client_->AdvanceClock(Step(2, 0, 5)).ok());
}

// Workers go on while their server is stopped, in good order, and started
// again: what is said to one that is not there is said again to the next.
TEST_F(ClientClockTest, ARestartOfTheServerGoesUnnoticed) {
  constexpr int32_t kWorkers = 4;
  constexpr int64_t kSteps = 400;
  const std::string address = server_->address();
  // One has left before, and is not waited for by a server that never saw it.
  v1::AdvanceClockRequest leave = Leave(kWorkers + 1, kWorkers);
  ASSERT_TRUE(client_->AdvanceClock(leave).ok());
  std::vector<std::atomic<int64_t>> done(kWorkers);
  std::thread restarts([&] {
    for (int64_t restart = 1; restart <= 3; ++restart) {
      while (done[0] < restart * kSteps / 4) {
        std::this_thread::sleep_for(1ms);
      }
      EXPECT_TRUE(server_->Stop(absl::Seconds(10)).ok());
      server_ = StartServer(address);
      ASSERT_NE(server_, nullptr);
    }
  });
  OnThreads(kWorkers, [&](int worker) {
    const auto client = Client::Connect({.server = address});
    ASSERT_TRUE(client.ok()) << client.status();
    v1::AdvanceClockRequest request = Step(kWorkers + 1, worker, 0, 2);
    for (int64_t step = 1; step <= kSteps; ++step) {
      done[static_cast<size_t>(worker)] = step;
      request.set_step(step);
      const auto response = (*client)->AdvanceClock(request);
      ASSERT_TRUE(response.ok()) << response.status();
      for (const auto& other : done) {
        ASSERT_LE(step - other, 2);
      }
      ASSERT_THAT(response->left(), ElementsAre(kWorkers));
      *request.mutable_left() = response->left();
    }
  });
  restarts.join();
  EXPECT_EQ(client_->AdvanceClock(Leave(kWorkers + 1, 0))->left_size(), 2);
}

}  // namespace
}  // namespace quire::testing
