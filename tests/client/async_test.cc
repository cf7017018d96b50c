// Asynchronous calls, many threads, and the end of a client.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include "base/status.h"
#include "client/client.h"
#include "tests/client/fake_server.h"

namespace quire {
namespace {

using testing::FakeServer;
using testing::Refusal;
using testing::UidOf;
using testing::ValueAt;

class AsyncTest : public ::testing::Test {
 protected:
  AsyncTest() {
    server_.tables = {{"words", {UidOf(1), 3}}};
    server_.on_push = [this](auto&, auto& request, auto& response) {
      return AnswerPush(request, response);
    };
  }

  grpc::Status AnswerPush(const v1::ApplyGradientRequest& request,
                          v1::ApplyGradientResponse& response) {
    for (const auto& table : request.tables()) {
      auto& result = *response.add_tables();
      result.set_table_uid(testing::Text(UidOf(1)));
      result.set_step(table.ids().ids(0));
    }
    return grpc::Status::OK;
  }

  // Rows of id and the 99 after it, and whether they are right.
  struct Rows {
    explicit Rows(int64_t first) : ids(100), out(300) {
      for (size_t i = 0; i < ids.size(); ++i) {
        ids[i] = first + static_cast<int64_t>(i);
      }
    }
    LookupItem Item() {
      return {.table = "words", .uid = {}, .ids = ids, .out = out};
    }
    bool Right() const {
      for (size_t i = 0; i < out.size(); ++i) {
        if (out[i] !=
            ValueAt("words", ids[i / 3], static_cast<int64_t>(i % 3))) {
          return false;
        }
      }
      return true;
    }

    std::vector<int64_t> ids;
    std::vector<float> out;
  };

