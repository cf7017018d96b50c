// Pushes: the request, duplicates, limits, lost answers.

#include "client/push.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <future>
#include <limits>
#include <map>
#include <random>
#include <thread>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/client.h"
#include "main/seed.h"
#include "tests/client/fake_server.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using testing::FakeServer;
using ::testing::HasSubstr;
using testing::UidOf;

// A push as a server of ours answers it, and what came.
class PushTest : public ::testing::Test {
 protected:
  PushTest() {
    server_.on_push = [this](auto&, auto& request, auto& response) {
      received_ = request;
      for (const auto& table : request.tables()) {
        auto& result = *response.add_tables();
        result.set_table_uid(testing::Text(UidOf(3)));
        result.set_rows_changed(table.ids().ids_size());
        result.set_padding_dropped(2);
        result.set_rows_skipped(1);
        result.set_step(8);
      }
      return grpc::Status::OK;
    };
  }

  v1::ApplyGradientRequest received_;
  // Last: it stops before what it writes to goes.
  FakeServer server_;
};

TEST_F(PushTest, ArrivesAsItWasGiven) {
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {5, 3, 5};
  const std::vector<float> gradient = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> other_ids = {7};
  const std::vector<float> other_gradient = {9};
  const std::vector<GradientItem> items = {{.table = "words",
                                            .uid = UidOf(4),
                                            .ids = ids,
                                            .gradient = gradient,
                                            .learning_rate = 0.5},
                                           {.table = "bias",
                                            .uid = {},
                                            .ids = other_ids,
                                            .gradient = other_gradient,
                                            .learning_rate = {}}};

  const auto pushed = client->ApplyGradient(items);

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  ASSERT_EQ(pushed->tables.size(), 2u);
  EXPECT_EQ(pushed->tables[0].uid, UidOf(3));
  EXPECT_EQ(pushed->tables[0].rows_changed, 3);
  EXPECT_EQ(pushed->tables[0].padding_dropped, 2);
  EXPECT_EQ(pushed->tables[0].rows_skipped, 1);
  EXPECT_EQ(pushed->tables[0].step, 8);
  const v1::TableGradient& words = received_.tables(0);
  EXPECT_EQ(words.table().name(), "words");
  EXPECT_EQ(words.table().uid(), testing::Text(UidOf(4)));
  EXPECT_EQ(words.learning_rate(), 0.5);
  EXPECT_THAT(words.ids().ids(), ElementsAre(5, 3, 5));
  EXPECT_THAT(words.gradient().shape().dims(), ElementsAre(3, 2));
  EXPECT_THAT(words.gradient().values(), ElementsAre(1, 2, 3, 4, 5, 6));
  const v1::TableGradient& bias = received_.tables(1);
  EXPECT_FALSE(bias.has_learning_rate());
  EXPECT_THAT(bias.table().uid(), "");
  EXPECT_THAT(bias.gradient().values(), ElementsAre(9));
}

TEST_F(PushTest, BagsArriveAsTheyWereGiven) {
  server_.on_push = [this](auto&, auto& request, auto& response) {
    received_ = request;
    auto& result = *response.add_tables();
    result.set_table_uid(testing::Text(UidOf(3)));
    result.add_weight_gradients(0.5f);
    result.add_weight_gradients(-1.0f);
    return grpc::Status::OK;
  };
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {5, 3};
  const std::vector<int64_t> offsets = {0, 1, 1, 2};
  const std::vector<float> weights = {2, 3};
  const std::vector<float> gradient = {1, 2, 3, 4, 5, 6};
  const GradientItem item = {.table = "words",
                             .ids = ids,
                             .gradient = gradient,
                             .bags = Bags{.pooling = Pooling::kSum,
                                          .offsets = offsets,
                                          .weights = weights},
                             .gradient_scale = 0.25,
                             .return_weight_gradients = true};

  const auto pushed = client->ApplyGradient({&item, 1});

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_THAT(pushed->tables[0].weight_gradients, ElementsAre(0.5f, -1.0f));
  const v1::TableGradient& words = received_.tables(0);
  EXPECT_EQ(words.bags().pooling(), v1::Bags::POOLING_SUM);
  EXPECT_THAT(words.bags().offsets(), ElementsAre(0, 1, 1));
  EXPECT_THAT(words.bags().weights(), ElementsAre(2, 3));
  EXPECT_THAT(words.ids().ids(), ElementsAre(5, 3));
  EXPECT_THAT(words.gradient().shape().dims(), ElementsAre(3, 2));
  EXPECT_EQ(words.gradient_scale(), 0.25);
  EXPECT_TRUE(words.return_weight_gradients());
  EXPECT_FALSE(words.duplicates_summed());
}

