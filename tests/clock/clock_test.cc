// A clock's arithmetic, against a list that is searched from end to end.

#include "clock/clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <vector>

#include "main/seed.h"

namespace quire {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Clock::Time kStart{};

TEST(ClockTest, WhoHasNotCalledIsWaitedForAtZeroSteps) {
  Clock clock(3);
  EXPECT_FALSE(clock.has_callers());

  clock.Set(0, 5, kStart);
  clock.Set(2, 7, kStart + seconds(1));

  ASSERT_TRUE(clock.slowest());
  EXPECT_EQ(clock.slowest()->step, 0);
  EXPECT_EQ(clock.slowest()->worker, 1);
  EXPECT_FALSE(clock.slowest()->heard);
  EXPECT_TRUE(clock.has_callers());
  clock.Set(1, 6, kStart + seconds(2));
  EXPECT_EQ(clock.slowest()->step, 5);
  EXPECT_EQ(clock.slowest()->worker, 0);
  EXPECT_EQ(clock.slowest()->heard, kStart);
}

TEST(ClockTest, WhoHasLeftIsNotWaitedForUntilItCallsAgain) {
  Clock clock(2);
  clock.Set(0, 5, kStart);

  clock.Leave(1, kStart);
  EXPECT_EQ(clock.slowest()->worker, 0);
  EXPECT_THAT(clock.left(), ElementsAre(1));
  clock.Leave(0, kStart);
  EXPECT_FALSE(clock.slowest());
  EXPECT_FALSE(clock.has_callers());
  clock.Set(1, 3, kStart);

  EXPECT_EQ(clock.slowest()->step, 3);
  EXPECT_THAT(clock.left(), ElementsAre(0));
}

TEST(ClockTest, HearsayCountsOnlyOfWhoWasNeverHeardOf) {
  Clock clock(4);
  clock.Set(0, 5, kStart);
  clock.Set(1, 4, kStart);
  clock.Leave(1, kStart);
  clock.Set(1, 4, kStart);

  const std::vector<int32_t> hearsay = {0, 1, 2, 2};
  clock.LeaveUnheard(hearsay);

  EXPECT_THAT(clock.left(), ElementsAre(2));
  clock.LeaveUnheard(hearsay);
  EXPECT_THAT(clock.left(), ElementsAre(2));
  clock.Set(2, 9, kStart);
  EXPECT_THAT(clock.left(), IsEmpty());
  EXPECT_EQ(clock.slowest()->worker, 3);
}

TEST(ClockTest, ItsSlowestIsThatOfASearch) {
  struct Known {
    int64_t step = 0;
    std::optional<Clock::Time> heard;
    bool has_left = false;
  };
  std::mt19937_64 random(testing::Seed());
  const auto below = [&](int bound) {
    return std::uniform_int_distribution<int>(0, bound - 1)(random);
  };
  for (int run = 0; run < 200; ++run) {
    const int count = 1 + below(9);
    Clock clock(count);
    std::vector<Known> naive(static_cast<size_t>(count));
    for (int change = 0; change < 100; ++change) {
      const Clock::Time now = kStart + seconds(change);
      const int worker = below(count);
      Known& known = naive[static_cast<size_t>(worker)];
      switch (below(4)) {
        case 0:
          clock.Leave(worker, now);
          known.has_left = true;
          known.heard = now;
          break;
        case 1: {
          const int32_t one = worker;
          clock.LeaveUnheard({&one, 1});
          known.has_left |= !known.heard;
          break;
        }
        default: {
          const int64_t step = below(20);
          clock.Set(worker, step, now);
          known = {.step = step, .heard = now};
        }
      }

      const auto slowest =
          std::ranges::min_element(naive, [](const Known& a, const Known& b) {
            return !a.has_left && (b.has_left || a.step < b.step);
          });
      ASSERT_EQ(clock.slowest().has_value(), !slowest->has_left);
      if (!slowest->has_left) {
        EXPECT_EQ(clock.slowest()->step, slowest->step);
        EXPECT_EQ(clock.slowest()->worker, slowest - naive.begin());
        EXPECT_EQ(clock.slowest()->heard, slowest->heard);
      }
      EXPECT_EQ(std::ssize(clock.left()),
                std::ranges::count_if(naive, &Known::has_left));
      EXPECT_EQ(clock.has_callers(),
                std::ranges::any_of(naive, [](const Known& one) {
                  return one.heard && !one.has_left;
                }));
    }
  }
}

}  // namespace
}  // namespace quire
