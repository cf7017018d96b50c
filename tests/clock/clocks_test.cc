// Clocks that many threads share: who waits, for whom, and how it ends.

#include "clock/clocks.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "main/seed.h"

namespace quire {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Outcome = std::future<absl::StatusOr<ClockState>>;

class ClocksTest : public ::testing::Test {
 protected:
  Outcome Advance(ClockStep step,
                  std::chrono::steady_clock::duration wait = 60s,
                  std::function<bool()> is_cancelled = {}) {
    if (step.clock.empty()) {
      step.clock = "run";
    }
    auto promise = std::make_shared<std::promise<absl::StatusOr<ClockState>>>();
    Outcome outcome = promise->get_future();
    clocks_.Advance(step,
                    {.end = std::chrono::steady_clock::now() + wait,
                     .is_cancelled = std::move(is_cancelled)},
                    [promise](absl::StatusOr<ClockState> state) {
                      promise->set_value(std::move(state));
                    });
    return outcome;
  }

  // One of two workers.
  Outcome OfTwo(int32_t worker, int64_t step, int64_t max_ahead = 0,
                std::chrono::steady_clock::duration wait = 60s) {
    return Advance(
        {.workers = 2, .worker = worker, .step = step, .max_ahead = max_ahead},
        wait);
  }
  Outcome Leave(int32_t worker, int32_t workers = 2,
                std::vector<int32_t> left = {}) {
    return Advance({.workers = workers,
                    .worker = worker,
                    .leave = true,
                    .left = std::move(left)});
  }

  static bool IsOver(const Outcome& outcome) {
    return outcome.wait_for(0s) == std::future_status::ready;
  }

