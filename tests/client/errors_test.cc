// What a caller is told when a call fails, and what is tried again.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "client/client.h"
#include "tests/client/fake_server.h"

namespace quire {
namespace {

using testing::FakeServer;
using ::testing::HasSubstr;
using testing::Refusal;
using testing::UidOf;

class ErrorsTest : public ::testing::Test {
 protected:
  // The error of a lookup that is answered with `status`.
  absl::Status LookupAnswered(const grpc::Status& status) {
    server_.on_lookup = [status](auto&, auto&, auto&) { return status; };
    const auto client = server_.Connect();
    return Lookup(*client);
  }

  absl::Status Lookup(Client& client, CallOptions call = {}) {
    const std::vector<int64_t> ids = {1};
    std::vector<float> out(3);
    const LookupItem item{.table = "words", .uid = {}, .ids = ids, .out = out};
    return client.Lookup({&item, 1}, call);
  }

  CallOptions Within(absl::Duration duration) {
    return {.deadline = absl::Now() + duration};
  }

  FakeServer server_;
};

TEST_F(ErrorsTest, TheServersSentenceReasonAndFieldArrive) {
  const absl::Status error = LookupAnswered(Refusal(
      Reason::kIdOutOfRange, "table 'words': ids[3] is 12; there are 10 rows",
      "tables[0].ids.ids[3]"));

  EXPECT_EQ(error.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(error.message(), "table 'words': ids[3] is 12; there are 10 rows");
  EXPECT_EQ(ReasonOf(error), Reason::kIdOutOfRange);
  EXPECT_EQ(FieldOf(error), "tables[0].ids.ids[3]");
}

TEST_F(ErrorsTest, EveryReasonArrivesAsItself) {
  const auto client = server_.Connect();
  int count = 0;
  for (int i = 0; i <= static_cast<int>(Reason::kNoSuchMethod); ++i) {
    const auto reason = static_cast<Reason>(i);
    server_.on_lookup = [reason](auto&, auto&, auto&) {
      return Refusal(reason, "no");
    };

    // A lookup that was cut to fit and does not is told otherwise.
    const Reason expected =
        reason == Reason::kReplyTooLarge ? Reason::kBadShape : reason;
    EXPECT_EQ(ReasonOf(Lookup(*client)), expected) << ReasonName(reason);
    ++count;
  }
  EXPECT_GT(count, 20);
}

TEST_F(ErrorsTest, AReasonOfALaterVersionKeepsItsCodeAndSentence) {
  grpc::Status status = Refusal(Reason::kBusy, "moved to another node");
  std::string details = status.error_details();
  details.replace(details.find("BUSY"), 4, "MOVD");

  const absl::Status error =
      LookupAnswered({grpc::StatusCode::FAILED_PRECONDITION,
                      "moved to another node", details});

  EXPECT_EQ(error.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(error.message(), "moved to another node");
  EXPECT_EQ(ReasonOf(error), std::nullopt);
}

TEST_F(ErrorsTest, AnErrorWithoutDetailsKeepsItsCodeAndSaysWhoAnswered) {
  const absl::Status error =
      LookupAnswered({grpc::StatusCode::DATA_LOSS, "checksum", "garbage"});

  EXPECT_EQ(error.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(error.message()), HasSubstr("Lookup"));
  EXPECT_THAT(std::string(error.message()), HasSubstr(server_.address()));
  EXPECT_THAT(std::string(error.message()), HasSubstr("checksum"));
}

TEST_F(ErrorsTest, AMethodThatTheServerLacksIsNamedWithItsVersion) {
  const auto client = server_.Connect();

  const auto nearest = client->Nearest({});

  EXPECT_EQ(ReasonOf(nearest.status()), Reason::kNoSuchMethod);
  EXPECT_THAT(std::string(nearest.status().message()), HasSubstr("0.0.9"));
  EXPECT_THAT(std::string(nearest.status().message()), HasSubstr("Nearest"));
}

TEST_F(ErrorsTest, AReplyOverOurReceiveLimitIsTooLargeAndSaysWhatToDo) {
  server_.on_list = [](auto&, auto&, auto& response) {
    response.add_tables()->mutable_spec()->set_name(
        std::string(kLookupReplyBytesMax + kMessageBytesSlack, 'x'));
    return grpc::Status::OK;
  };
  const auto client = server_.Connect();

  const auto tables = client->ListTables();

  EXPECT_EQ(ReasonOf(tables.status()), Reason::kTooLarge);
  EXPECT_THAT(std::string(tables.status().message()),
              HasSubstr("Ask for less"));
}

TEST_F(ErrorsTest, ARequestOverTheServersLimitIsNotSent) {
  server_.info.mutable_limits()->set_push_bytes(1000);
  const auto client = server_.Connect();

  const absl::Status error =
      client->SetLabels("words", {}, {std::string(1001, 'x')});

  EXPECT_EQ(ReasonOf(error), Reason::kTooLarge);
  EXPECT_THAT(std::string(error.message()), HasSubstr("takes 1000"));
}

TEST_F(ErrorsTest, ADeadlineIsToldWithTheCallAndTheTime) {
  server_.on_lookup = [](auto& context, auto&, auto&) {
    for (int i = 0; i < 2000 && !context.IsCancelled(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return grpc::Status::OK;
  };
  const auto client = server_.Connect();

  const absl::Status error = Lookup(*client, Within(absl::Milliseconds(150)));

  EXPECT_EQ(ReasonOf(error), Reason::kDeadline);
  EXPECT_THAT(std::string(error.message()), HasSubstr("Lookup"));
  EXPECT_THAT(std::string(error.message()), HasSubstr("within 149"));
}

TEST_F(ErrorsTest, TheDefaultTimeoutHolds) {
  server_.on_lookup = [](auto& context, auto&, auto&) {
    for (int i = 0; i < 2000 && !context.IsCancelled(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return grpc::Status::OK;
  };
  const auto client = server_.Connect({.timeout = absl::Milliseconds(300)});

  EXPECT_EQ(ReasonOf(Lookup(*client)), Reason::kDeadline);
}

TEST_F(ErrorsTest, AServerThatWentAwayCannotBeReached) {
  const auto client = server_.Connect();
  server_.Stop();

  const absl::Status error = Lookup(*client, Within(absl::Milliseconds(500)));

  EXPECT_EQ(ReasonOf(error), Reason::kCannotConnect);
  EXPECT_THAT(std::string(error.message()), HasSubstr(server_.address()));
  EXPECT_THAT(std::string(error.message()), HasSubstr("quire-server"));
}

TEST_F(ErrorsTest, AServerThatIsAwayIsWaitedForByCallsThatOnlyRead) {
  server_.tables = {{"words", {UidOf(1), 3}}};
  const std::vector<std::function<absl::Status(Client&)>> calls = {
      [this](Client& client) { return Lookup(client); },
      [](Client& client) { return client.GetTable("words").status(); }};
  for (const auto& call : calls) {
    const auto client = server_.Connect();
    server_.Stop();
    std::thread starter([this] {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      server_.Restart();
    });

    const absl::Status status = call(*client);

    starter.join();
    EXPECT_TRUE(status.ok()) << status;
  }
}

// It may have come about, and then the second would find it there.
TEST_F(ErrorsTest, ACallThatChangesSomethingIsNotRepeatedUnanswered) {
  std::atomic<int> tries = 0;
  server_.on_create = [&](auto&, auto&, auto&) {
    ++tries;
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  };
  const auto client = server_.Connect();

  const auto created = client->CreateTable({});

  EXPECT_EQ(ReasonOf(created.status()), Reason::kCannotConnect);
  EXPECT_EQ(tries, 1);
}

// Half a second of waits of 5 ms and more, of which most are longer.
TEST_F(ErrorsTest, RepeatsOfAnUnansweredCallBackOff) {
  server_.on_lookup = [](auto&, auto&, auto&) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  };
  const auto client = server_.Connect();

  const absl::Status error = Lookup(*client, Within(absl::Milliseconds(500)));

  EXPECT_EQ(ReasonOf(error), Reason::kCannotConnect);
  EXPECT_GT(server_.lookup_count, 2);
  EXPECT_LT(server_.lookup_count, 60);
}

// It would depend on the moment else which of the two is told.
TEST_F(ErrorsTest, ADeadlineAfterNoServerAnsweredTellsOfTheServer) {
  server_.on_lookup = [this](auto&, auto&, auto&) {
    if (server_.lookup_count > 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
    }
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  };
  const auto client = server_.Connect();

  const absl::Status error = Lookup(*client, Within(absl::Milliseconds(250)));

  EXPECT_EQ(ReasonOf(error), Reason::kCannotConnect);
  EXPECT_GT(server_.lookup_count, 1);
}

// A socket on a free port of this machine.
class Socket {
 public:
  Socket() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(
        getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    address_ = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
  }
  ~Socket() { close(socket_); }

  void Listen() { EXPECT_EQ(listen(socket_, 8), 0); }
  const std::string& address() const { return address_; }

 private:
  const int socket_;
  std::string address_;
};

TEST(ConnectTest, WhereNobodyListensFailsAtOnce) {
  const Socket closed;
  const absl::Time start = absl::Now();

  const auto client = Client::Connect({.server = closed.address()});

  EXPECT_EQ(ReasonOf(client.status()), Reason::kCannotConnect);
  EXPECT_THAT(std::string(client.status().message()),
              HasSubstr(closed.address()));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST(ConnectTest, WhereNobodyAnswersFailsAfterTheTimeout) {
  Socket silent;
  silent.Listen();

  const auto client = Client::Connect(
      {.server = silent.address(), .timeout = absl::Milliseconds(300)});

  EXPECT_EQ(ReasonOf(client.status()), Reason::kCannotConnect);
}

TEST(ConnectTest, TheServersInfoIsThere) {
  FakeServer server;
  server.info.add_features("lookup");
  server.info.mutable_limits()->set_push_bytes(12345);

  const auto client = server.Connect();

  EXPECT_EQ(client->server_info().version(), "0.0.9");
  EXPECT_EQ(client->server_info().limits().push_bytes(), 12345);
  EXPECT_EQ(client->server_info().limits().ids_per_request(),
            kIdsPerRequestMax);
}

TEST_F(ErrorsTest, WhatTheServerAdvisesToRepeatIsRepeated) {
  std::atomic<int> tries = 0;
  server_.tables = {{"words", {UidOf(1), 3}}};
  server_.on_lookup = [&](auto&, auto& request, auto& response) {
    return ++tries < 4 ? Refusal(Reason::kFilling, "filling", {}, 10)
                       : server_.AnswerLookup(request, response);
  };
  const auto client = server_.Connect();
  const absl::Time start = absl::Now();

  const absl::Status status = Lookup(*client);

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(tries, 4);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(30));
}

TEST_F(ErrorsTest, ARefusedPushIsRepeated) {
  std::atomic<int> tries = 0;
  server_.on_push = [&](auto&, auto&, auto&) {
    return ++tries < 3 ? Refusal(Reason::kBusy, "busy", {}, 1)
                       : grpc::Status::OK;
  };
  const auto client = server_.Connect();

  EXPECT_TRUE(client->ApplyGradient({}).ok());
  EXPECT_EQ(tries, 3);
}

TEST_F(ErrorsTest, OtherCallsAreRepeatedToo) {
  std::atomic<int> tries = 0;
  server_.on_get = [&](auto&, auto&, auto&) {
    return ++tries < 3 ? Refusal(Reason::kBusy, "busy", {}, 1)
                       : grpc::Status::OK;
  };
  const auto client = server_.Connect();

  EXPECT_TRUE(client->GetTable("words").ok());
  EXPECT_EQ(tries, 3);
}

TEST_F(ErrorsTest, WithoutAdviceNothingIsRepeated) {
  const absl::Status error = LookupAnswered(Refusal(Reason::kFilling, "no"));

  EXPECT_EQ(ReasonOf(error), Reason::kFilling);
  EXPECT_EQ(server_.lookup_count, 1);
}

TEST_F(ErrorsTest, RepeatingEndsWithTheRefusalWhenTheDeadlineIsNear) {
  server_.on_lookup = [](auto&, auto&, auto&) {
    return Refusal(Reason::kFilling, "table 'words' is being filled", {}, 20);
  };
  const auto client = server_.Connect();
  const absl::Time start = absl::Now();

  const absl::Status error = Lookup(*client, Within(absl::Milliseconds(200)));

  EXPECT_EQ(ReasonOf(error), Reason::kFilling);
  EXPECT_EQ(error.message(), "table 'words' is being filled");
  EXPECT_GT(server_.lookup_count, 2);
  EXPECT_LE(server_.lookup_count, 10);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST_F(ErrorsTest, AnHourOfAdvisedPatienceDoesNotOutlastTheDeadline) {
  server_.on_lookup = [](auto&, auto&, auto&) {
    return Refusal(Reason::kBusy, "busy", {}, 3'600'000);
  };
  const auto client = server_.Connect();

  EXPECT_EQ(ReasonOf(Lookup(*client, Within(absl::Milliseconds(500)))),
            Reason::kBusy);
  EXPECT_EQ(server_.lookup_count, 1);
}

}  // namespace
}  // namespace quire
