// Exactly-once pushes: sessions, numbers, repeats, doubt.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "client/client.h"
#include "main/seed.h"
#include "tests/client/session_server.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Refusal;
using testing::SessionServer;
using testing::Unanswered;

constexpr std::string_view kDoubt = "may have been applied";

// Lets the other side go on, and waits no longer than half a minute for it.
constexpr std::chrono::seconds kPatience{30};

std::string MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

PushOptions Within(absl::Duration duration) {
  return {.deadline = absl::Now() + duration};
}

// Until the client has given up, or the server is stopped.
void WaitUntilCancelled(grpc::ServerContext& context) {
  for (int i = 0; i < 6000 && !context.IsCancelled(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// Waits until `condition` holds, half a minute at most: whether it does.
bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 6000 && !condition(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

// A push of one row, whose id tells it from others.
class OnePush {
 public:
  explicit OnePush(int64_t id) : ids_{id}, gradient_{1, 2} {}

  absl::StatusOr<Pushed> Run(Client& client, PushOptions push = {}) const {
    const GradientItem item = Item();
    return client.ApplyGradient({&item, 1}, push);
  }

  std::future<absl::StatusOr<Pushed>> Start(Client& client,
                                            PushOptions push = {}) const {
    auto promise = std::make_shared<std::promise<absl::StatusOr<Pushed>>>();
    const GradientItem item = Item();
    client.ApplyGradientAsync({&item, 1}, push,
                              [promise](absl::StatusOr<Pushed> pushed) {
                                promise->set_value(std::move(pushed));
                              });
    return promise->get_future();
  }

 private:
  GradientItem Item() const {
    return {.table = "words",
            .uid = {},
            .ids = ids_,
            .gradient = gradient_,
            .learning_rate = {}};
  }

  const std::vector<int64_t> ids_;
  const std::vector<float> gradient_;
};

class SessionsTest : public ::testing::Test {
 protected:
  std::vector<uint64_t> Sequences() {
    std::vector<uint64_t> sequences;
    for (const auto& arrival : server_.arrivals()) {
      sequences.push_back(arrival.sequence);
    }
    return sequences;
  }

  int open_count() { return server_.fake().open_count; }

  SessionServer server_;
};

TEST_F(SessionsTest, PushesAreCountedInOneSession) {
  const auto client = server_.Connect();

  for (int id = 1; id <= 3; ++id) {
    const auto pushed = OnePush(id).Run(*client);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_TRUE(pushed->exactly_once);
    EXPECT_FALSE(pushed->duplicate);
  }

  EXPECT_EQ(open_count(), 1);
  EXPECT_THAT(Sequences(), ElementsAre(1, 2, 3));
}

TEST_F(SessionsTest, TheAnswerIsTold) {
  v1::Durability wanted = v1::DURABILITY_UNSPECIFIED;
  server_.fake().on_push = [&](auto&, auto& request, auto& response) {
    wanted = request.min_durability();
    response.mutable_position()->set_epoch(7);
    response.mutable_position()->set_lsn(1234);
    response.set_reached(v1::DURABILITY_SYNCED);
    response.set_duplicate(true);
    response.set_exactly_once(true);
    return grpc::Status::OK;
  };
  const auto client = server_.Connect();

  const auto pushed =
      client->ApplyGradient({}, {.min_durability = v1::DURABILITY_SYNCED});

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(wanted, v1::DURABILITY_SYNCED);
  EXPECT_EQ(pushed->position->epoch(), 7u);
  EXPECT_EQ(pushed->position->lsn(), 1234u);
  EXPECT_EQ(pushed->reached, v1::DURABILITY_SYNCED);
  EXPECT_TRUE(pushed->duplicate);
  EXPECT_TRUE(pushed->exactly_once);
  EXPECT_TRUE(pushed->tables.empty());
}

TEST_F(SessionsTest, WithoutThemAPushHasNoNumberAndALostAnswerIsAnError) {
  server_.fake().info.clear_features();
  server_.lose_answer = [](auto&, int) { return Unanswered(); };
  const auto client = server_.Connect();

  const auto pushed = OnePush(1).Run(*client);

  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kCannotConnect);
  EXPECT_THAT(MessageOf(pushed.status()), HasSubstr(kDoubt));
  EXPECT_EQ(open_count(), 0);
  ASSERT_EQ(server_.arrivals().size(), 1u);
  v1::ApplyGradientRequest arrived;
  ASSERT_TRUE(arrived.ParseFromString(server_.arrivals()[0].bytes));
  EXPECT_FALSE(arrived.has_push_id());
}

// --- Repeats ---

TEST_F(SessionsTest, ALostAnswerIsAskedForAgainWithTheSameNumberAndBytes) {
  server_.lose_answer = [](auto&, int number) {
    return number == 1 ? std::optional(Unanswered()) : std::nullopt;
  };
  const auto client = server_.Connect();

  const auto pushed = OnePush(5).Run(*client);

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(pushed->duplicate);
  EXPECT_TRUE(pushed->exactly_once);
  EXPECT_THAT(Sequences(), ElementsAre(1, 1));
  EXPECT_EQ(server_.arrivals()[0].bytes, server_.arrivals()[1].bytes);
  EXPECT_EQ(server_.applied_count()[5], 1);
}

TEST_F(SessionsTest, AnAsynchronousPushIsRepeatedToo) {
  server_.lose_request = [](auto&, int number) {
    return number < 4 ? std::optional(Unanswered()) : std::nullopt;
  };
  const auto client = server_.Connect();

  const auto pushed = OnePush(5).Start(*client).get();

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_FALSE(pushed->duplicate);
  EXPECT_THAT(Sequences(), ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(server_.applied_count()[5], 1);
}

// The server takes the push, dies before it answers, and comes back.
TEST_F(SessionsTest, AServerThatIsBackInTimeGetsThePushAgain) {
  std::promise<void> arrived;
  server_.lose_answer = [&](auto& context,
                            int number) -> std::optional<grpc::Status> {
    if (number > 1) {
      return std::nullopt;
    }
    arrived.set_value();
    WaitUntilCancelled(context);
    return Unanswered();
  };
  const auto client = server_.Connect();
  std::thread killer([&] {
    arrived.get_future().get();
    server_.fake().Stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    server_.fake().Restart();
  });

  const auto pushed = OnePush(5).Run(*client, Within(absl::Seconds(30)));

  killer.join();
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(pushed->duplicate);
  EXPECT_THAT(Sequences(), ElementsAre(1, 1));
  EXPECT_EQ(server_.arrivals()[0].bytes, server_.arrivals()[1].bytes);
  EXPECT_EQ(server_.applied_count()[5], 1);
}

TEST_F(SessionsTest, AServerThatIsNotThereYetIsWaitedForWithTheFirstPush) {
  const auto client = server_.Connect();
  server_.fake().Stop();
  std::thread starter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    server_.fake().Restart();
  });

  const auto pushed = OnePush(5).Run(*client, Within(absl::Seconds(30)));

  starter.join();
  EXPECT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(server_.applied_count()[5], 1);
}

TEST_F(SessionsTest, AServerThatStaysAwayIsAnErrorOfAPushInDoubt) {
  const auto client = server_.Connect();
  ASSERT_TRUE(OnePush(1).Run(*client).ok());
  server_.fake().Stop();
  const absl::Time start = absl::Now();

  const auto pushed = OnePush(2).Run(*client, Within(absl::Milliseconds(700)));

  EXPECT_TRUE(pushed.status().code() == absl::StatusCode::kUnavailable ||
              pushed.status().code() == absl::StatusCode::kDeadlineExceeded)
      << pushed.status();
  EXPECT_THAT(MessageOf(pushed.status()), HasSubstr(kDoubt));
  EXPECT_GT(absl::Now() - start, absl::Milliseconds(500));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(SessionsTest, AServerThatDoesNotAnswerInTimeIsAnErrorOfAPushInDoubt) {
  server_.lose_answer = [](auto& context, int) {
    WaitUntilCancelled(context);
    return Unanswered();
  };
  const auto client = server_.Connect();

  const auto pushed = OnePush(1).Run(*client, Within(absl::Milliseconds(300)));

  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kDeadline);
  EXPECT_THAT(MessageOf(pushed.status()), HasSubstr(kDoubt));
}

// As a server does that has to end before all is done.
TEST_F(SessionsTest, APushThatTheServerCutsOffIsSentAgain) {
  server_.lose_request = [](auto&, int number) {
    return number == 1 ? std::optional(Refusal(Reason::kCancelled, "gone"))
                       : std::nullopt;
  };
  const auto client = server_.Connect();

  const auto pushed = OnePush(1).Run(*client);

  EXPECT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_THAT(Sequences(), ElementsAre(1, 1));
}

// --- Refusals ---

TEST_F(SessionsTest, ARefusalWithAdviceIsRepeatedWithTheSameNumber) {
  server_.lose_request = [](auto&, int number) {
    return number < 3 ? std::optional(Refusal(Reason::kBusy, "busy", {}, 1))
                      : std::nullopt;
  };
  const auto client = server_.Connect();

  const auto pushed = OnePush(1).Run(*client);

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_THAT(Sequences(), ElementsAre(1, 1, 1));
}

TEST_F(SessionsTest, TheNumberOfARefusedPushIsNotUsedAgain) {
  server_.lose_request = [](auto&, int number) {
    return number == 1 ? std::optional(Refusal(Reason::kTableFrozen, "frozen"))
                       : std::nullopt;
  };
  const auto client = server_.Connect();

  const auto refused = OnePush(1).Run(*client);
  const auto pushed = OnePush(2).Run(*client);

  EXPECT_EQ(ReasonOf(refused.status()), Reason::kTableFrozen);
  EXPECT_EQ(refused.status().message(), "frozen");
  EXPECT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_THAT(Sequences(), ElementsAre(1, 2));
}

TEST_F(SessionsTest, ARefusalAfterALostAnswerLeavesThePushInDoubt) {
  server_.lose_request = [](auto&, int number) {
    return number == 1 ? Unanswered()
                       : Refusal(Reason::kTableFrozen, "frozen", "f");
  };
  const auto client = server_.Connect();

  const auto refused = OnePush(1).Run(*client);

  EXPECT_EQ(ReasonOf(refused.status()), Reason::kTableFrozen);
  EXPECT_EQ(FieldOf(refused.status()), "f");
  EXPECT_THAT(MessageOf(refused.status()), HasSubstr("frozen. "));
  EXPECT_THAT(MessageOf(refused.status()), HasSubstr(kDoubt));
}

// --- Sessions that end ---

TEST_F(SessionsTest, OneThatExpiredUnnoticedIsReplacedAndThePushIsApplied) {
  const auto client = server_.Connect();
  ASSERT_TRUE(OnePush(1).Run(*client).ok());
  server_.ForgetSessions();

  const auto pushed = OnePush(2).Run(*client);

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(open_count(), 2);
  EXPECT_THAT(Sequences(), ElementsAre(1, 2, 1));
  EXPECT_EQ(server_.applied_count()[2], 1);
}

TEST_F(SessionsTest, OneThatExpiresAfterALostAnswerLeavesThePushInDoubt) {
  server_.lose_answer = [this](auto&, int number) {
    if (number != 1) {
      return std::optional<grpc::Status>();
    }
    server_.ForgetSessions();
    return std::optional(Unanswered());
  };
  const auto client = server_.Connect();

  const auto in_doubt = OnePush(1).Run(*client);
  const auto next = OnePush(2).Run(*client);

  EXPECT_EQ(ReasonOf(in_doubt.status()), Reason::kSessionExpired);
  EXPECT_THAT(MessageOf(in_doubt.status()), HasSubstr(kDoubt));
  EXPECT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(open_count(), 2);
  EXPECT_EQ(server_.applied_count()[1], 1);
}

TEST_F(SessionsTest, AServerThatForgetsAllOfThemIsNotAskedForEver) {
  server_.lose_request = [](auto&, int) {
    return Refusal(Reason::kSessionExpired, "no such session");
  };
  const auto client = server_.Connect();

  const auto pushed = OnePush(1).Run(*client);

  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kSessionExpired);
  EXPECT_THAT(MessageOf(pushed.status()), HasSubstr("was not applied"));
  EXPECT_THAT(MessageOf(pushed.status()), Not(HasSubstr(kDoubt)));
  EXPECT_LE(server_.arrivals().size(), 3u);
}

TEST_F(SessionsTest, ManyPushesOfAnExpiredOneShareItsSuccessor) {
  const auto client = server_.Connect();
  ASSERT_TRUE(OnePush(0).Run(*client).ok());
  server_.ForgetSessions();
  std::vector<std::future<absl::StatusOr<Pushed>>> pushes;

  for (int id = 1; id <= 100; ++id) {
    pushes.push_back(OnePush(id).Start(*client));
  }

  for (auto& push : pushes) {
    const auto pushed = push.get();
    EXPECT_TRUE(pushed.ok()) << pushed.status();
  }
  EXPECT_EQ(open_count(), 2);
  for (int id = 1; id <= 100; ++id) {
    EXPECT_EQ(server_.applied_count()[id], 1) << id;
  }
}

TEST_F(SessionsTest, TheClientClosesItsOwnWhenItEnds) {
  auto client = server_.Connect();
  ASSERT_TRUE(OnePush(1).Run(*client).ok());
  EXPECT_THAT(server_.closed(), ElementsAre());

  client.reset();

  EXPECT_THAT(server_.closed(), ElementsAre("session 00000001"));
}

TEST_F(SessionsTest, ItIsClosedAfterThePushesThatAreUnderWay) {
  server_.lose_request = [](auto&, int number) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return number == 1 ? std::optional(Unanswered()) : std::nullopt;
  };
  auto client = server_.Connect();
  auto push = OnePush(1).Start(*client);

  client.reset();

  const auto pushed = push.get();
  EXPECT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(server_.closed().size(), 1u);
}

