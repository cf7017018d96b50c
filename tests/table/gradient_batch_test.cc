// A push is made ready in the order of RULINGS 2.

#include "table/gradient_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <limits>
#include <random>
#include <vector>

#include "base/status.h"
#include "main/seed.h"
#include "table/naive_batch.h"

namespace quire {
namespace {

using ::testing::HasSubstr;
using testing::NaiveBatch;
using testing::PlainBatch;
using testing::PlainPart;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TableConfig ConfigOf(int64_t dim) {
  TableConfig config;
  config.num_embeddings = 100;
  config.dim = dim;
  config.shard_count = 4;
  return config;
}

// The parts as a message holds them: gradients in pieces, cut anywhere.
class Message {
 public:
  Message(const std::vector<PlainPart>& parts, size_t piece_bytes) {
    for (const PlainPart& part : parts) {
      const Bytes bytes = std::as_bytes(std::span(part.gradient));
      std::vector<Bytes>& pieces = pieces_.emplace_back();
      for (size_t begin = 0; begin < bytes.size(); begin += piece_bytes) {
        pieces.push_back(
            bytes.subspan(begin, std::min(piece_bytes, bytes.size() - begin)));
      }
      GradientPart& made = parts_.emplace_back();
      made.ids = part.ids;
      made.gradient = ByteRange(pieces.data(), 0, bytes.size());
      made.gradient_scale = part.gradient_scale;
      if (!part.offsets.empty()) {
        made.bags = Bags{.pooling = part.pooling,
                         .offsets = part.offsets,
                         .weights = part.weights,
                         .winners = part.winners};
      }
    }
  }

  absl::StatusOr<GradientBatch> Make(const TableConfig& config,
                                     size_t* bad_part) const {
    return GradientBatch::Make(parts_, config, kernels::BestKernels(),
                               bad_part);
  }

 private:
  std::deque<std::vector<Bytes>> pieces_;
  std::vector<GradientPart> parts_;
};

std::vector<float> RowOf(const GradientBatch& batch, size_t i, size_t dim) {
  std::vector<float> row(dim);
  std::memcpy(row.data(), batch.gradients()[i], dim * sizeof(float));
  return row;
}

// Numbers that repeat ids, bags that are empty or hold padding alone.
class RandomPush {
 public:
  explicit RandomPush(uint64_t seed) : random_(seed) {
    config_ = ConfigOf(1 + static_cast<int64_t>(Below(20)));
    config_.padding_idx =
        Below(2) == 0 ? std::optional<int64_t>(3) : std::nullopt;
    config_.non_finite_policy = static_cast<NonFinitePolicy>(Below(3));
    config_.scale_grad_by_freq = Below(3) == 0;
    config_.clip = {.kind = static_cast<GradientClip::Kind>(Below(4)),
                    .bound = 0.5};
    special_one_in_ = Below(2) == 0 ? 0 : 60;
    parts_.resize(1 + Below(3));
    for (PlainPart& part : parts_) {
      Fill(part);
    }
  }

  const TableConfig& config() const { return config_; }
  const std::vector<PlainPart>& parts() const { return parts_; }

 private:
  size_t Below(size_t limit) { return random_() % limit; }

  float Number() {
    if (special_one_in_ != 0 && Below(special_one_in_) == 0) {
      constexpr float kSpecial[] = {kNan, kInfinity, -kInfinity, 3e38f, -3e38f};
      return kSpecial[Below(5)];
    }
    return normal_(random_);
  }

  void Fill(PlainPart& part) {
    const auto dim = static_cast<size_t>(config_.dim);
    const size_t id_range = Below(2) == 0 ? 8 : 100;
    for (size_t i = Below(30); i > 0; --i) {
      part.ids.push_back(static_cast<int64_t>(Below(id_range)));
    }
    size_t rows = part.ids.size();
    if (Below(2) == 0) {
      FillBags(part);
      rows = part.offsets.size() - 1;
    }
    if (Below(3) == 0) {
      part.gradient_scale = 0.1;
    }
    for (size_t i = 0; i < rows * dim; ++i) {
      part.gradient.push_back(Number());
    }
  }

