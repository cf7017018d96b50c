// A table's rows: how they are born, pooled, and stepped all at once.

#include "table/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "main/seed.h"
#include "row/halves.h"

namespace quire {
namespace {

kernels::Stripes& TheStripes() {
  static const auto stripes = std::make_unique<kernels::Stripes>();
  return *stripes;
}

TableConfig ConfigOf(int64_t rows, int64_t dim) {
  TableConfig config;
  config.num_embeddings = rows;
  config.dim = dim;
  config.shard_count = 4;
  return config;
}

// A table with tickets, and plain ways to ask it.
class Rows {
 public:
  explicit Rows(const TableConfig& config)
      : table_(*Table::Make(config, kernels::BestKernels(), TheStripes())),
        dim_(static_cast<size_t>(config.dim)) {
    for (int32_t shard = 0; shard < config.shard_count; ++shard) {
      table_->FillShard(ShardId{static_cast<uint32_t>(shard)}, true);
    }
  }

  Table& table() { return *table_; }
  const Table& table() const { return *table_; }
  size_t dim() const { return dim_; }

  std::vector<int64_t> AllIds() const {
    std::vector<int64_t> ids(
        static_cast<size_t>(table_->config().num_embeddings));
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
  }

  std::vector<float> Gather(const std::vector<int64_t>& ids) const {
    std::vector<float> rows(ids.size() * dim_);
    table_->Gather(ids, reinterpret_cast<std::byte*>(rows.data()));
    return rows;
  }

  // Values and state of all rows, as they are stored.
  std::vector<float> Stored() const {
    const std::vector<int64_t> ids = AllIds();
    std::vector<float> values(ids.size() * dim_);
    std::vector<float> state(ids.size() *
                             static_cast<size_t>(table_->state_floats()));
    table_->ReadRows(ids, values.data(), state.data());
    values.insert(values.end(), state.begin(), state.end());
    return values;
  }

  Table::Moved Push(const std::vector<int64_t>& ids,
                    const std::vector<float>& gradient,
                    double learning_rate = 0.1) {
    const Bytes bytes = std::as_bytes(std::span(gradient));
    const GradientPart part = {.ids = ids, .gradient = ByteRange(bytes)};
    size_t bad_part = 0;
    const auto batch = GradientBatch::Make({&part, 1}, table_->config(),
                                           kernels::BestKernels(), &bad_part);
    EXPECT_TRUE(batch.ok()) << batch.status();
    ++step_;
    return table_->ApplyGradient(*batch,
                                 {.optimizer = table_->config().optimizer,
                                  .learning_rate = learning_rate,
                                  .step = step_},
                                 Ticket{next_ticket_++});
  }

  void Write(const std::vector<int64_t>& ids,
             const std::vector<float>& values) {
    table_->WriteRows(ids, values.data(), nullptr, Ticket{next_ticket_++});
  }

 private:
  const std::unique_ptr<Table> table_;
  const size_t dim_;
  int64_t step_ = 0;
  uint64_t next_ticket_ = 0;
};

std::vector<float> Random(size_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> floats(count);
  std::ranges::generate(floats, [&] { return normal(random); });
  return floats;
}

// --- Birth ---

TEST(TableTest, ThePaddingRowIsBornAsZerosAndItsNeighboursAreNot) {
  TableConfig config = ConfigOf(20, 5);
  Rows without(config);
  config.padding_idx = 7;
  Rows with(config);

  const std::vector<float> expected = without.Gather(without.AllIds());
  const std::vector<float> found = with.Gather(with.AllIds());

  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i], i / 5 == 7 ? 0.0f : expected[i]);
    EXPECT_NE(expected[i], 0.0f);
  }
}

// --- Lookups with max_norm ---

TEST(TableTest, MaxNormIsInWhatIsReadAndNotInWhatIsStored) {
  TableConfig config = ConfigOf(50, 16);
  Rows plain(config);
  config.max_norm = 1.0;
  config.padding_idx = 3;
  Rows bounded(config);
  bounded.Write({3}, std::vector<float>(16, 1.0f));
  const std::vector<float> stored = bounded.Stored();

  const std::vector<float> values = bounded.Gather(bounded.AllIds());

  for (size_t row = 0; row < 50; ++row) {
    double squares = 0;
    for (size_t d = 0; d < 16; ++d) {
      squares += double{values[row * 16 + d]} * values[row * 16 + d];
    }
    // The padding row too.
    EXPECT_NEAR(std::sqrt(squares), 1.0, 1e-6) << row;
  }
  EXPECT_EQ(bounded.Stored(), stored);
  EXPECT_EQ(plain.Gather({5}), std::vector<float>(stored.begin() + 5 * 16,
                                                  stored.begin() + 6 * 16));
  std::vector<float> made = stored;
  bounded.table().MakeValues(made);
  EXPECT_EQ(made, values);
}

