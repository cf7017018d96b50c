// Bags through the client library, against a real server.

#include <cmath>
#include <numeric>
#include <random>

#include "e2e/client_fixture.h"
#include "main/seed.h"

namespace quire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClientBagsTest : public ClientTest {
 protected:
  // A table of random rows, and what a lookup gives of all of them.
  void CreateRandom(const std::string& name, int64_t rows, int64_t dim) {
    v1::TableSpec spec = FlatSpec(name, rows, dim);
    spec.mutable_initializer()->mutable_normal()->set_stddev(1.0);
    const auto created = Create(*client_, spec);
    ASSERT_TRUE(created.ok()) << created.status();
  }

  std::vector<float> RowsOf(const std::string& name,
                            const std::vector<int64_t>& ids) {
    const auto rows = client_->Lookup(name, ids, {std::ssize(ids)});
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? rows->values : std::vector<float>();
  }

  // The fields of a refusal.
  static void ExpectRefused(const absl::Status& status, Reason reason,
                            const std::string& field,
                            const std::string& sentence) {
    EXPECT_EQ(ReasonOf(status), reason) << status;
    EXPECT_EQ(FieldOf(status), field);
    EXPECT_THAT(MessageOf(status), HasSubstr(sentence));
  }

  std::mt19937_64 random_{Seed()};
};

TEST_F(ClientBagsTest, EveryPoolingMakesOneRowOfEachBag) {
  CreateFlat("t", 4, 2, 3.0f);
  const std::vector<int64_t> ids = {1, 2, 0, 3, 3, 3};
  const std::vector<int64_t> offsets = {0, 2, 2, 6};

  const auto pooled = [&](Pooling pooling) {
    const auto rows =
        client_->LookupBags("t", ids, {.pooling = pooling, .offsets = offsets});
    EXPECT_TRUE(rows.ok()) << rows.status();
    EXPECT_EQ(rows->shape, (Shape{3, 2}));
    return rows->values;
  };

  EXPECT_THAT(pooled(Pooling::kSum), ElementsAre(6, 6, 0, 0, 12, 12));
  EXPECT_THAT(pooled(Pooling::kMean), ElementsAre(3, 3, 0, 0, 3, 3));
  EXPECT_THAT(pooled(Pooling::kMax), ElementsAre(3, 3, 0, 0, 3, 3));
  EXPECT_THAT(
      pooled(Pooling::kSqrtn),
      ElementsAre(6 / std::sqrt(2.0f), 6 / std::sqrt(2.0f), 0, 0, 6, 6));
}

// More than a message carries: the bags come in parts, and none is cut.
TEST_F(ClientBagsTest, ManyBagsAreSplitAndJoined) {
  constexpr int64_t kDim = 128;
  constexpr int64_t kBags = 30'000;  // 15 MB, and as much of winners
  CreateRandom("t", 1000, kDim);
  std::vector<int64_t> offsets = {0};
  for (int64_t bag = 0; bag < kBags; ++bag) {
    offsets.push_back(offsets.back() +
                      std::uniform_int_distribution<int64_t>(0, 3)(random_));
  }
  std::vector<int64_t> ids(static_cast<size_t>(offsets.back()));
  for (int64_t& id : ids) {
    id = std::uniform_int_distribution<int64_t>(0, 999)(random_);
  }
  std::vector<float> out(kBags * kDim, -1.0f);
  std::vector<int32_t> winners(kBags * kDim, -2);
  const LookupItem item = {
      .table = "t",
      .ids = ids,
      .out = out,
      .bags = Bags{.pooling = Pooling::kMax, .offsets = offsets},
      .winners = winners};

  const absl::Status status = client_->Lookup({&item, 1});

  ASSERT_TRUE(status.ok()) << status;
  std::vector<int64_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  const std::vector<float> rows = RowsOf("t", all);
  for (size_t bag = 0; bag < kBags; ++bag) {
    const auto begin = static_cast<size_t>(offsets[bag]);
    const auto end = static_cast<size_t>(offsets[bag + 1]);
    for (size_t d = 0; d < kDim; ++d) {
      float best = 0;
      int32_t winner = kNoWinner;
      for (size_t i = begin; i < end; ++i) {
        const float value = rows[static_cast<size_t>(ids[i]) * kDim + d];
        if (i == begin || value > best) {
          best = value;
          winner = static_cast<int32_t>(i - begin);
        }
      }
      ASSERT_EQ(out[bag * kDim + d], best);
      ASSERT_EQ(winners[bag * kDim + d], winner);
    }
  }
}

