// Every optimizer, its hyperparameters and its step count, in lock step with
// the same rule in double precision.

#include "row/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "main/seed.h"
#include "row/exact_row.h"

namespace quire {
namespace {

struct Rule {
  std::string name;
  Optimizer optimizer;
  // Of a row of 5.
  int64_t state_floats;
};

Rule RuleOf(
    std::string name, OptimizerKind kind, int64_t state_floats,
    void (*change)(Optimizer&) = [](Optimizer&) {}) {
  Optimizer optimizer;
  optimizer.kind = kind;
  optimizer.eps = 1e-8;
  optimizer.beta = 0.9;
  optimizer.beta1 = 0.9;
  optimizer.beta2 = 0.999;
  optimizer.learning_rate_power = -0.5;
  change(optimizer);
  return {std::move(name), optimizer, state_floats};
}

std::vector<Rule> Rules() {
  using enum OptimizerKind;
  return {
      RuleOf("Sgd", kSgd, 0),
      RuleOf("SgdDecay", kSgd, 0,
             [](Optimizer& o) {
               o.weight_decay = 0.1;
               o.maximize = true;
             }),
      RuleOf("SgdDampened", kSgd, 5,
             [](Optimizer& o) {
               o.momentum = 0.9;
               o.dampening = 0.3;
               o.weight_decay = 0.1;
             }),
      RuleOf("SgdNesterov", kSgd, 5,
             [](Optimizer& o) {
               o.momentum = 0.9;
               o.nesterov = true;
             }),
      RuleOf("Adagrad", kAdagrad, 5,
             [](Optimizer& o) {
               o.lr_decay = 0.1;
               o.initial_accumulator_value = 0.3;
               o.weight_decay = 0.01;
             }),
      RuleOf("SparseAdam", kSparseAdam, 10),
      RuleOf("Adam", kAdam, 10, [](Optimizer& o) { o.weight_decay = 0.1; }),
      RuleOf("AdamAmsgrad", kAdam, 15, [](Optimizer& o) { o.amsgrad = true; }),
      RuleOf("AdamW", kAdamW, 10,
             [](Optimizer& o) {
               o.weight_decay = 0.1;
               o.maximize = true;
             }),
      RuleOf("AdamWAmsgrad", kAdamW, 15,
             [](Optimizer& o) {
               o.amsgrad = true;
               o.weight_decay = 0.01;
             }),
      RuleOf("RowwiseAdagrad", kRowwiseAdagrad, 1,
             [](Optimizer& o) {
               o.weight_decay = 0.1;  // of no mode: not read
               o.initial_accumulator_value = 0.2;
             }),
      RuleOf("RowwiseAdagradL2", kRowwiseAdagrad, 1,
             [](Optimizer& o) {
               o.weight_decay = 0.1;
               o.weight_decay_mode = WeightDecayMode::kL2;
             }),
      RuleOf("RowwiseAdagradDecoupled", kRowwiseAdagrad, 1,
             [](Optimizer& o) {
               o.weight_decay = 0.1;
               o.weight_decay_mode = WeightDecayMode::kDecouple;
             }),
      RuleOf("RowwiseRmsprop", kRowwiseRmsprop, 2,
             [](Optimizer& o) { o.alpha = 0.2; }),
      RuleOf("RowwiseRmspropFloored", kRowwiseRmsprop, 2,
             [](Optimizer& o) {
               o.alpha = 8.0;
               o.min_shrinkage = 0.5;
             }),
      RuleOf("PartialRowwiseAdam", kPartialRowwiseAdam, 6,
             [](Optimizer& o) { o.weight_decay = 0.1; }),
      RuleOf("Lamb", kLamb, 10, [](Optimizer& o) { o.weight_decay = 0.1; }),
      RuleOf("PartialRowwiseLamb", kPartialRowwiseLamb, 6,
             [](Optimizer& o) { o.weight_decay = 0.1; }),
      RuleOf("LarsSgd", kLarsSgd, 5,
             [](Optimizer& o) {
               o.eta = 0.1;
               o.momentum = 0.9;
               o.weight_decay = 0.1;
             }),
      RuleOf("Ftrl", kFtrl, 10,
             [](Optimizer& o) {
               o.initial_accumulator_value = 0.1;
               o.l1 = 0.3;
               o.l2 = 0.1;
               o.beta = 0.2;
             }),
      RuleOf("FtrlOtherPower", kFtrl, 10,
             [](Optimizer& o) {
               o.initial_accumulator_value = 0.1;
               o.learning_rate_power = -0.3;
               o.l1 = 0.1;
             }),
  };
}

// A row and its state.
class StoredRow {
 public:
  StoredRow(std::vector<float> values, const Optimizer& optimizer)
      : values_(std::move(values)),
        state_(static_cast<size_t>(optimizer.StateFloats(std::ssize(values_)))),
        scratch_(kernels::StepScratchFloats(values_.size(), state_.size())) {
    optimizer.FillInitialState(state_, std::ssize(values_));
  }