TEST_F(PushTest, NothingAtAllIsAPushToo) {
  const auto client = server_.Connect();

  const auto pushed = client->ApplyGradient({});

  EXPECT_TRUE(pushed.ok());
  EXPECT_EQ(server_.push_count, 1);
}

TEST_F(PushTest, AnEmptyBatchIsSentWithItsTable) {
  const auto client = server_.Connect();
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = {},
                          .gradient = {},
                          .learning_rate = {}};

  const auto pushed = client->ApplyGradient({&item, 1});

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(received_.tables(0).table().name(), "words");
  EXPECT_EQ(received_.tables(0).ids().ids_size(), 0);
}

TEST_F(PushTest, AGradientThatIsNoMultipleOfTheIdsIsRefusedHere) {
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {1, 2};
  const std::vector<float> gradient = {1, 2, 3};
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  const auto pushed = client->ApplyGradient({&item, 1});

  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kBadShape);
  EXPECT_EQ(FieldOf(pushed.status()), "items[0].gradient");
  EXPECT_EQ(server_.push_count, 0);
}

TEST_F(PushTest, AReplyForOtherTablesIsABug) {
  server_.on_push = [](auto&, auto&, auto&) { return grpc::Status::OK; };
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {1};
  const std::vector<float> gradient = {1};
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  EXPECT_EQ(ReasonOf(client->ApplyGradient({&item, 1}).status()), Reason::kBug);
}

TEST_F(PushTest, OverTheLimitDuplicatesAreSummedAndItIsSentWhole) {
  server_.info.mutable_limits()->set_push_bytes(200);
  const auto client = server_.Connect();
  std::vector<int64_t> ids;
  std::vector<float> gradient;
  for (int i = 0; i < 100; ++i) {
    ids.push_back(i % 2 == 0 ? 9 : 4);
    gradient.push_back(static_cast<float>(i % 2));
    gradient.push_back(2);
  }
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  const auto pushed = client->ApplyGradient({&item, 1});

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(server_.push_count, 1);
  EXPECT_THAT(received_.tables(0).ids().ids(), ElementsAre(9, 4));
  EXPECT_THAT(received_.tables(0).gradient().shape().dims(), ElementsAre(2, 2));
  EXPECT_THAT(received_.tables(0).gradient().values(),
              ElementsAre(0, 100, 50, 100));
}

TEST_F(PushTest, TheLimitOnIdsCountsToo) {
  server_.info.mutable_limits()->set_ids_per_request(2);
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {1, 1, 1};
  const std::vector<float> gradient = {1, 2, 3};
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  ASSERT_TRUE(client->ApplyGradient({&item, 1}).ok());

  EXPECT_THAT(received_.tables(0).ids().ids(), ElementsAre(1));
  EXPECT_THAT(received_.tables(0).gradient().values(), ElementsAre(6));
}

TEST_F(PushTest, OneThatFitsKeepsItsDuplicates) {
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {1, 1};
  const std::vector<float> gradient = {1, 2};
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  ASSERT_TRUE(client->ApplyGradient({&item, 1}).ok());

  EXPECT_THAT(received_.tables(0).ids().ids(), ElementsAre(1, 1));
}