TEST_F(SessionsTest, AClientThatPushedNothingHasNone) {
  server_.fake().tables = {{"words", {testing::UidOf(1), 3}}};
  auto client = server_.Connect();
  const std::vector<int64_t> ids = {1};
  ASSERT_TRUE(client->Lookup("words", ids, Shape{1}).ok());

  client.reset();

  EXPECT_EQ(open_count(), 0);
  EXPECT_THAT(server_.closed(), ElementsAre());
}

TEST_F(SessionsTest, AClientEndsThoughTheServerDoesNotAnswer) {
  server_.fake().on_close = [](auto& context, auto&, auto&) {
    WaitUntilCancelled(context);
    return grpc::Status::OK;
  };
  auto client = server_.Connect();
  ASSERT_TRUE(OnePush(1).Run(*client).ok());
  const absl::Time start = absl::Now();

  client.reset();

  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

// --- Many at once ---

TEST_F(SessionsTest, FirstPushesOfManyThreadsOpenOne) {
  const auto open = server_.fake().on_open;
  server_.fake().on_open = [open](auto& context, auto& request,
                                  auto& response) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return open(context, request, response);
  };
  const auto client = server_.Connect();
  constexpr int kThreads = 8;
  std::latch together(kThreads);
  std::atomic<int> ok_count = 0;
  std::vector<std::thread> threads;

  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      together.arrive_and_wait();
      auto second = OnePush(2 * t + 1).Start(*client);
      ok_count += OnePush(2 * t).Run(*client).ok();
      ok_count += second.get().ok();
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }

  EXPECT_EQ(ok_count, 2 * kThreads);
  EXPECT_EQ(open_count(), 1);
  std::vector<uint64_t> sequences = Sequences();
  std::ranges::sort(sequences);
  for (size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(sequences[i], i + 1);
  }
}