// --- Lookups of two bytes a number ---

constexpr ElementType kHalfTypes[] = {ElementType::kFloat16,
                                      ElementType::kBfloat16};

// What the kernels make of floats.
std::vector<uint16_t> Rounded(ElementType type,
                              const std::vector<float>& floats) {
  std::vector<uint16_t> halves(floats.size());
  HalfKernelsOf(kernels::ScalarKernels(), type)
      ->round(reinterpret_cast<const std::byte*>(floats.data()), floats.size(),
              reinterpret_cast<std::byte*>(halves.data()));
  return halves;
}

TEST(TableTest, RowsOfTwoBytesAreTheRowsRounded) {
  std::mt19937_64 random(testing::Seed());
  for (const int64_t dim : {1, 7, 64, 5000}) {
    for (const auto max_norm : {std::optional<double>(), std::optional(0.7)}) {
      TableConfig config = ConfigOf(50, dim);
      config.max_norm = max_norm;
      const Rows rows(config);
      std::vector<int64_t> ids(1300);  // some rounds of Gather
      std::ranges::generate(
          ids, [&] { return static_cast<int64_t>(random() % 50); });
      const std::vector<float> floats = rows.Gather(ids);
      for (const ElementType type : kHalfTypes) {
        std::vector<uint16_t> found(floats.size() + 1, 0xA5A5);

        rows.table().Gather(ids, reinterpret_cast<std::byte*>(found.data()),
                            type);

        EXPECT_EQ(found.back(), 0xA5A5);
        found.pop_back();
        EXPECT_EQ(found, Rounded(type, floats)) << dim;
      }
    }
  }
}

TEST(TableTest, HalvesAreWidenedHoweverTheyAreCut) {
  const Rows rows(ConfigOf(1, 1));
  std::vector<uint16_t> halves(1000);
  std::iota(halves.begin(), halves.end(), 0x3C00);
  const Bytes bytes = std::as_bytes(std::span(halves));
  for (const ElementType type : kHalfTypes) {
    std::vector<float> whole(halves.size());
    rows.table().Widen(type, ByteRange(bytes),
                       reinterpret_cast<std::byte*>(whole.data()));
    EXPECT_EQ(Rounded(type, whole), halves);
    for (const size_t size : {1u, 2u, 3u, 7u, 64u}) {
      std::vector<Bytes> pieces;
      for (size_t begin = 0; begin < bytes.size(); begin += size) {
        pieces.push_back(
            bytes.subspan(begin, std::min(size, bytes.size() - begin)));
      }
      std::vector<float> found(halves.size());

      rows.table().Widen(type, ByteRange(pieces.data(), 0, bytes.size()),
                         reinterpret_cast<std::byte*>(found.data()));

      EXPECT_EQ(found, whole) << size;
    }
  }
}

// RULINGS 1: w = step(renorm(w)).
TEST(TableTest, APushRenormalisesTheRowsThatItTouchesAndStepsThem) {
  TableConfig config = ConfigOf(50, 16);
  config.max_norm = 1.0;
  Rows rows(config);
  const std::vector<float> before = rows.Stored();
  const std::vector<float> value = rows.Gather({9});

  rows.Push({9}, std::vector<float>(16, 1.0f), 0.5);

  const std::vector<float> after = rows.Stored();
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i],
              i / 16 == 9 ? std::fma(-0.5f, 1.0f, value[i % 16]) : before[i]);
  }
}

// --- Bags ---

struct PlainBags {
  std::vector<int64_t> ids;
  std::vector<int64_t> offsets = {0};
  std::vector<float> weights;
};