// A part of a lookup names ids as the whole has them.
TEST_F(ClientBagsTest, ABadIdOfALaterPartIsNamedByItsPlaceInAll) {
  constexpr int64_t kDim = 256;
  constexpr size_t kIds = 40'000;  // in bags of 2: 20 MB
  CreateFlat("t", 10, kDim);
  std::vector<int64_t> ids(kIds, 3);
  ids[kIds - 5] = 10;
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i <= static_cast<int64_t>(kIds); i += 2) {
    offsets.push_back(i);
  }

  const auto rows = client_->LookupBags(
      "t", ids, {.pooling = Pooling::kSum, .offsets = offsets});

  ExpectRefused(rows.status(), Reason::kIdOutOfRange,
                "tables[0].ids.ids[39995]", "id 10");
}

TEST_F(ClientBagsTest, TheGradientOfAMaximumGoesToTheRowsThatWon) {
  CreateRandom("t", 10, 3);
  const std::vector<int64_t> ids = {4, 7, 4, 1};
  const std::vector<int64_t> offsets = {0, 3, 3, 4};
  std::vector<float> out(9);
  std::vector<int32_t> winners(9);
  Bags bags = {.pooling = Pooling::kMax, .offsets = offsets};
  const LookupItem lookup = {
      .table = "t", .ids = ids, .out = out, .bags = bags, .winners = winners};
  ASSERT_TRUE(client_->Lookup({&lookup, 1}).ok());
  std::vector<float> expected = RowsOf("t", ids);
  const std::vector<float> gradient = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (size_t d = 0; d < 3; ++d) {
    // The winner among 4, 7, 4; of equal ones the first.
    ASSERT_THAT(winners[d], ::testing::AnyOf(0, 1));
    ASSERT_EQ(winners[3 + d], kNoWinner);
    ASSERT_EQ(winners[6 + d], 0);
    expected[static_cast<size_t>(winners[d]) * 3 + d] -= gradient[d];
    expected[3 * 3 + d] -= gradient[6 + d];
    expected[2 * 3 + d] = expected[d];  // id 4 again
  }

  bags.winners = winners;
  const GradientItem push = {
      .table = "t", .ids = ids, .gradient = gradient, .bags = bags};
  const auto pushed = client_->ApplyGradient({&push, 1});

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(RowsOf("t", ids), expected);
}

TEST_F(ClientBagsTest, WeightsHaveGradientsOfTheirOwn) {
  CreateFlat("t", 10, 2, 3.0f);
  const std::vector<int64_t> ids = {1, 2, 1};
  const std::vector<int64_t> offsets = {0, 2, 3};
  const std::vector<float> weights = {0.5f, 2.0f, 4.0f};
  const std::vector<float> gradient = {1, 2, 10, 20};
  const GradientItem push = {.table = "t",
                             .ids = ids,
                             .gradient = gradient,
                             .bags = Bags{.pooling = Pooling::kSum,
                                          .offsets = offsets,
                                          .weights = weights},
                             .gradient_scale = 0.25,
                             .return_weight_gradients = true};

  const auto pushed = client_->ApplyGradient({&push, 1});

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  // The bag's gradient, a quarter of it, times rows of (3, 3).
  EXPECT_THAT(pushed->tables[0].weight_gradients,
              ElementsAre(2.25, 2.25, 22.5));
  EXPECT_EQ(pushed->tables[0].rows_changed, 2);
  EXPECT_THAT(RowsOf("t", {1, 2}),
              ElementsAre(3 - 0.25f * (0.5f * 1 + 4 * 10),
                          3 - 0.25f * (0.5f * 2 + 4 * 20), 3 - 0.25f * 2 * 1,
                          3 - 0.25f * 2 * 2));
}

// SumDuplicates loses how often an id occurs: it was wrong under
// scale_grad_by_freq without a word.
TEST_F(ClientBagsTest, SummedDuplicatesAreRefusedWhereTheirNumberMatters) {
  server_ = StartServer("127.0.0.1:0", /*push_bytes_max=*/4096);
  client_ = Connect(*server_);
  v1::TableSpec by_frequency = FlatSpec("by_frequency", 10, 16);
  by_frequency.set_scale_grad_by_freq(true);
  v1::TableSpec skipping = FlatSpec("skipping", 10, 16);
  skipping.set_non_finite_policy(v1::NON_FINITE_POLICY_SKIP_ROW);
  for (const v1::TableSpec& spec :
       {by_frequency, skipping, FlatSpec("plain", 10, 16)}) {
    ASSERT_TRUE(Create(*client_, spec).ok());
  }
  const std::vector<int64_t> ids(200, 3);  // 12,800 bytes; summed, 64

  const auto frequency = PushFlat(*client_, "by_frequency", ids, 16, 1.0f);
  const auto skipped = PushFlat(*client_, "skipping", ids, 16, 1.0f);
  const auto plain = PushFlat(*client_, "plain", ids, 16, 1.0f);

  ExpectRefused(frequency.status(), Reason::kBadValue,
                "tables[0].duplicates_summed", "scale_grad_by_freq");
  ExpectRefused(skipped.status(), Reason::kBadValue,
                "tables[0].duplicates_summed", "SKIP_ROW");
  EXPECT_EQ(RowsOf("by_frequency", {3}), std::vector<float>(16, 0));
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(RowsOf("plain", {3}), std::vector<float>(16, -200));
}