TEST_F(SessionsTest, WhoCannotOpenOneFailsAloneAndTheNextOneTries) {
  std::atomic<int> tries = 0;
  const auto open = server_.fake().on_open;
  server_.fake().on_open = [&, open](auto& context, auto& request,
                                     auto& response) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return ++tries == 1 ? Refusal(Reason::kMemoryFull, "no room")
                        : open(context, request, response);
  };
  const auto client = server_.Connect();

  auto first = OnePush(1).Start(*client);
  auto second = OnePush(2).Start(*client);

  const auto refused = first.get();
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kMemoryFull);
  EXPECT_THAT(MessageOf(refused.status()), HasSubstr("was not applied"));
  const auto pushed = second.get();
  EXPECT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(tries, 2);
  EXPECT_EQ(server_.arrivals().size(), 1u);
}

TEST_F(SessionsTest, AnIdOfAnotherLengthIsABug) {
  server_.fake().on_open = [](auto&, auto&, auto& response) {
    response.set_session_id("short");
    return grpc::Status::OK;
  };
  const auto client = server_.Connect();

  const auto pushed = OnePush(1).Run(*client);

  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kBug);
  EXPECT_EQ(server_.arrivals().size(), 0u);
}

// The first push has no outcome for long: those that are not within the window
// of it wait, in the client.
TEST_F(SessionsTest, NoPushIsAWindowAheadOfTheOldestWithoutAnOutcome) {
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  server_.lose_request = [released](auto&, int number) {
    if (number == 1) {
      released.wait_for(kPatience);
    }
    return std::optional<grpc::Status>();
  };
  const auto client = server_.Connect();
  std::vector<std::future<absl::StatusOr<Pushed>>> pushes;
  pushes.push_back(OnePush(0).Start(*client));
  ASSERT_TRUE(Eventually([&] { return server_.arrivals().size() == 1; }));

  for (int id = 1; id < 700; ++id) {
    pushes.push_back(OnePush(id).Start(*client));
  }
  const bool is_full =
      Eventually([&] { return server_.arrivals().size() == kPushWindow; });
  const auto late = OnePush(700).Run(*client, Within(absl::Milliseconds(200)));
  const std::vector<uint64_t> before = Sequences();
  release.set_value();

  EXPECT_TRUE(is_full) << before.size();
  EXPECT_EQ(std::ranges::max(before), kPushWindow);
  EXPECT_EQ(before.size(), kPushWindow);
  EXPECT_EQ(ReasonOf(late.status()), Reason::kDeadline);
  EXPECT_THAT(MessageOf(late.status()), HasSubstr("was not applied"));
  for (auto& push : pushes) {
    const auto pushed = push.get();
    EXPECT_TRUE(pushed.ok()) << pushed.status();
  }
  const auto applied = server_.applied_count();
  EXPECT_EQ(applied.size(), 700u);
  EXPECT_FALSE(applied.contains(700));
}