PlainBags RandomBags(size_t id_count, int64_t id_range, bool is_weighted,
                     std::mt19937_64& random) {
  PlainBags bags;
  while (bags.ids.size() < id_count) {
    // Empty ones, small ones, and some that are longer than any buffer.
    const size_t length =
        random() % 20 == 0 ? random() % (id_count + 1) : random() % 5;
    for (size_t i = 0; i < length && bags.ids.size() < id_count; ++i) {
      bags.ids.push_back(static_cast<int64_t>(random()) & 0x7FFFFFFF);
      bags.ids.back() %= id_range;
    }
    bags.offsets.push_back(std::ssize(bags.ids));
  }
  bags.offsets.push_back(std::ssize(bags.ids));  // the last one is empty
  if (is_weighted) {
    bags.weights = Random(bags.ids.size(), random);
  }
  return bags;
}

// One bag of a lookup, row by row.
void PoolPlainly(const Rows& rows, const TableConfig& config, Pooling pooling,
                 const PlainBags& bags, size_t bag, float* out,
                 int32_t* winners) {
  const size_t dim = rows.dim();
  std::fill_n(out, dim, 0.0f);
  std::fill_n(winners, dim, kNoWinner);
  const int64_t begin = bags.offsets[bag];
  float count = 0;
  for (int64_t i = begin; i < bags.offsets[bag + 1]; ++i) {
    const int64_t id = bags.ids[static_cast<size_t>(i)];
    if (id == config.padding_idx) {
      continue;
    }
    const std::vector<float> row = rows.Gather({id});
    for (size_t d = 0; d < dim; ++d) {
      if (pooling == Pooling::kMax) {
        const bool wins = count == 0 || row[d] > out[d];
        winners[d] = wins ? static_cast<int32_t>(i - begin) : winners[d];
        out[d] = wins ? row[d] : out[d];
      } else if (bags.weights.empty()) {
        out[d] = out[d] + row[d];
      } else {
        const float weight = bags.weights[static_cast<size_t>(i)];
        out[d] = config.padding_idx ? out[d] + row[d] * weight
                                    : std::fma(weight, row[d], out[d]);
      }
    }
    count += 1;
  }
  for (size_t d = 0; d < dim && count > 0; ++d) {
    if (pooling == Pooling::kMean) {
      out[d] = out[d] / count;
    } else if (pooling == Pooling::kSqrtn) {
      out[d] = out[d] / static_cast<float>(std::sqrt(double{count}));
    }
  }
}

void ExpectBags(const Rows& rows, const Table& table, Pooling pooling,
                const PlainBags& bags) {
  const size_t dim = rows.dim();
  const size_t bag_count = bags.offsets.size() - 1;
  const bool is_max = pooling == Pooling::kMax;
  std::vector<float> found(bag_count * dim, 9.0f);
  std::vector<int32_t> winners(bag_count * dim, 9);
  table.GatherBags(
      bags.ids,
      {.pooling = pooling, .offsets = bags.offsets, .weights = bags.weights},
      reinterpret_cast<std::byte*>(found.data()),
      is_max ? reinterpret_cast<std::byte*>(winners.data()) : nullptr);

  std::vector<float> expected(bag_count * dim);
  std::vector<int32_t> expected_winners(bag_count * dim);
  for (size_t bag = 0; bag < bag_count; ++bag) {
    PoolPlainly(rows, table.config(), pooling, bags, bag, &expected[bag * dim],
                &expected_winners[bag * dim]);
  }
  const auto same_bits = [](float x, float y) {
    return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y);
  };
  ASSERT_TRUE(std::ranges::equal(found, expected, same_bits));
  if (is_max) {
    ASSERT_EQ(winners, expected_winners);
  }
}

class BagsTest : public ::testing::TestWithParam<Pooling> {};
INSTANTIATE_TEST_SUITE_P(All, BagsTest,
                         ::testing::Values(Pooling::kSum, Pooling::kMean,
                                           Pooling::kMax, Pooling::kSqrtn));

// Few floats and many, rows that fill the buffer by themselves and rows of
// which thousands fit.
TEST_P(BagsTest, TheyArePooledToTheBitAsInAPlainLoop) {
  std::mt19937_64 random(testing::Seed());
  for (const auto& [dim, id_count] :
       {std::pair<int64_t, size_t>{1, 9000}, {3, 400}, {64, 700}, {5000, 30}}) {
    for (const bool has_padding : {false, true}) {
      for (const bool is_weighted : {false, true}) {
        if (is_weighted && GetParam() != Pooling::kSum) {
          continue;
        }
        TableConfig config = ConfigOf(60, dim);
        config.padding_idx =
            has_padding ? std::optional<int64_t>(2) : std::nullopt;
        config.max_norm =
            random() % 2 == 0 ? std::optional<double>(0.7) : std::nullopt;
        Rows rows(config);
        // The padding row has numbers that would be seen.
        rows.Write({2}, std::vector<float>(static_cast<size_t>(dim), 50.0f));
        // Of a few ids padding is more than a rare one.
        for (const int64_t id_range : {4, 60}) {
          SCOPED_TRACE(dim);
          ExpectBags(rows, rows.table(), GetParam(),
                     RandomBags(id_count, id_range, is_weighted, random));
        }
        ASSERT_FALSE(HasFatalFailure());
      }
    }
  }
}