  Clocks clocks_;
};

std::string MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

TEST_F(ClocksTest, AWorkerWaitsForTheSlowestAndMayBeAheadAsFarAsItSays) {
  EXPECT_TRUE(IsOver(OfTwo(0, 0)));
  EXPECT_TRUE(IsOver(OfTwo(0, 3, 3)));

  Outcome ahead = OfTwo(0, 4, 3);
  EXPECT_FALSE(IsOver(ahead));
  Outcome together = OfTwo(0, 2, 0);
  EXPECT_FALSE(IsOver(together));
  EXPECT_EQ(clocks_.waiting_count(), 2u);

  EXPECT_TRUE(IsOver(OfTwo(1, 1, 0)));  // it is not ahead itself
  ASSERT_TRUE(ahead.get().ok());
  EXPECT_FALSE(IsOver(together));
  const auto last = OfTwo(1, 2, 0).get();
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(last->slowest_step, 2);
  EXPECT_EQ(last->slowest_worker, 0);
  EXPECT_EQ(together.get()->slowest_step, 2);
  EXPECT_EQ(clocks_.waiting_count(), 0u);
}

TEST_F(ClocksTest, AWaitThatEndsNamesTheSlowestAndWhatWasSaidStays) {
  OfTwo(1, 3).wait_for(0s);
  const auto start = std::chrono::steady_clock::now();

  const absl::Status never = OfTwo(0, 4, 0, 50ms).get().status();

  EXPECT_GE(std::chrono::steady_clock::now() - start, 50ms);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  EXPECT_EQ(ReasonOf(never), Reason::kClockBehind);
  EXPECT_TRUE(RetryAfterMsOf(never));
  EXPECT_THAT(MessageOf(never),
              HasSubstr("step 4 of every worker is waited for, and by the "
                        "deadline worker 1 of 2 had done 3; it was last heard "
                        "of 0."));
  // Both have said 4 now, though one was told that it waits in vain.
  EXPECT_EQ(OfTwo(1, 4).get()->slowest_step, 4);
}

TEST_F(ClocksTest, WhoWasNeverHeardOfIsNamedSo) {
  const absl::Status status = OfTwo(1, 1, 0, 10ms).get().status();

  EXPECT_THAT(MessageOf(status),
              HasSubstr("worker 0 of 2 had done 0; it was never heard of"));
}

TEST_F(ClocksTest, ACallerWhoHasGoneIsLetGo) {
  std::atomic<bool> has_gone = false;
  Outcome waiting = Advance({.workers = 2, .worker = 0, .step = 5}, 60s,
                            [&has_gone] { return has_gone.load(); });
  EXPECT_EQ(waiting.wait_for(250ms), std::future_status::timeout);

  has_gone = true;

  EXPECT_EQ(ReasonOf(waiting.get().status()), Reason::kCancelled);
  EXPECT_EQ(clocks_.waiting_count(), 0u);
  EXPECT_EQ(OfTwo(1, 5).get()->slowest_step, 5);
}

TEST_F(ClocksTest, WhoLeavesIsNotWaitedForAndDoesNotWait) {
  const auto of_three = [this](int32_t worker, int64_t step) {
    return Advance({.workers = 3, .worker = worker, .step = step});
  };
  Outcome waiting = of_three(0, 5);
  Outcome own = of_three(1, 3);
  EXPECT_FALSE(IsOver(waiting));
  EXPECT_FALSE(IsOver(own));

  const auto state = Leave(1, 3).get();

  EXPECT_EQ(state->slowest_step, 0);
  EXPECT_EQ(state->slowest_worker, 2);
  EXPECT_THAT(state->left, ElementsAre(1));
  EXPECT_TRUE(own.get().ok());
  EXPECT_FALSE(IsOver(waiting));
  Leave(2, 3);
  EXPECT_THAT(waiting.get()->left, ElementsAre(1, 2));
  // It is there again once it calls.
  EXPECT_TRUE(IsOver(of_three(0, 6)));
  EXPECT_TRUE(IsOver(of_three(1, 0)));
  EXPECT_FALSE(IsOver(of_three(0, 7)));
}

TEST_F(ClocksTest, AClockGoesWithItsLastWorker) {
  OfTwo(0, 1);
  EXPECT_EQ(clocks_.size(), 1u);
  Leave(0);
  EXPECT_EQ(clocks_.size(), 1u);

  const auto last = Leave(1).get();

  EXPECT_FALSE(last->slowest_step);
  EXPECT_FALSE(last->slowest_worker);
  EXPECT_THAT(last->left, ElementsAre(0, 1));
  EXPECT_EQ(clocks_.size(), 0u);
  // The next of that name begins anew, of any size.
  EXPECT_TRUE(Advance({.workers = 3, .worker = 2, .step = 0}).get().ok());
}

TEST_F(ClocksTest, AnotherNumberOfWorkersIsRefusedWhileAnyoneIsThere) {
  OfTwo(0, 1, 5);
  Outcome waiting = OfTwo(0, 2);

  const absl::Status differs =
      Advance({.workers = 3, .worker = 1, .step = 7}).get().status();

  EXPECT_EQ(ReasonOf(differs), Reason::kClockDiffers);
  EXPECT_EQ(FieldOf(differs), "workers");
  EXPECT_THAT(MessageOf(differs),
              HasSubstr("worker 1 says that 3 share it, and others that 2"));
  EXPECT_FALSE(IsOver(waiting));
  // An answer was lost, and the leave is said again: nobody is there.
  Leave(0);
  Leave(1);
  Leave(1);
  EXPECT_EQ(clocks_.size(), 1u);
  EXPECT_TRUE(Advance({.workers = 3, .worker = 1, .step = 0}).get().ok());
  EXPECT_EQ(clocks_.size(), 1u);
}

TEST_F(ClocksTest, AWorkerThatBeginsAgainFromACheckpointIsWaitedFor) {
  OfTwo(0, 10, 100);
  OfTwo(1, 10, 100);

  EXPECT_EQ(OfTwo(0, 4, 0).get()->slowest_step, 4);
  Outcome waiting = OfTwo(1, 11, 1);
  EXPECT_FALSE(IsOver(waiting));
  OfTwo(0, 9, 1);
  EXPECT_FALSE(IsOver(waiting));
  OfTwo(0, 10, 1);

  EXPECT_TRUE(waiting.get().ok());
}

TEST_F(ClocksTest, ANewServerIsToldWhoHadLeft) {
  // Worker 2 had left; 1 has not called yet.
  Outcome waiting =
      Advance({.workers = 3, .worker = 0, .step = 50, .left = {2}});
  EXPECT_FALSE(IsOver(waiting));

  const auto state = Advance({.workers = 3, .worker = 1, .step = 50}).get();

  EXPECT_EQ(state->slowest_step, 50);
  EXPECT_THAT(state->left, ElementsAre(2));
  EXPECT_TRUE(waiting.get().ok());
  // One who had not heard of it called first: it is told later.
  clocks_.Advance({.clock = "late", .workers = 3, .worker = 1, .step = 50},
                  {.end = std::chrono::steady_clock::now() + 60s},
                  [](const auto&) {});
  EXPECT_TRUE(
      Advance(
          {.clock = "late", .workers = 3, .worker = 0, .step = 50, .left = {2}})
          .get()
          .ok());
  // Who was heard of since knows better.
  Advance({.workers = 3, .worker = 2, .step = 51, .left = {2}});
  EXPECT_THAT(
      Advance({.workers = 3, .worker = 0, .step = 50, .left = {2}}).get()->left,
      IsEmpty());
}

TEST_F(ClocksTest, TheLargestStepsDoNotOverflow) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  EXPECT_TRUE(IsOver(OfTwo(0, kMax, kMax)));
  EXPECT_TRUE(IsOver(OfTwo(1, 0, kMax)));
  EXPECT_FALSE(IsOver(OfTwo(0, kMax, kMax - 1)));
  EXPECT_FALSE(IsOver(OfTwo(0, kMax, 0)));
}

