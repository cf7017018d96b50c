// The open loop on a clock of its own: what is expected is exact.

#include <gtest/gtest.h>

#include <map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "client/load/loop.h"

namespace quire::load {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

// Time that passes only when somebody waits, and the things that happen in it.
// Thread safety: one thread.
class FakeClock : public LoopClock {
 public:
  Clock::time_point Now() const override { return now_; }

  void SleepUntil(Clock::time_point time) override {
    while (!events_.empty() && events_.begin()->first <= time) {
      Step();
    }
    now_ = std::max(now_, time);
  }

  void WaitUntil(CondVar&, Mutex& mutex, Clock::time_point time)
      QUIRE_REQUIRES(mutex) override {
    mutex.unlock();
    if (!events_.empty() && events_.begin()->first <= time) {
      Step();
    } else {
      now_ = std::max(now_, time);
    }
    mutex.lock();
  }

  void At(Clock::time_point time, std::function<void()> event) {
    events_.emplace(time, std::move(event));
  }

 private:
  // To the next event.
  void Step() {
    auto event = events_.extract(events_.begin());
    now_ = std::max(now_, event.key());
    event.mapped()();
  }

  Clock::time_point now_{};
  // Those of one moment in the order in which they were asked for.
  std::multimap<Clock::time_point, std::function<void()>> events_;
};

// A server that answers each request after `service`, but answers nothing in
// the time of its stall: that comes at its end.
class FakeServer : public Target {
 public:
  FakeServer(FakeClock& clock, int slots, nanoseconds service)
      : clock_(clock), slots_(slots), service_(service) {}

  void StallBetween(nanoseconds begin, nanoseconds end) {
    stall_begin_ = clock_.Now() + begin;
    stall_end_ = clock_.Now() + end;
  }

  // When requests came, in order.
  const std::vector<Clock::time_point>& arrivals() const { return arrivals_; }

  int slot_count() const override { return slots_; }

  absl::Status Run(int, const Request&) override {
    return absl::UnimplementedError("an open loop does not wait");
  }

  void RunAsync(int, const Request&,
                std::function<void(absl::Status)> done) override {
    arrivals_.push_back(clock_.Now());
    Clock::time_point answer = clock_.Now() + service_;
    if (answer >= stall_begin_ && answer < stall_end_) {
      answer = stall_end_;
    }
    clock_.At(answer, [done = std::move(done)] { done(absl::OkStatus()); });
  }

 private:
  FakeClock& clock_;
  const int slots_;
  const nanoseconds service_;
  Clock::time_point stall_begin_;
  Clock::time_point stall_end_;
  std::vector<Clock::time_point> arrivals_;
};

const std::atomic<bool> kNoStop = false;

TEST(OpenLoopTest, SendsAtItsRateAndCountsAfterTheWarmUp) {
  FakeClock clock;
  FakeServer server(clock, 64, 200us);
  const Workload mixed({.row_count = 10, .batch = 1, .push_share = 0.5});

  const LoopResult result = RunOpenLoop(
      server, mixed, 500, {.warmup = 100ms, .duration = 400ms}, kNoStop, clock);

  ASSERT_EQ(server.arrivals().size(), 250);
  for (size_t i = 0; i < server.arrivals().size(); ++i) {
    EXPECT_EQ(server.arrivals()[i].time_since_epoch(), 2ms * i);
  }
  EXPECT_EQ(result.lookups.count() + result.pushes.count(), 200);
  EXPECT_GT(result.pushes.count(), 50);
  EXPECT_EQ(result.lookups.max(), 200us);
  EXPECT_EQ(result.elapsed, 398ms + 200us);
  EXPECT_EQ(result.unsent_count, 0);
}

TEST(OpenLoopTest, AStallCountsForEveryRequestThatItHeldUp) {
  FakeClock clock;
  FakeServer server(clock, 8, 100us);
  server.StallBetween(200ms, 500ms);
  const Workload lookups({.row_count = 10, .batch = 1});

  const LoopResult result =
      RunOpenLoop(server, lookups, 1000, {.warmup = 0ns, .duration = 600ms},
                  kNoStop, clock);

  // Half of the time the server stood still. Of the 300 requests of that time
  // only eight were on their way, as many as there are slots; but the i-th was
  // due after i ms and answered after 500 at the earliest. So at least those
  // up to the 400th took 100 ms, and all 300 together 300 + 299 + … + 1 ms.
  EXPECT_EQ(result.lookups.count(), 600);
  EXPECT_EQ(result.unsent_count, 0);
  EXPECT_EQ(result.lookups.max(), 300ms);
  EXPECT_EQ(result.lookups.min(), 100us);
  EXPECT_GE(result.lookups.CountBetween(99ms, 1h), 201);
  EXPECT_LE(result.lookups.CountBetween(99ms, 1h), 205);
  const nanoseconds held_up = 300 * 301 / 2 * 1ms;
  EXPECT_GE(result.lookups.mean(), held_up / 600);
  // Then eight were answered in every 100 µs until all had caught up.
  EXPECT_LE(result.lookups.mean(), held_up / 600 + 2ms);
}

TEST(OpenLoopTest, RequestsThatWereNeverSentAreCountedAsWaiting) {
  FakeClock clock;
  FakeServer server(clock, 1, 10ms);
  const Workload lookups({.row_count = 10, .batch = 1});

  const LoopResult result =
      RunOpenLoop(server, lookups, 1000, {.warmup = 0ns, .duration = 300ms},
                  kNoStop, clock);

  // One every 10 ms, each later than the one before by 9 ms: the 30th was due
  // after 29 ms and answered after 300. The other 270 waited until the end.
  EXPECT_EQ(server.arrivals().size(), 30);
  EXPECT_EQ(result.unsent_count, 270);
  EXPECT_EQ(result.lookups.count(), 300);
  EXPECT_EQ(result.lookups.max(), 271ms);
  EXPECT_EQ(result.lookups.min(), 1ms);
}

}  // namespace
}  // namespace quire::load