TEST_P(BagsTest, BagsOfTwoBytesAreTheBagsRounded) {
  std::mt19937_64 random(testing::Seed());
  const Rows rows(ConfigOf(30, 33));
  const PlainBags plain = RandomBags(200, 30, false, random);
  const Bags bags = {.pooling = GetParam(), .offsets = plain.offsets};
  const size_t count = (plain.offsets.size() - 1) * rows.dim();
  std::vector<float> floats(count);
  std::vector<int32_t> winners(count);
  const auto bytes_if_max = [](std::vector<int32_t>& numbers) {
    return GetParam() == Pooling::kMax
               ? reinterpret_cast<std::byte*>(numbers.data())
               : nullptr;
  };
  rows.table().GatherBags(plain.ids, bags,
                          reinterpret_cast<std::byte*>(floats.data()),
                          bytes_if_max(winners));
  for (const ElementType type : kHalfTypes) {
    std::vector<uint16_t> found(count + 1, 0xA5A5);
    std::vector<int32_t> found_winners(count);

    rows.table().GatherBags(plain.ids, bags,
                            reinterpret_cast<std::byte*>(found.data()),
                            bytes_if_max(found_winners), type);

    EXPECT_EQ(found.back(), 0xA5A5);
    found.pop_back();
    EXPECT_EQ(found, Rounded(type, floats));
    EXPECT_EQ(found_winners, winners);
  }
}

TEST_P(BagsTest, NoBagsAndBagsOfNothingAreZeros) {
  TableConfig config = ConfigOf(10, 3);
  config.padding_idx = 1;
  Rows rows(config);
  rows.Write({1}, {5, 5, 5});

  ExpectBags(rows, rows.table(), GetParam(), {});
  ExpectBags(rows, rows.table(), GetParam(), {.ids = {}, .offsets = {0, 0, 0}});
  ExpectBags(rows, rows.table(), GetParam(),
             {.ids = {1, 1, 1}, .offsets = {0, 2, 3}});
}

// torch.nn.EmbeddingBag: the gradient of a weight is the product of its row and
// its bag's gradient; padding has none.
TEST(TableTest, WeightGradientsAreProductsWithRowsAsTheyAreRead) {
  std::mt19937_64 random(testing::Seed());
  for (const int64_t dim : {1, 17, 64}) {
    TableConfig config = ConfigOf(30, dim);
    config.padding_idx = 2;
    config.max_norm = 1.5;
    Rows rows(config);
    rows.Write({2}, std::vector<float>(rows.dim(), 1.0f));
    const PlainBags bags = RandomBags(200, 30, true, random);
    const std::vector<float> gradient =
        Random((bags.offsets.size() - 1) * rows.dim(), random);
    // In pieces that cut rows.
    std::vector<Bytes> pieces;
    const Bytes bytes = std::as_bytes(std::span(gradient));
    for (size_t begin = 0; begin < bytes.size(); begin += 101) {
      pieces.push_back(
          bytes.subspan(begin, std::min<size_t>(101, bytes.size() - begin)));
    }
    const GradientPart part = {
        .ids = bags.ids,
        .gradient = ByteRange(pieces.data(), 0, bytes.size()),
        .bags = Bags{.pooling = Pooling::kSum,
                     .offsets = bags.offsets,
                     .weights = bags.weights},
        .gradient_scale = 0.5};
    std::vector<float> found(bags.ids.size(), 9.0f);

    rows.table().WeightGradients(part, found);

    for (size_t bag = 0; bag + 1 < bags.offsets.size(); ++bag) {
      for (auto i = static_cast<size_t>(bags.offsets[bag]);
           i < static_cast<size_t>(bags.offsets[bag + 1]); ++i) {
        const std::vector<float> row = rows.Gather({bags.ids[i]});
        double product = 0;
        for (size_t d = 0; d < rows.dim() && bags.ids[i] != 2; ++d) {
          product += 0.5 * gradient[bag * rows.dim() + d] * row[d];
        }
        EXPECT_NEAR(found[i], product, 1e-5);
      }
    }
  }
}