TEST_F(PushTest, NumbersOfTwoBytesArePacked) {
  server_.info.add_features("half");
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {5, 3};
  const std::vector<float> gradient = {1, 0.1f, -2, 65504};
  GradientItem item{.table = "words",
                    .uid = {},
                    .ids = ids,
                    .gradient = gradient,
                    .learning_rate = {},
                    .wire_dtype = ElementType::kFloat16};

  const auto pushed = client->ApplyGradient({&item, 1});

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  const v1::Tensor sent = received_.tables(0).gradient();
  EXPECT_EQ(sent.dtype(), v1::ELEMENT_TYPE_FLOAT16);
  EXPECT_THAT(sent.shape().dims(), ElementsAre(2, 2));
  EXPECT_EQ(sent.values_size(), 0);
  EXPECT_EQ(sent.packed(), std::string("\x00\x3c\x66\x2e\x00\xc0\xff\x7b", 8));
}

TEST_F(PushTest, FiniteNumbersThatBecomeInfiniteAreNotSent) {
  server_.info.add_features("half");
  const auto client = server_.Connect();
  const auto push = [&](ElementType type, float x) {
    const std::vector<int64_t> ids = {5, 3};
    std::vector<float> gradient(2 * 300, 1.0f);
    gradient[300 + 299] = x;
    const GradientItem item{.table = "words",
                            .uid = {},
                            .ids = ids,
                            .gradient = gradient,
                            .learning_rate = {},
                            .wire_dtype = type};
    return client->ApplyGradient({&item, 1}).status();
  };
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();

  for (const float sign : {1.0f, -1.0f}) {
    for (const auto& [type, x] : {std::pair(ElementType::kFloat16, 65520.0f),
                                  std::pair(ElementType::kFloat16, kMax),
                                  std::pair(ElementType::kBfloat16, kMax)}) {
      const absl::Status status = push(type, sign * x);
      EXPECT_EQ(ReasonOf(status), Reason::kNonFinite) << status;
      EXPECT_EQ(FieldOf(status), "items[0].gradient");
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("id 3 (row 1), column 299"));
    }
  }
  EXPECT_EQ(server_.push_count, 0);
  // These are: the last that fit; what is no number is the server's to judge.
  for (const auto& [type, x] :
       {std::pair(ElementType::kFloat16, std::nextafter(65520.0f, 0.0f)),
        std::pair(ElementType::kBfloat16, std::bit_cast<float>(0x7F7F7FFF)),
        std::pair(ElementType::kFloat16, kInfinity),
        std::pair(ElementType::kBfloat16, std::nanf(""))}) {
    EXPECT_TRUE(push(type, x).ok());
  }
}

TEST_F(PushTest, AServerWithoutNumbersOfTwoBytesIsNotSentAny) {
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {5};
  const std::vector<float> gradient = {1};
  GradientItem item{.table = "words",
                    .uid = {},
                    .ids = ids,
                    .gradient = gradient,
                    .learning_rate = {},
                    .wire_dtype = ElementType::kFloat16};

  const absl::Status status = client->ApplyGradient({&item, 1}).status();

  EXPECT_EQ(ReasonOf(status), Reason::kNotBuilt);
  EXPECT_EQ(FieldOf(status), "items[0].wire_dtype");
  item.wire_dtype = static_cast<ElementType>(7);
  EXPECT_EQ(ReasonOf(client->ApplyGradient({&item, 1}).status()),
            Reason::kBadValue);
  EXPECT_EQ(server_.push_count, 0);
}

TEST_F(PushTest, UniqueIdsAreSummedHoweverSmallThePush) {
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {1, 7, 1};
  const std::vector<float> gradient = {1, 2, 3};
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {},
                          .gradient_scale = 0.5,
                          .unique_ids = true};

  ASSERT_TRUE(client->ApplyGradient({&item, 1}).ok());

  const v1::TableGradient& words = received_.tables(0);
  EXPECT_THAT(words.ids().ids(), ElementsAre(1, 7));
  EXPECT_THAT(words.gradient().values(), ElementsAre(2, 1));
  EXPECT_TRUE(words.duplicates_summed());
  EXPECT_FALSE(words.has_gradient_scale());
}

TEST_F(PushTest, TooLargeForEverIsRefusedHereWithTheLimitAndARemedy) {
  server_.info.mutable_limits()->set_push_bytes(200);
  const auto client = server_.Connect();
  std::vector<int64_t> ids(100);
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int64_t>(i);
  }
  const std::vector<float> gradient(100);
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  const auto pushed = client->ApplyGradient({&item, 1});

  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kTooLarge);
  const std::string message(pushed.status().message());
  EXPECT_THAT(message, HasSubstr("200 bytes"));
  EXPECT_THAT(message, HasSubstr("Push fewer rows"));
  EXPECT_EQ(server_.push_count, 0);
}