// --- All of it at random ---

// Requests and answers are lost, pushes refused for now or for good, while many
// threads push. What a push says is what happened.
TEST_F(SessionsTest, WhateverIsLostAPushIsAppliedAsOftenAsItSays) {
  constexpr int kThreads = 6;
  constexpr int kEach = 60;
  std::mutex mutex;
  std::mt19937_64 random(testing::Seed());
  const auto draw = [&](int n) {
    const std::lock_guard lock(mutex);
    return std::uniform_int_distribution<>(1, n)(random);
  };
  server_.lose_request = [&](auto&, int) -> std::optional<grpc::Status> {
    switch (draw(12)) {
      case 1:
        return Unanswered();
      case 2:
        return Refusal(Reason::kBusy, "busy", {}, 1);
      case 3:
        return draw(3) == 1
                   ? std::optional(Refusal(Reason::kTableFrozen, "frozen"))
                   : std::nullopt;
      case 4:
        if (draw(10) == 1) {
          server_.ForgetSessions();
        }
        return std::nullopt;
      default:
        return std::nullopt;
    }
  };
  server_.lose_answer = [&](auto&, int) {
    return draw(8) == 1 ? std::optional(Unanswered()) : std::nullopt;
  };
  const auto client = server_.Connect();
  std::vector<std::thread> threads;
  std::map<int64_t, absl::Status> outcomes;

  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const int64_t id = t * kEach + i;
        auto push = OnePush(id);
        const auto pushed =
            i % 2 == 0 ? push.Run(*client) : push.Start(*client).get();
        const std::lock_guard lock(mutex);
        outcomes[id] = pushed.status();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }

  int ok_count = 0;
  std::map<int64_t, int> applied = server_.applied_count();
  for (const auto& [id, status] : outcomes) {
    const bool in_doubt = MessageOf(status).find(kDoubt) != std::string::npos;
    if (status.ok()) {
      EXPECT_EQ(applied[id], 1) << id;
      ++ok_count;
    } else if (in_doubt) {
      EXPECT_LE(applied[id], 1) << id << " " << status;
    } else {
      EXPECT_EQ(applied[id], 0) << id << " " << status;
    }
  }
  EXPECT_EQ(outcomes.size(), size_t{kThreads} * kEach);
  EXPECT_GT(ok_count, kThreads * kEach / 2);
  std::map<std::pair<std::string, uint64_t>, std::string> bytes;
  for (const auto& arrival : server_.arrivals()) {
    const auto [first, is_new] =
        bytes.try_emplace({arrival.session, arrival.sequence}, arrival.bytes);
    EXPECT_EQ(first->second, arrival.bytes);
  }
}

}  // namespace
}  // namespace quire