// --- Steps of every row ---

Optimizer AllRows(OptimizerKind kind, void (*change)(Optimizer&)) {
  Optimizer optimizer;
  optimizer.kind = kind;
  optimizer.eps = 1e-8;
  optimizer.beta1 = 0.9;
  optimizer.beta2 = 0.999;
  optimizer.weight_decay = 0.1;
  change(optimizer);
  return optimizer;
}

TEST(TableTest, AStepOfAllRowsIsOneOfEachRowWithZerosWhereNothingCame) {
  const Optimizer optimizers[] = {
      AllRows(OptimizerKind::kSgd, [](Optimizer& o) { o.momentum = 0.9; }),
      AllRows(OptimizerKind::kAdam, [](Optimizer& o) { o.amsgrad = true; }),
      AllRows(OptimizerKind::kAdamW, [](Optimizer&) {})};
  std::mt19937_64 random(testing::Seed());
  for (const Optimizer& optimizer : optimizers) {
    // So that shards are not equally full.
    TableConfig config = ConfigOf(37, 6);
    config.optimizer = optimizer;
    Rows named(config);
    config.optimizer.all_rows = true;
    Rows all(config);
    for (int push = 0; push < 10; ++push) {
      std::vector<int64_t> ids(push == 5 ? 0 : random() % 20);
      std::ranges::generate(
          ids, [&] { return static_cast<int64_t>(random() % 37); });
      std::ranges::sort(ids);
      ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
      std::ranges::shuffle(ids, random);
      const std::vector<float> gradient = Random(ids.size() * 6, random);
      std::vector<float> of_all(37 * 6);
      for (size_t i = 0; i < ids.size(); ++i) {
        std::copy_n(&gradient[i * 6], 6,
                    &of_all[static_cast<size_t>(ids[i]) * 6]);
      }

      const Table::Moved moved = all.Push(ids, gradient);
      named.Push(named.AllIds(), of_all);

      EXPECT_EQ(moved.rows_changed, 37);
      EXPECT_EQ(moved.rows_skipped, 0);
      ASSERT_EQ(all.Stored(), named.Stored()) << optimizer.name();
    }
  }
}

// torch: padding_idx keeps a row from gradients, not from weight decay.
TEST(TableTest, AStepOfAllRowsDecaysThePaddingRowToo) {
  TableConfig config = ConfigOf(5, 1);
  config.padding_idx = 3;
  config.optimizer.weight_decay = 0.1;
  config.optimizer.all_rows = true;
  Rows rows(config);
  rows.Write({3, 4}, {5.0f, 5.0f});

  rows.Push({3, 4}, {100.0f, 1.0f}, 0.5);

  EXPECT_EQ(rows.Gather({3})[0], 4.75f);
  EXPECT_EQ(rows.Gather({4})[0], 4.25f);
}

// --- Rows that would not be finite ---

TEST(TableTest, ARowWhoseNewBytesAreNotFiniteIsLeftAndCountedUnlessAllowed) {
  for (const bool all_rows : {false, true}) {
    for (const NonFinitePolicy policy :
         {NonFinitePolicy::kReject, NonFinitePolicy::kSkipRow,
          NonFinitePolicy::kAllow}) {
      TableConfig config = ConfigOf(5, 2);
      config.non_finite_policy = policy;
      config.optimizer.all_rows = all_rows;
      Rows rows(config);
      rows.Write({1, 2}, {3e38f, 1.0f, 1.0f, 1.0f});

      const Table::Moved moved =
          rows.Push({1, 2}, {-3e38f, 0.0f, 1.0f, 1.0f}, 1.0);

      const bool is_left = policy != NonFinitePolicy::kAllow;
      EXPECT_EQ(rows.Gather({1})[0],
                is_left ? 3e38f : std::numeric_limits<float>::infinity());
      EXPECT_EQ(rows.Gather({2}), (std::vector<float>{0.0f, 0.0f}));
      EXPECT_EQ(moved.rows_skipped, is_left ? 1 : 0);
      EXPECT_EQ(moved.rows_changed, (all_rows ? 5 : 2) - (is_left ? 1 : 0));
    }
  }
}

}  // namespace
}  // namespace quire