  size_t Step(const OptimizerStep& step, const std::vector<float>& gradient) {
    const kernels::RowUpdate row = {
        .values = values_.data(),
        .state = state_.data(),
        .gradient = reinterpret_cast<const std::byte*>(gradient.data())};
    return step.Apply(kernels::BestKernels(), {.rows = &row,
                                               .count = 1,
                                               .ahead = 0,
                                               .dim = values_.size(),
                                               .state_floats = state_.size(),
                                               .stripes = stripes_.get(),
                                               .scratch = scratch_.data()});
  }

  const std::vector<float>& values() const { return values_; }
  const std::vector<float>& state() const { return state_; }

 private:
  std::vector<float> values_;
  std::vector<float> state_;
  std::vector<float> scratch_;
  std::unique_ptr<kernels::Stripes> stripes_ =
      std::make_unique<kernels::Stripes>();
};

std::vector<float> Random(size_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> floats(count);
  std::ranges::generate(floats, [&] { return normal(random); });
  return floats;
}

class RuleTest : public ::testing::TestWithParam<Rule> {};
INSTANTIATE_TEST_SUITE_P(All, RuleTest, ::testing::ValuesIn(Rules()),
                         [](const ::testing::TestParamInfo<Rule>& rule) {
                           return rule.param.name;
                         });

// Thirty pushes of the table, of which each second or so names the row.
TEST_P(RuleTest, ItTrainsARowAsInDoublePrecision) {
  const Optimizer& optimizer = GetParam().optimizer;
  std::mt19937_64 random(testing::Seed());
  for (const size_t dim : {1, 2, 5, 16, 31, 64, 100}) {
    const std::vector<float> values = Random(dim, random);
    StoredRow row(values, optimizer);
    testing::ExactRow exact({values.begin(), values.end()}, optimizer);
    for (int64_t t = 1; t <= 30; ++t) {
      if (t > 1 && random() % 2 == 0) {
        continue;
      }
      const double lr = t % 3 == 0 ? 0.02 : 0.05;
      const std::vector<float> gradient = Random(dim, random);

      ASSERT_EQ(
          row.Step({.optimizer = optimizer, .learning_rate = lr, .step = t},
                   gradient),
          0u);
      exact.Step({gradient.begin(), gradient.end()}, lr, t);

      for (size_t d = 0; d < dim; ++d) {
        ASSERT_NEAR(row.values()[d], exact.w[d],
                    2e-5 * std::max(1.0, std::abs(exact.w[d])))
            << "dim " << dim << ", push " << t << ", element " << d;
      }
    }
  }
}

TEST_P(RuleTest, ItsStateHasTheFloatsItSaysAndBeginsWithTheAccumulator) {
  const auto& [name, optimizer, state_floats] = GetParam();
  ASSERT_EQ(optimizer.StateFloats(5), state_floats);
  std::vector<float> state(static_cast<size_t>(state_floats), 7.0f);

  optimizer.FillInitialState(state, 5);

  for (size_t i = 0; i < state.size(); ++i) {
    EXPECT_EQ(
        state[i],
        i < 5 ? static_cast<float>(optimizer.initial_accumulator_value) : 0.0f)
        << i;
  }
}

TEST_P(RuleTest, ARowThatWouldNotBeFiniteIsLeft) {
  StoredRow row({1.0f, 2.0f, 3.0f}, GetParam().optimizer);
  const std::vector<float> state = row.state();

  const float infinity = std::numeric_limits<float>::infinity();
  const size_t left = row.Step(
      {.optimizer = GetParam().optimizer, .learning_rate = 0.1, .step = 1},
      {0.0f, infinity, 0.0f});

  EXPECT_EQ(left, 1u);
  EXPECT_EQ(row.values(), (std::vector<float>{1.0f, 2.0f, 3.0f}));
  EXPECT_EQ(row.state(), state);
}

// What 1 - beta^t comes to: a row of zeros whose m and v are 0 moves by -lr *
// g / (|g| + eps) in its first push, whatever the betas, and thereafter as the
// corrections say. pow is within one unit of the truth, and so are we.
TEST(OptimizerTest, BiasCorrectionsAreThoseOfPow) {
  for (const double beta : {0.5, 0.9, 0.99, 0.999, 0.9999}) {
    for (const int64_t step : {1LL, 2LL, 3LL, 7LL, 10LL, 100LL, 1000LL, 12345LL,
                               1000000LL, 16777217LL, 1LL << 40}) {
      Optimizer optimizer;
      optimizer.kind = OptimizerKind::kAdam;
      optimizer.beta1 = beta;
      optimizer.beta2 = 0.0;  // v is g^2, corrected by 1
      optimizer.eps = 0.0;
      StoredRow row({0.0f}, optimizer);

      // With g = 1: m = 1 - beta, w = -lr * m / (1 - beta^t).
      ASSERT_EQ(
          row.Step({.optimizer = optimizer, .learning_rate = 1.0, .step = step},
                   {1.0f}),
          0u);

      const double correction = 1.0 - std::pow(beta, static_cast<double>(step));
      const auto step_size = static_cast<float>(-1.0 / correction);
      const float expected = step_size * static_cast<float>(1.0 - beta);
      const float one_unit =
          std::abs(std::nextafter(expected, 0.0f) - expected);
      EXPECT_NEAR(row.values()[0], expected, one_unit) << beta << "^" << step;
    }
  }
}

TEST(OptimizerTest, RmspropFindsTheStepsSinceBeyondWhatAFloatCounts) {
  Optimizer optimizer;
  optimizer.kind = OptimizerKind::kRowwiseRmsprop;
  optimizer.alpha = 1.0;
  optimizer.eps = 1.0;
  const int64_t limit = int64_t{1} << 24;
  for (const int64_t last : {int64_t{1}, limit - 1, limit, limit + 1,
                             2 * limit - 1, 2 * limit, 3 * limit + 5}) {
    for (const int64_t since : {1, 2, 9}) {
      StoredRow row({1.0f}, optimizer);
      const auto push = [&](int64_t step) {
        row.Step({.optimizer = optimizer, .learning_rate = 0.05, .step = step},
                 {0.0f});
      };

      push(last);
      const float before = row.values()[0];
      push(last + since);

      EXPECT_EQ(before, 0.95f);
      EXPECT_NEAR(row.values()[0] / before,
                  1.0 - 0.05 * static_cast<double>(since), 1e-6)
          << last << " + " << since;
    }
  }
}

TEST(OptimizerTest, NamesAreThoseOfTheApi) {
  const char* names[] = {"sgd",
                         "adagrad",
                         "rowwise_adagrad",
                         "sparse_adam",
                         "adam",
                         "adamw",
                         "rowwise_rmsprop",
                         "partial_rowwise_adam",
                         "lamb",
                         "partial_rowwise_lamb",
                         "lars_sgd",
                         "ftrl"};
  for (size_t i = 0; i < std::size(names); ++i) {
    EXPECT_EQ(Optimizer{.kind = static_cast<OptimizerKind>(i)}.name(),
              names[i]);
  }
}

}  // namespace
}  // namespace quire