  void FillBags(PlainPart& part) {
    part.offsets = {0};
    while (part.offsets.back() < std::ssize(part.ids)) {
      part.offsets.push_back(
          std::min(part.offsets.back() + static_cast<int64_t>(Below(5)),
                   std::ssize(part.ids)));
    }
    part.pooling = static_cast<Pooling>(Below(4));
    if (config_.scale_grad_by_freq && part.pooling == Pooling::kMax) {
      part.pooling = Pooling::kMean;  // the engine refuses the two together
    }
    if (part.pooling == Pooling::kSum && !config_.scale_grad_by_freq &&
        Below(2) == 0) {
      for (size_t i = 0; i < part.ids.size(); ++i) {
        part.weights.push_back(normal_(random_));
      }
    }
    for (size_t b = 0;
         part.pooling == Pooling::kMax && b + 1 < part.offsets.size(); ++b) {
      const auto length =
          static_cast<size_t>(part.offsets[b + 1] - part.offsets[b]);
      for (int64_t d = 0; d < config_.dim; ++d) {
        part.winners.push_back(static_cast<int32_t>(Below(length + 1)) - 1);
      }
    }
  }

  std::mt19937_64 random_;
  std::normal_distribution<float> normal_;
  TableConfig config_;
  size_t special_one_in_ = 0;
  std::vector<PlainPart> parts_;
};

void ExpectSame(const GradientBatch& found, const PlainBatch& expected,
                size_t dim) {
  EXPECT_EQ(std::vector<int64_t>(found.ids().begin(), found.ids().end()),
            expected.ids);
  EXPECT_EQ(found.padding_dropped(), expected.padding_dropped);
  EXPECT_EQ(found.rows_skipped(), expected.rows_skipped);
  ASSERT_EQ(found.gradients().size(), expected.ids.size());
  for (size_t i = 0; i < expected.ids.size(); ++i) {
    const std::vector<float> row = RowOf(found, i, dim);
    const std::vector<float>& wanted = expected.gradients.at(expected.ids[i]);
    for (size_t d = 0; d < dim; ++d) {
      EXPECT_TRUE(row[d] == wanted[d] ||
                  (std::isnan(row[d]) && std::isnan(wanted[d])))
          << row[d] << " is not " << wanted[d] << ": id " << expected.ids[i];
    }
  }
}

TEST(GradientBatchTest, RandomPushesAreMadeReadyAsInPlainLoops) {
  int refused = 0;
  int skipped = 0;
  for (uint64_t round = 0; round < 3000; ++round) {
    SCOPED_TRACE(round);
    const RandomPush push(testing::Seed() + round);
    const NaiveBatch naive(push.parts(), push.config());
    const Message message(push.parts(), 1 + round % 97);

    size_t bad_part = 0;
    const auto batch = message.Make(push.config(), &bad_part);

    ASSERT_EQ(!batch.ok(), naive.batch().refused) << batch.status();
    if (batch.ok()) {
      ExpectSame(*batch, naive.batch(), static_cast<size_t>(push.config().dim));
      skipped += batch->rows_skipped() > 0 ? 1 : 0;
    } else {
      EXPECT_EQ(ReasonOf(batch.status()), Reason::kNonFinite);
      ++refused;
    }
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
  // The numbers are such that all of it happens.
  EXPECT_GT(refused, 50);
  EXPECT_GT(skipped, 50);
}

// --- Refusals, and what they name ---

struct Refusal {
  Reason reason;
  std::string field;
  std::string message;
  size_t part;
};

void ExpectRefused(const TableConfig& config,
                   const std::vector<PlainPart>& parts,
                   const Refusal& refusal) {
  size_t bad_part = 99;
  const absl::Status status =
      Message(parts, 7).Make(config, &bad_part).status();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(ReasonOf(status), refusal.reason) << status;
  EXPECT_EQ(FieldOf(status), refusal.field) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(refusal.message));
  EXPECT_EQ(bad_part, refusal.part);
}

// A batch, and the parts that it views.
struct Made {
  Made(const TableConfig& config, std::vector<PlainPart> from)
      : parts(std::move(from)) {
    size_t bad_part = 0;
    auto made = Message(parts, 1000).Make(config, &bad_part);
    EXPECT_TRUE(made.ok()) << made.status();
    batch.emplace(*std::move(made));
    dim = static_cast<size_t>(config.dim);
  }