TEST_F(ClocksTest, AServerHasSoManyClocksAndNoMore) {
  const auto make = [&](size_t i, int32_t workers) {
    return Advance({.clock = fmt::format("c{}", i), .workers = workers})
        .get()
        .status();
  };
  for (size_t i = 0; i < kClockCountMax; ++i) {
    ASSERT_TRUE(make(i, 1).ok());
  }

  const absl::Status full = make(kClockCountMax, 1);

  EXPECT_EQ(ReasonOf(full), Reason::kMemoryFull);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(full), HasSubstr("1024 clocks"));
  EXPECT_TRUE(make(7, 1).ok()) << "one that is there goes on";
  Advance({.clock = "c7", .leave = true});
  EXPECT_TRUE(make(kClockCountMax, 1).ok());
  // Nor more workers of all of them.
  for (size_t i = 0; i < kClockCountMax; ++i) {
    Advance({.clock = fmt::format("c{}", i), .leave = true});
  }
  Advance({.clock = fmt::format("c{}", kClockCountMax), .leave = true});
  EXPECT_EQ(clocks_.size(), 0u);
  for (size_t i = 0; i < kClockWorkersMax / kWorkersPerClockMax; ++i) {
    ASSERT_TRUE(make(i, kWorkersPerClockMax).ok());
  }
  EXPECT_EQ(ReasonOf(make(99, 1)), Reason::kMemoryFull);
}

TEST_F(ClocksTest, AStopEndsAllWaits) {
  Outcome waiting = OfTwo(0, 3);
  Outcome other =
      Advance({.clock = "other", .workers = 2, .worker = 1, .step = 3});
  EXPECT_FALSE(IsOver(waiting));

  clocks_.Stop();

  EXPECT_EQ(ReasonOf(waiting.get().status()), Reason::kStopping);
  EXPECT_EQ(ReasonOf(other.get().status()), Reason::kStopping);
  EXPECT_EQ(ReasonOf(OfTwo(1, 3).get().status()), Reason::kStopping);
}

// Workers of several clocks at their own pace: none begins a step while
// another is further behind than the bound, and none waits for ever. Now and
// then one begins again, is cut off and says it again, or leaves early.
TEST_F(ClocksTest, NoWorkerIsFurtherAheadThanItMayBe) {
  constexpr int kClocks = 3;
  constexpr int kWorkers = 8;
  constexpr int kSteps = 300;
  constexpr std::array<int64_t, kClocks> kAhead = {0, 1, 3};
  // What each has done: raised before it is said.
  std::array<std::array<std::atomic<int64_t>, kWorkers>, kClocks> done{};
  std::array<std::atomic<int64_t>, kClocks> furthest{};
  std::vector<std::thread> threads;
  for (int c = 0; c < kClocks; ++c) {
    for (int32_t worker = 0; worker < kWorkers; ++worker) {
      threads.emplace_back([&, c, worker] {
        std::mt19937_64 random(testing::Seed() +
                               static_cast<uint64_t>(c * kWorkers + worker));
        auto& own = done[static_cast<size_t>(c)];
        const int64_t ahead = kAhead[static_cast<size_t>(c)];
        const int64_t last = worker == 3 ? kSteps / 2 : kSteps;
        for (int64_t step = 1; step <= last; ++step) {
          if (random() % 8 == 0) {
            std::this_thread::sleep_for(
                std::chrono::microseconds(random() % 500));
          }
          own[static_cast<size_t>(worker)] = step;
          const ClockStep say{.clock = fmt::format("c{}", c),
                              .workers = kWorkers,
                              .worker = worker,
                              .step = step,
                              .max_ahead = ahead};
          while (true) {
            const absl::Status status =
                Advance(say, random() % 16 == 0 ? 0s : 60s).get().status();
            if (status.ok()) {
              break;
            }
            ASSERT_EQ(ReasonOf(status), Reason::kClockBehind) << status;
          }
          for (const auto& other : own) {
            const int64_t lead = step - other;
            // Who has left has said so before others went on.
            ASSERT_LE(lead, ahead) << "seed " << testing::Seed();
            int64_t seen = furthest[static_cast<size_t>(c)];
            while (lead > seen &&
                   !furthest[static_cast<size_t>(c)].compare_exchange_weak(
                       seen, lead)) {
            }
          }
        }
        own[static_cast<size_t>(worker)] = kSteps;
        const absl::Status left = Advance({.clock = fmt::format("c{}", c),
                                           .workers = kWorkers,
                                           .worker = worker,
                                           .leave = true})
                                      .get()
                                      .status();
        EXPECT_TRUE(left.ok()) << left;
      });
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(clocks_.size(), 0u);
  EXPECT_EQ(clocks_.waiting_count(), 0u);
  for (size_t c = 0; c < kClocks; ++c) {
    EXPECT_EQ(furthest[c], kAhead[c]) << "the bound was never reached";
  }
}

}  // namespace
}  // namespace quire