TEST_F(PushTest, TensOfMegabytesAreOneRequest) {
  const auto client = server_.Connect();
  constexpr size_t kRows = 100'000;
  constexpr size_t kDim = 64;
  std::vector<int64_t> ids(kRows);
  std::vector<float> gradient(kRows * kDim);
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] = static_cast<float>(i % 1000);
  }
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  const auto pushed = client->ApplyGradient({&item, 1});

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(server_.push_count, 1);
  EXPECT_TRUE(
      std::ranges::equal(received_.tables(0).gradient().values(), gradient));
}

// gRPC's own shutdown waited, for up to ten seconds, after some of these.
TEST(EndOfClientTest, IsNotDelayedByALargePush) {
  constexpr size_t kRows = 400'000;
  const std::vector<int64_t> ids(kRows);
  const std::vector<float> gradient(kRows * 64);
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};
  for (int round = 0; round < 8; ++round) {
    auto server = std::make_unique<FakeServer>();
    auto client = server->Connect();
    const auto pushed = client->ApplyGradient({&item, 1});
    const absl::Time start = absl::Now();

    client.reset();
    server.reset();

    EXPECT_EQ(ReasonOf(pushed.status()), Reason::kNoSuchMethod);
    EXPECT_LT(absl::Now() - start, absl::Seconds(3));
  }
}

// The server takes the push and dies before it answers.
TEST_F(PushTest, AnAnswerThatIsLostIsAnErrorAndIsNotSentAgain) {
  std::promise<void> arrived;
  server_.on_push = [&](auto& context, auto&, auto&) {
    arrived.set_value();
    for (int i = 0; i < 2000 && !context.IsCancelled(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  };
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {1};
  const std::vector<float> gradient = {1};
  const GradientItem item{.table = "words",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  std::thread killer([&] {
    arrived.get_future().get();
    server_.Stop();
  });

  const auto pushed = client->ApplyGradient({&item, 1});

  killer.join();
  ASSERT_FALSE(pushed.ok());
  EXPECT_THAT(std::string(pushed.status().message()),
              HasSubstr("may have been applied"));
  EXPECT_EQ(server_.push_count, 1);
}

TEST(SumDuplicatesTest, KeepsTheOrderOfFirstAppearance) {
  const std::vector<int64_t> ids = {7, -1, 7, 3, -1};
  const std::vector<float> gradient = {1, 2, 4, 8, 16};

  const SummedGradient summed = SumDuplicates(ids, gradient, 1);

  EXPECT_THAT(summed.ids, ElementsAre(7, -1, 3));
  EXPECT_THAT(summed.gradient, ElementsAre(5, 18, 8));
}

TEST(SumDuplicatesTest, AddsInRequestOrderInFloat) {
  constexpr int64_t kDim = 3;
  std::mt19937_64 random(testing::Seed());
  std::normal_distribution<float> value(0, 1e3f);
  std::vector<int64_t> ids(5000);
  std::ranges::generate(ids,
                        [&] { return static_cast<int64_t>(random() % 100); });
  std::vector<float> gradient(ids.size() * kDim);
  std::ranges::generate(gradient, [&] { return value(random); });

  const SummedGradient summed = SumDuplicates(ids, gradient, kDim);

  std::map<int64_t, std::vector<float>> expected;
  for (size_t i = 0; i < ids.size(); ++i) {
    std::vector<float>& sum = expected[ids[i]];
    sum.resize(kDim);
    for (size_t column = 0; column < kDim; ++column) {
      sum[column] = sum[column] + gradient[i * kDim + column];
    }
  }
  ASSERT_EQ(summed.ids.size(), expected.size());
  for (size_t i = 0; i < summed.ids.size(); ++i) {
    for (size_t column = 0; column < kDim; ++column) {
      ASSERT_EQ(summed.gradient[i * kDim + column],
                expected[summed.ids[i]][column]);
    }
  }
}

}  // namespace
}  // namespace quire