TEST_F(ClientBagsTest, WhatIsOverTheLimitAndCannotBeSummedIsRefused) {
  server_ = StartServer("127.0.0.1:0", /*push_bytes_max=*/4096);
  client_ = Connect(*server_);
  CreateFlat("t", 10, 16);
  const std::vector<int64_t> ids(200, 3);
  const std::vector<float> gradient(200 * 16, 1.0f);
  std::vector<int64_t> offsets(201);
  std::iota(offsets.begin(), offsets.end(), 0);
  const GradientItem in_bags = {
      .table = "t",
      .ids = ids,
      .gradient = gradient,
      .bags = Bags{.pooling = Pooling::kMean, .offsets = offsets}};

  const auto pushed = client_->ApplyGradient({&in_bags, 1});

  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kTooLarge) << pushed.status();
  EXPECT_EQ(RowsOf("t", {3}), std::vector<float>(16, 0));
}

TEST_F(ClientBagsTest, WhatIsOverTheLimitIsScaledBeforeItIsSummed) {
  CreateFlat("sent_apart", 10, 16);
  const auto push = [&](const std::string& table) {
    const std::vector<int64_t> ids(200, 3);
    const std::vector<float> gradient(200 * 16, 1.1f);
    const GradientItem item = {.table = table,
                               .ids = ids,
                               .gradient = gradient,
                               .gradient_scale = 0.3};
    const auto pushed = client_->ApplyGradient({&item, 1});
    EXPECT_TRUE(pushed.ok()) << pushed.status();
  };
  push("sent_apart");
  const std::vector<float> expected = RowsOf("sent_apart", {3});

  server_ = StartServer("127.0.0.1:0", /*push_bytes_max=*/4096);
  client_ = Connect(*server_);
  CreateFlat("summed", 10, 16);
  push("summed");

  EXPECT_EQ(RowsOf("summed", {3}), expected);
}

TEST_F(ClientBagsTest, BagsThatAreNoneAreRefusedBeforeTheyAreSent) {
  CreateFlat("t", 10, 1);
  const std::vector<int64_t> ids = {1, 2, 3};
  std::vector<float> out(2);
  const auto refused = [&](std::vector<int64_t> offsets,
                           std::vector<float> weights, const std::string& field,
                           const std::string& sentence) {
    const Bags bags = {
        .pooling = Pooling::kSum, .offsets = offsets, .weights = weights};
    const LookupItem lookup = {
        .table = "t", .ids = ids, .out = out, .bags = bags};
    const GradientItem push = {
        .table = "t", .ids = ids, .gradient = out, .bags = bags};
    for (const absl::Status& status :
         {client_->Lookup({&lookup, 1}),
          client_->ApplyGradient({&push, 1}).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(FieldOf(status), "items[0].bags" + field);
      EXPECT_THAT(MessageOf(status), HasSubstr(sentence));
    }
  };

  refused({}, {}, ".offsets", "0 offsets for 3 ids");
  refused({0, 2}, {}, ".offsets", "2 offsets, from 0 to 2, for 3 ids");
  refused({1, 3}, {}, ".offsets", "the first 0");
  refused({0, 4, 3}, {}, ".offsets[2]", "offsets ascend");
  refused({0, 1, 3}, {1.0f}, ".weights", "1 weights for 3 ids");
}

TEST_F(ClientBagsTest, WinnersGoWhereTheyBelong) {
  CreateFlat("t", 10, 1);
  const std::vector<int64_t> ids = {1, 2};
  const std::vector<int64_t> offsets = {0, 1, 2};
  std::vector<float> out(2);
  std::vector<int32_t> winners(2);
  const Bags bags = {.pooling = Pooling::kMax, .offsets = offsets};

  LookupItem item = {.table = "t", .ids = ids, .out = out, .winners = winners};
  ExpectRefused(client_->Lookup({&item, 1}), Reason::kBadValue, "items[0].bags",
                "winners are of bags");
  item.bags = bags;
  item.bags->winners = winners;
  ExpectRefused(client_->Lookup({&item, 1}), Reason::kBadValue,
                "items[0].bags.winners", "they go with a push");
  item.bags = bags;
  item.winners = std::span(winners).first(1);
  ExpectRefused(client_->Lookup({&item, 1}), Reason::kBadShape,
                "items[0].bags.winners", "one for each");
  item.winners = winners;
  item.bags->pooling = Pooling::kMean;
  ExpectRefused(client_->Lookup({&item, 1}), Reason::kBadValue,
                "tables[0].bags.return_winners", "only POOLING_MAX");
}

}  // namespace
}  // namespace quire::testing