  FakeServer server_;
};

TEST_F(AsyncTest, ALookupIsDoneOnceOnAnotherThread) {
  const auto client = server_.Connect();
  Rows rows(5);
  const LookupItem item = rows.Item();
  std::promise<std::pair<absl::Status, std::thread::id>> promise;

  client->LookupAsync({&item, 1}, {}, [&](absl::Status status) {
    promise.set_value({std::move(status), std::this_thread::get_id()});
  });

  const auto [status, thread] = promise.get_future().get();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(rows.Right());
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST_F(AsyncTest, ManyLookupsInPartsAreInFlightAtOnce) {
  server_.info.mutable_limits()->set_ids_per_request(17);
  const auto client = server_.Connect();
  std::vector<Rows> rows;
  for (int i = 0; i < 50; ++i) {
    rows.emplace_back(i * 1000);
  }
  std::vector<std::promise<absl::Status>> promises(rows.size());

  for (size_t i = 0; i < rows.size(); ++i) {
    const LookupItem item = rows[i].Item();
    client->LookupAsync({&item, 1}, {}, [&, i](absl::Status status) {
      promises[i].set_value(std::move(status));
    });
  }

  for (size_t i = 0; i < rows.size(); ++i) {
    const absl::Status status = promises[i].get_future().get();
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_TRUE(rows[i].Right());
  }
}

TEST_F(AsyncTest, APushMayBeForgottenAsSoonAsItIsMade) {
  const auto client = server_.Connect();
  std::vector<std::promise<absl::StatusOr<Pushed>>> promises(50);

  for (size_t i = 0; i < promises.size(); ++i) {
    auto ids =
        std::make_unique<std::vector<int64_t>>(1, static_cast<int64_t>(i));
    std::vector<float> gradient(3);
    std::string table = "words";
    const GradientItem item{.table = table,
                            .uid = {},
                            .ids = *ids,
                            .gradient = gradient,
                            .learning_rate = {}};
    client->ApplyGradientAsync({&item, 1}, {},
                               [&, i](absl::StatusOr<Pushed> pushed) {
                                 promises[i].set_value(std::move(pushed));
                               });
    std::ranges::fill(*ids, -1);
    std::ranges::fill(gradient, -1.0f);
    std::ranges::fill(table, '?');
  }

  for (size_t i = 0; i < promises.size(); ++i) {
    const auto pushed = promises[i].get_future().get();
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_EQ(pushed->tables[0].step, static_cast<int64_t>(i));
  }
}

TEST_F(AsyncTest, WhatTheClientRefusesItselfIsToldOnItsThreadToo) {
  const auto client = server_.Connect();
  Rows rows(0);
  LookupItem item = rows.Item();
  item.out = item.out.first(299);
  const GradientItem gradient{.table = "words",
                              .uid = {},
                              .ids = rows.ids,
                              .gradient = item.out,
                              .learning_rate = {}};
  std::promise<std::thread::id> lookup;
  std::promise<std::thread::id> push;

  client->LookupAsync({&item, 1}, {}, [&](absl::Status status) {
    EXPECT_EQ(ReasonOf(status), Reason::kBadShape);
    lookup.set_value(std::this_thread::get_id());
  });
  client->ApplyGradientAsync(
      {&gradient, 1}, {}, [&](absl::StatusOr<Pushed> pushed) {
        EXPECT_EQ(ReasonOf(pushed.status()), Reason::kBadShape);
        push.set_value(std::this_thread::get_id());
      });

  EXPECT_NE(lookup.get_future().get(), std::this_thread::get_id());
  EXPECT_NE(push.get_future().get(), std::this_thread::get_id());
}

TEST_F(AsyncTest, RefusalsAreRepeatedWithoutAWaitingThread) {
  std::atomic<int> tries = 0;
  server_.on_lookup = [&](auto&, auto& request, auto& response) {
    return ++tries < 4 ? Refusal(Reason::kBusy, "busy", {}, 10)
                       : server_.AnswerLookup(request, response);
  };
  const auto client = server_.Connect();
  Rows rows(0);
  const LookupItem item = rows.Item();
  std::promise<absl::Status> promise;

  client->LookupAsync({&item, 1}, {}, [&](absl::Status status) {
    promise.set_value(std::move(status));
  });

  EXPECT_TRUE(promise.get_future().get().ok());
  EXPECT_EQ(tries, 4);
}

TEST_F(AsyncTest, ADoneMayStartTheNextCall) {
  const auto client = server_.Connect();
  Rows rows(0);
  const LookupItem item = rows.Item();
  std::promise<void> promise;
  int left = 20;
  std::function<void(absl::Status)> next = [&](absl::Status status) {
    EXPECT_TRUE(status.ok()) << status;
    if (--left == 0) {
      promise.set_value();
      return;
    }
    client->LookupAsync({&item, 1}, {}, next);
  };

  client->LookupAsync({&item, 1}, {}, next);

  promise.get_future().get();
  EXPECT_EQ(server_.lookup_count, 20);
}

TEST_F(AsyncTest, ManyThreadsShareAClient) {
  server_.info.mutable_limits()->set_ids_per_request(60);
  const auto client = server_.Connect();
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;

  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 30; ++round) {
        Rows rows(t * 10'000 + round * 100);
        const LookupItem item = rows.Item();
        if (round % 3 == 0) {
          std::promise<absl::Status> promise;
          client->LookupAsync({&item, 1}, {}, [&](absl::Status status) {
            promise.set_value(std::move(status));
          });
          right += promise.get_future().get().ok() && rows.Right();
        } else if (round % 3 == 1) {
          right += client->Lookup({&item, 1}).ok() && rows.Right();
        } else {
          const auto found = client->Lookup("words", rows.ids, {10, 10});
          if (found.ok()) {
            rows.out = found->values;
          }
          right += rows.Right();
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }

  EXPECT_EQ(right, 8 * 30);
}

TEST_F(AsyncTest, TheDestructorWaitsForCallsInFlight) {
  server_.on_lookup = [&](auto&, auto& request, auto& response) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return server_.AnswerLookup(request, response);
  };
  auto client = server_.Connect();
  std::vector<Rows> rows(5, Rows(3));
  int done = 0;
  for (Rows& row : rows) {
    const LookupItem item = row.Item();
    client->LookupAsync({&item, 1}, {}, [&](absl::Status status) {
      EXPECT_TRUE(status.ok()) << status;
      ++done;
    });
  }

  client.reset();

  EXPECT_EQ(done, 5);
  EXPECT_TRUE(std::ranges::all_of(rows, &Rows::Right));
}

TEST_F(AsyncTest, TheDestructorWaitsForCallsOfOtherThreads) {
  std::promise<void> arrived;
  server_.on_lookup = [&](auto&, auto& request, auto& response) {
    arrived.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return server_.AnswerLookup(request, response);
  };
  auto client = server_.Connect();
  Rows rows(3);
  const LookupItem item = rows.Item();
  absl::Status status = absl::UnknownError("not yet");
  std::thread caller([&, raw = client.get()] {
    status = raw->Lookup({&item, 1});
  });
  arrived.get_future().get();

  client.reset();

  caller.join();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(AsyncTest, AClientThatWasNeverUsedGoesAway) {
  EXPECT_NE(server_.Connect(), nullptr);
}

}  // namespace
}  // namespace quire
