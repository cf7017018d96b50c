#include "client/load/loop.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/mutex.h"
#include "client/load/recorder.h"

namespace quire::load {
namespace {

using namespace std::chrono_literals;

// A server that answers after `service`; one request at a time.
class FakeServer : public Target {
 public:
  FakeServer(int slots, std::chrono::nanoseconds service)
      : slots_(slots), service_(service), worker_([this] { Work(); }) {}

  ~FakeServer() override {
    {
      MutexLock lock(mutex_);
      over_ = true;
      changed_.NotifyAll();
    }
    worker_.join();
  }

  void FailAll() {
    MutexLock lock(mutex_);
    answer_ = absl::UnavailableError("gone");
  }

  int64_t answered() {
    MutexLock lock(mutex_);
    return answered_;
  }

  int slot_count() const override { return slots_; }

  absl::Status Run(int slot, const Request& request) override {
    Mutex mutex;
    CondVar changed;
    std::optional<absl::Status> result;
    RunAsync(slot, request, [&](absl::Status status) {
      MutexLock lock(mutex);
      result = std::move(status);
      changed.NotifyAll();
    });
    MutexLock lock(mutex);
    while (!result) {
      changed.Wait(mutex);
    }
    return *result;
  }

  void RunAsync(int, const Request&,
                std::function<void(absl::Status)> done) override {
    MutexLock lock(mutex_);
    waiting_.push_back(std::move(done));
    changed_.NotifyAll();
  }

 private:
  void Work() {
    for (;;) {
      std::function<void(absl::Status)> done;
      absl::Status answer;
      Clock::time_point ready;
      {
        MutexLock lock(mutex_);
        while (waiting_.empty() && !over_) {
          changed_.Wait(mutex_);
        }
        if (waiting_.empty()) {
          return;
        }
        done = std::move(waiting_.front());
        waiting_.erase(waiting_.begin());
        answer = answer_;
        ready = Clock::now() + service_;
        ++answered_;
      }
      std::this_thread::sleep_until(ready);
      done(answer);
    }
  }

  const int slots_;
  const std::chrono::nanoseconds service_;

  Mutex mutex_;
  CondVar changed_;
  std::vector<std::function<void(absl::Status)>> waiting_
      QUIRE_GUARDED_BY(mutex_);
  absl::Status answer_ QUIRE_GUARDED_BY(mutex_);
  int64_t answered_ QUIRE_GUARDED_BY(mutex_) = 0;
  bool over_ QUIRE_GUARDED_BY(mutex_) = false;

  std::thread worker_;
};

const Workload& SmallWorkload(double push_share = 0) {
  static const Workload lookups({.row_count = 10, .batch = 1});
  static const Workload mixed({.row_count = 10, .batch = 1, .push_share = 0.5});
  return push_share == 0 ? lookups : mixed;
}

TEST(LoopTest, AClosedLoopKeepsEveryCallerBusy) {
  FakeServer server(4, 1ms);
  const std::atomic<bool> stop = false;

  const LoopResult result = RunClosedLoop(
      server, SmallWorkload(), 4, {.warmup = 50ms, .duration = 300ms}, stop);

  // One at a time at 1 ms each, four waiting: about 300 answers of 4 ms each.
  EXPECT_GT(result.lookups.count(), 50);
  EXPECT_LE(result.lookups.count(), 310);
  EXPECT_GE(result.lookups.Quantile(0.5), 3ms);
  EXPECT_GE(result.elapsed, 250ms);
  EXPECT_EQ(result.pushes.count(), 0);
  EXPECT_EQ(result.error_count, 0);
}

TEST(LoopTest, BothLoopsEndWhenTold) {
  FakeServer server(2, 0ns);
  std::atomic<bool> stop = false;
  std::thread interrupt([&] {
    std::this_thread::sleep_for(50ms);
    stop = true;
  });
  const LoopTimes times = {.warmup = 0ns, .duration = 60s};
  const Clock::time_point begin = Clock::now();

  RunOpenLoop(server, SmallWorkload(), 1, times, stop, RealClock());
  RunClosedLoop(server, SmallWorkload(), 2, times, stop);

  EXPECT_LT(Clock::now() - begin, 30s);
  interrupt.join();
}

TEST(LoopTest, ALoopGivesUpWhenNothingSucceeds) {
  FakeServer server(2, 0ns);
  server.FailAll();
  const std::atomic<bool> stop = false;
  const LoopTimes times = {.warmup = 0ns, .duration = 60s};
  const Clock::time_point begin = Clock::now();

  const LoopResult open =
      RunOpenLoop(server, SmallWorkload(), 10'000, times, stop, RealClock());
  const LoopResult closed =
      RunClosedLoop(server, SmallWorkload(), 2, times, stop);

  EXPECT_LT(Clock::now() - begin, 30s);
  EXPECT_EQ(open.first_error, absl::UnavailableError("gone"));
  EXPECT_EQ(closed.first_error, absl::UnavailableError("gone"));
  EXPECT_GE(closed.error_count, 100);
  EXPECT_EQ(open.lookups.count(), 0);
}

}  // namespace
}  // namespace quire::load