  std::vector<int64_t> ids() const {
    return {batch->ids().begin(), batch->ids().end()};
  }
  std::vector<float> row(size_t i) const { return RowOf(*batch, i, dim); }

  std::vector<PlainPart> parts;
  std::optional<GradientBatch> batch;
  size_t dim = 0;
};

TEST(GradientBatchTest, ANonFiniteGradientIsRefusedWithItsPlace) {
  const PlainPart good = {.ids = {1, 2}, .gradient = {1, 2, 3, 4}};
  const PlainPart bad = {.ids = {7, 8}, .gradient = {1, 2, 3, kNan}};

  ExpectRefused(ConfigOf(2), {good, bad},
                {Reason::kNonFinite, "gradient",
                 "the gradient for id 8 (row 1), column 1 is not finite", 1});

  PlainPart bag = bad;
  bag.offsets = {0, 1, 2};
  ExpectRefused(ConfigOf(2), {good, bag},
                {Reason::kNonFinite, "gradient", "bag 1, column 1", 1});
}

TEST(GradientBatchTest, GradientScaleComesBeforeTheFiniteCheck) {
  PlainPart part = {.ids = {1}, .gradient = {3e38f}, .gradient_scale = 2.0};
  ExpectRefused(ConfigOf(1), {part},
                {Reason::kNonFinite, "gradient", "times gradient_scale", 0});

  // And before the sum: each is finite only once it is scaled down.
  part = {.ids = {1, 1}, .gradient = {3e38f, 3e38f}, .gradient_scale = 0.25};
  EXPECT_EQ(Made(ConfigOf(1), {part}).row(0)[0], 1.5e38f);
  // Infinity times 0 is no number.
  part = {.ids = {1}, .gradient = {kInfinity}, .gradient_scale = 0.0};
  ExpectRefused(ConfigOf(1), {part},
                {Reason::kNonFinite, "gradient", "not finite", 0});
}

TEST(GradientBatchTest, ASumThatIsNotFiniteIsRefusedWithItsId) {
  ExpectRefused(
      ConfigOf(2),
      {{.ids = {5, 9}, .gradient = {1, 1, 1, 3e38f}},
       {.ids = {9}, .gradient = {1, 3e38f}}},
      {Reason::kNonFinite, "gradient",
       "the sum of the gradients for id 9, column 1 is not finite", 0});
}

TEST(GradientBatchTest, SkipRowDropsByOccurrenceAndThenBySum) {
  TableConfig config = ConfigOf(1);
  config.non_finite_policy = NonFinitePolicy::kSkipRow;

  const Made batch(config,
                   {{.ids = {1, 2, 1, 3, 3, 4},
                     .gradient = {5, kNan, kInfinity, 3e38f, 3e38f, 7}}});

  // Of 1 one occurrence is left, of 2 none; the sum of 3 is too large.
  EXPECT_EQ(batch.ids(), (std::vector<int64_t>{1, 4}));
  EXPECT_EQ(batch.row(0)[0], 5.0f);
  EXPECT_EQ(batch.row(1)[0], 7.0f);
  EXPECT_EQ(batch.batch->rows_skipped(), 3);
}

// The mean is over those that count: a dropped occurrence does not.
TEST(GradientBatchTest, FrequencyCountsWhatIsKept) {
  TableConfig config = ConfigOf(1);
  config.scale_grad_by_freq = true;
  config.non_finite_policy = NonFinitePolicy::kSkipRow;

  const Made batch(config, {{.ids = {1, 1, 1}, .gradient = {3, kNan, 5}},
                            {.ids = {2}, .gradient = {4}}});

  EXPECT_EQ(batch.row(0)[0], 4.0f);
  EXPECT_EQ(batch.row(1)[0], 4.0f);
}

TEST(GradientBatchTest, PaddingIsDroppedAndCountedAfterTheFiniteCheck) {
  TableConfig config = ConfigOf(1);
  config.padding_idx = 2;

  const Made batch(config, {{.ids = {2, 1, 2}, .gradient = {9, 1, 9}},
                            {.ids = {2}, .gradient = {9}}});

  EXPECT_EQ(batch.ids().size(), 1u);
  EXPECT_EQ(batch.batch->padding_dropped(), 3);
  ExpectRefused(config, {{.ids = {2}, .gradient = {kNan}}},
                {Reason::kNonFinite, "gradient", "id 2", 0});
  // Where rows are skipped, it is still padding.
  config.non_finite_policy = NonFinitePolicy::kSkipRow;
  const Made skipped(config, {{.ids = {2}, .gradient = {kNan}}});
  EXPECT_EQ(skipped.batch->padding_dropped(), 1);
  EXPECT_EQ(skipped.batch->rows_skipped(), 0);
}

TEST(GradientBatchTest, AllowTakesWhatComes) {
  TableConfig config = ConfigOf(1);
  config.non_finite_policy = NonFinitePolicy::kAllow;

  const Made batch(config,
                   {{.ids = {1, 1, 2}, .gradient = {kInfinity, 1, kNan}}});

  EXPECT_EQ(batch.row(0)[0], kInfinity);
  EXPECT_TRUE(std::isnan(batch.row(1)[0]));
  EXPECT_EQ(batch.batch->rows_skipped(), 0);
}

TEST(GradientBatchTest, WinnersThatAreNotOfTheirBagAreRefusedByTheirPlace) {
  PlainPart part = {.ids = {1, 2, 3},
                    .gradient = {1, 1, 1, 1},
                    .offsets = {0, 2, 3},
                    .pooling = Pooling::kMax,
                    .winners = {0, 1, 0, -1}};
  EXPECT_EQ(Made(ConfigOf(2), {part}).ids().size(), 3u);

  for (const int32_t bad : {1, 2, -2}) {
    part.winners[3] = bad;
    ExpectRefused(ConfigOf(2), {{.ids = {1}, .gradient = {1, 1}}, part},
                  {Reason::kBadValue, "bags.winners[3]",
                   "winner 1 of bag 1 is " + std::to_string(bad), 1});
  }
}

TEST(GradientBatchTest, AnEmptyPushIsAnEmptyBatch) {
  const Made batch(ConfigOf(3), {PlainPart{}});

  EXPECT_TRUE(batch.ids().empty());
  EXPECT_TRUE(batch.batch->gradients().empty());
}

// --- Clipping, of the sums ---

TEST(GradientBatchTest, ClippingIsOfSumsAndInDouble) {
  TableConfig config = ConfigOf(2);
  const std::vector<PlainPart> parts = {
      {.ids = {1, 2, 1}, .gradient = {2, 0, 0, 12, 1, 4}}};
  const auto clipped = [&](GradientClip clip) {
    config.clip = clip;
    const Made batch(config, parts);
    std::vector<float> rows = batch.row(0);
    const std::vector<float> second = batch.row(1);
    rows.insert(rows.end(), second.begin(), second.end());
    return rows;
  };
  const auto at = [](double bound, double norm) {
    return static_cast<float>(bound / (norm + 1e-6));
  };
  using Kind = GradientClip::Kind;

  // The sums are {3, 4} and {0, 12}, of norms 5 and 12, 13 together.
  EXPECT_EQ(clipped({.kind = Kind::kValue, .bound = 3.5}),
            (std::vector<float>{3, 3.5, 0, 3.5}));
  const float row = at(6, 12);
  EXPECT_EQ(clipped({.kind = Kind::kRowNorm, .bound = 6}),
            (std::vector<float>{3, 4, 0, 12 * row}));
  const float push = at(2, 13);
  EXPECT_EQ(clipped({.kind = Kind::kPushNorm, .bound = 2}),
            (std::vector<float>{3 * push, 4 * push, 0, 12 * push}));
  // A norm that a float does not hold.
  config.clip = {.kind = Kind::kRowNorm, .bound = 1};
  const std::vector<float> huge =
      Made(config, {{.ids = {1}, .gradient = {3e38f, -4e37f}}}).row(0);
  EXPECT_NEAR(std::hypot(huge[0], huge[1]), 1.0, 1e-6);
}

}  // namespace
}  // namespace quire
