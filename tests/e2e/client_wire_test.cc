// What travels between the client library and a real server: numbers of two
// bytes, and each id once. tests/e2e/half_stock_test.py holds every bit of them
// against torch.

#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include "e2e/client_fixture.h"
#include "main/seed.h"

namespace quire::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kTenthAsFloat16 = 0.0999755859375f;
constexpr float kTenthAsBfloat16 = 0.10009765625f;

std::vector<uint32_t> BitsOf(const std::vector<float>& floats) {
  std::vector<uint32_t> bits;
  for (const float x : floats) {
    bits.push_back(std::bit_cast<uint32_t>(x));
  }
  return bits;
}

class ClientWireTest : public ClientTest {
 protected:
  void CreateRandom(const std::string& name, int64_t rows, int64_t dim,
                    const std::function<void(v1::TableSpec&)>& change = {}) {
    v1::TableSpec spec = FlatSpec(name, rows, dim);
    spec.clear_initializer();
    spec.set_seed(7);
    if (change) {
      change(spec);
    }
    const auto created = Create(*client_, spec);
    ASSERT_TRUE(created.ok()) << created.status();
  }

  std::vector<float> Lookup(const std::string& table,
                            const std::vector<int64_t>& ids, int64_t dim,
                            ElementType type = ElementType::kFloat32,
                            bool unique_ids = false) {
    std::vector<float> out(ids.size() * static_cast<size_t>(dim), -7.0f);
    const LookupItem item = {.table = table,
                             .ids = ids,
                             .out = out,
                             .wire_dtype = type,
                             .unique_ids = unique_ids};
    const absl::Status status = client_->Lookup({&item, 1});
    EXPECT_TRUE(status.ok()) << status;
    return out;
  }

  // Every row, bit by bit.
  std::vector<uint32_t> AllOf(const std::string& table) {
    const v1::TableSpec spec = client_->GetTable(table)->spec();
    std::vector<int64_t> ids(static_cast<size_t>(spec.num_embeddings()));
    std::iota(ids.begin(), ids.end(), 0);
    return BitsOf(Lookup(table, ids, spec.embedding_dim()));
  }

  // Ids below `range`, many of them often.
  std::vector<int64_t> RandomIds(size_t count, int64_t range) {
    std::vector<int64_t> ids(count);
    for (int64_t& id : ids) {
      id = std::uniform_int_distribution<int64_t>(0, range - 1)(random_);
    }
    return ids;
  }

  std::mt19937_64 random_{Seed()};
};

TEST_F(ClientWireTest, EachItemTravelsInItsOwnType) {
  CreateFlat("a", 10, 3, 0.1f);
  CreateFlat("b", 10, 70, 0.1f);
  const std::vector<int64_t> ids = {4, 4, 9};
  std::vector<float> plain(9);
  std::vector<float> float16(9);
  std::vector<float> bfloat16(3 * 70);
  std::vector<LookupItem> items = {{.table = "a", .ids = ids, .out = plain},
                                   {.table = "a",
                                    .ids = ids,
                                    .out = float16,
                                    .wire_dtype = ElementType::kFloat16},
                                   {.table = "b",
                                    .ids = ids,
                                    .out = bfloat16,
                                    .wire_dtype = ElementType::kBfloat16}};
  for (const bool unique_ids : {false, true}) {
    for (LookupItem& item : items) {
      std::ranges::fill(item.out, 0.0f);
      item.unique_ids = unique_ids;
    }

    const absl::Status status = client_->Lookup(items);

    ASSERT_TRUE(status.ok()) << status;
    EXPECT_THAT(plain, Each(0.1f));
    EXPECT_THAT(float16, Each(kTenthAsFloat16));
    EXPECT_THAT(bfloat16, Each(kTenthAsBfloat16));
  }
}

TEST_F(ClientWireTest, BagsArePooledInFloat32AndTravelRounded) {
  CreateRandom("t", 10, 5);
  const std::vector<int64_t> ids = {4, 4, 9, 1};
  const std::vector<int64_t> offsets = {0, 3, 3, 4};
  const auto lookup = [&](ElementType type, std::vector<int32_t>& winners) {
    std::vector<float> out(15);
    winners.resize(15);
    const LookupItem item = {
        .table = "t",
        .ids = ids,
        .out = out,
        .bags = Bags{.pooling = Pooling::kMax, .offsets = offsets},
        .winners = winners,
        .wire_dtype = type,
        .unique_ids = true};  // which leaves bags as they are
    const absl::Status status = client_->Lookup({&item, 1});
    EXPECT_TRUE(status.ok()) << status;
    return out;
  };
  std::vector<int32_t> winners;
  const std::vector<float> exact = lookup(ElementType::kFloat32, winners);

  for (const auto& [type, step] :
       {std::pair(ElementType::kFloat16, 0x1p-11f),
        std::pair(ElementType::kBfloat16, 0x1p-8f)}) {
    std::vector<int32_t> found_winners;
    const std::vector<float> found = lookup(type, found_winners);

    EXPECT_EQ(found_winners, winners);
    EXPECT_NE(found, exact);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LE(std::abs(found[i] - exact[i]), step * std::abs(exact[i]));
    }
  }
}

// Of several parts, and more than one in flight.
TEST_F(ClientWireTest, LargeLookupsAreTheSameWithEachIdOnce) {
  constexpr int64_t kDim = 64;
  CreateRandom("t", 60'000, kDim);
  const std::vector<int64_t> ids = RandomIds(150'000, 60'000);
  for (const ElementType type :
       {ElementType::kFloat32, ElementType::kFloat16, ElementType::kBfloat16}) {
    const std::vector<float> apart = Lookup("t", ids, kDim, type);

    const std::vector<float> once = Lookup("t", ids, kDim, type, true);

    EXPECT_EQ(BitsOf(once), BitsOf(apart));
  }
}

TEST_F(ClientWireTest, EachIdIsLookedUpOnce) {
  CreateFlat("t", 10, 2);

  Lookup("t", {3, 1, 3, 3, 1}, 2, ElementType::kFloat32, true);

  EXPECT_EQ(client_->GetTable("t")->stats().rows_looked_up(), 2);
}

TEST_F(ClientWireTest, ABadIdIsNamedWhereTheCallerHasIt) {
  CreateFlat("t", 10, 1);
  const std::vector<int64_t> ids = {3, 3, 3, 10, 3};
  std::vector<float> out(5);
  const LookupItem item = {
      .table = "t", .ids = ids, .out = out, .unique_ids = true};

  const absl::Status status = client_->Lookup({&item, 1});

  EXPECT_EQ(ReasonOf(status), Reason::kIdOutOfRange);
  EXPECT_EQ(FieldOf(status), "tables[0].ids.ids[3]");
  EXPECT_THAT(MessageOf(status), HasSubstr("id 10 at position 1"));
  EXPECT_THAT(MessageOf(status),
              HasSubstr("positions do not count the others"));
}

// The zeros of both signs among the gradients would tell a sum that begins
// with its first term.
TEST_F(ClientWireTest, GradientsSummedHereMakeTheSameRows) {
  constexpr int64_t kDim = 9;
  const auto adagrad = [](v1::TableSpec& spec) {
    spec.mutable_optimizer()->mutable_adagrad();
    spec.set_padding_idx(2);
  };
  for (const auto scale : {std::optional<double>(), std::optional(0.3)}) {
    CreateRandom("apart", 50, kDim, adagrad);
    CreateRandom("summed", 50, kDim, adagrad);
    for (int step = 0; step < 5; ++step) {
      const std::vector<int64_t> ids = RandomIds(300, 50);
      std::vector<float> gradient(ids.size() * kDim);
      for (float& g : gradient) {
        g = random_() % 3 == 0 ? -0.0f
                               : std::normal_distribution<float>()(random_);
      }
      for (const bool unique_ids : {false, true}) {
        const GradientItem item = {.table = unique_ids ? "summed" : "apart",
                                   .uid = {},
                                   .ids = ids,
                                   .gradient = gradient,
                                   .learning_rate = {},
                                   .gradient_scale = scale,
                                   .unique_ids = unique_ids};
        const auto pushed = client_->ApplyGradient({&item, 1});
        ASSERT_TRUE(pushed.ok()) << pushed.status();
        EXPECT_EQ(pushed->tables[0].step, step + 1);
      }
      EXPECT_EQ(AllOf("summed"), AllOf("apart"));
    }
    ASSERT_TRUE(client_->DropTable("apart").ok());
    ASSERT_TRUE(client_->DropTable("summed").ok());
  }
}

TEST_F(ClientWireTest, GradientsTravelRounded) {
  CreateFlat("t", 10, 2);
  const std::vector<int64_t> ids = {4, 7, 4};
  const std::vector<float> gradient = {0.1f, 1, 2, 4, 0.1f, 1};
  const auto push = [&](ElementType type, bool unique_ids,
                        std::optional<double> scale) {
    const GradientItem item = {.table = "t",
                               .uid = {},
                               .ids = ids,
                               .gradient = gradient,
                               .learning_rate = {},
                               .gradient_scale = scale,
                               .wire_dtype = type,
                               .unique_ids = unique_ids};
    const auto pushed = client_->ApplyGradient({&item, 1});
    EXPECT_TRUE(pushed.ok()) << pushed.status();
    const std::vector<float> rows = Lookup("t", {4, 7}, 2);
    // Back to zeros.
    EXPECT_TRUE(client_->DropTable("t").ok());
    CreateFlat("t", 10, 2);
    return rows;
  };

  EXPECT_THAT(push(ElementType::kFloat16, false, {}),
              ElementsAre(-2 * kTenthAsFloat16, -2, -2, -4));
  EXPECT_THAT(push(ElementType::kBfloat16, false, {}),
              ElementsAre(-2 * kTenthAsBfloat16, -2, -2, -4));
  // The sum is rounded, and then the server multiplies it.
  EXPECT_THAT(push(ElementType::kBfloat16, true, 0.5),
              ElementsAre(-kTenthAsBfloat16, -1, -1, -2));
}

TEST_F(ClientWireTest, TablesToWhichItMattersHowOftenRefuseSums) {
  CreateRandom("frequency", 10, 2,
               [](v1::TableSpec& spec) { spec.set_scale_grad_by_freq(true); });
  CreateRandom("skipping", 10, 2, [](v1::TableSpec& spec) {
    spec.set_non_finite_policy(v1::NON_FINITE_POLICY_SKIP_ROW);
  });
  for (const std::string table : {"frequency", "skipping"}) {
    const auto before = AllOf(table);
    const std::vector<int64_t> ids = {4};
    const std::vector<float> gradient = {1, 1};
    const GradientItem item = {.table = table,
                               .uid = {},
                               .ids = ids,
                               .gradient = gradient,
                               .learning_rate = {},
                               .unique_ids = true};

    const auto pushed = client_->ApplyGradient({&item, 1});

    EXPECT_EQ(ReasonOf(pushed.status()), Reason::kBadValue);
    EXPECT_EQ(FieldOf(pushed.status()), "tables[0].duplicates_summed");
    EXPECT_EQ(AllOf(table), before);
  }
}

TEST_F(ClientWireTest, WhatDoesNotFitItsTypeIsRefusedAndNothingChanges) {
  CreateRandom("t", 10, 2, [](v1::TableSpec& spec) {
    spec.set_non_finite_policy(v1::NON_FINITE_POLICY_ALLOW);
  });
  const auto before = AllOf("t");
  const std::vector<int64_t> ids = {4, 7, 4};
  const std::vector<float> gradient = {1, 40000, 2, 4, 1, 40000};
  GradientItem item = {.table = "t",
                       .uid = {},
                       .ids = ids,
                       .gradient = gradient,
                       .learning_rate = {},
                       .wire_dtype = ElementType::kFloat16,
                       .unique_ids = true};

  const auto summed = client_->ApplyGradient({&item, 1});

  EXPECT_EQ(ReasonOf(summed.status()), Reason::kNonFinite);
  EXPECT_EQ(FieldOf(summed.status()), "items[0].gradient");
  EXPECT_THAT(MessageOf(summed.status()),
              HasSubstr("id 4 (row 0), column 1 is 80000, duplicates summed, "
                        "and FLOAT16 ends at 65504; nothing was sent"));
  EXPECT_EQ(AllOf("t"), before);
  EXPECT_EQ(client_->GetTable("t")->step(), 0);
  // Apart they fit.
  item.unique_ids = false;
  EXPECT_TRUE(client_->ApplyGradient({&item, 1}).ok());
}

}  // namespace
}  // namespace quire::testing
