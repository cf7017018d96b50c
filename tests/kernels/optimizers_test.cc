// Each optimizer against its formula, written here a second time.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/each_table.h"

namespace quire::kernels {
namespace {

// Rows of a table with their state, and a gradient for each.
struct Push {
  size_t dim;
  std::vector<float> old_values;
  std::vector<float> old_state;
  std::vector<float> gradient;
  GuardedBytes values;
  GuardedBytes state;
  GuardedBytes message;
  std::vector<RowUpdate> rows;

  bool GuardsAreIntact() const {
    return values.GuardsAreIntact() && state.GuardsAreIntact() &&
           message.GuardsAreIntact();
  }
};

Push MakePush(size_t dim, size_t count, size_t state_floats,
              HardFloats& random) {
  const std::vector<float> values = random.Take(count * dim);
  std::vector<float> state = random.Take(count * state_floats);
  for (float& h : state) {
    h = std::abs(h);  // a sum of squares
  }
  const std::vector<float> gradient = random.Take(count * dim);
  Push push = {.dim = dim,
               .old_values = values,
               .old_state = state,
               .gradient = gradient,
               .values = GuardedBytes(values, 4 * (dim % 16)),
               .state = GuardedBytes(state, 4 * (count % 16)),
               .message = GuardedBytes(gradient, (dim + count) % 5),
               .rows = {}};
  for (size_t i = 0; i < count; ++i) {
    push.rows.push_back(
        {.values = push.values.floats() + i * dim,
         .state = push.state.floats() + i * state_floats,
         .gradient = push.message.data() + i * dim * sizeof(float)});
  }
  return push;
}

// Calls `check(push)` for many shapes, plain and special numbers in turn.
template <typename Check>
void ForEachShape(size_t (*state_floats)(size_t dim), Check check) {
  for (int special_one_in : {0, 8}) {
    HardFloats random(testing::Seed(), special_one_in);
    for (size_t dim = 1; dim <= 130; ++dim) {
      for (size_t count : {0, 1, 7, 40}) {
        check(MakePush(dim, count, state_floats(dim), random));
      }
    }
  }
}

class OptimizerTest : public EachTable {
 protected:
  Stripes stripes_;
};
QUIRE_RUN_ON_EACH_TABLE(OptimizerTest);

TEST_P(OptimizerTest, SgdIsTorchsToTheBit) {
  const SgdStep step = {.negative_lr = -0.07f};
  ForEachShape(
      [](size_t) { return size_t{0}; },
      [&](Push push) {
        GetParam()->sgd(Steps(push.rows, push.dim, 0, stripes_).batch(), step);

        const std::vector<uint32_t> values = push.values.words();
        for (size_t i = 0; i < values.size(); ++i) {
          const float g = push.gradient[i] + 0.0f;
          ASSERT_EQ(values[i], StoredBits(std::fma(step.negative_lr, g,
                                                   push.old_values[i])));
        }
        ASSERT_TRUE(push.GuardsAreIntact());
      });
}

TEST_P(OptimizerTest, AdagradIsTorchsDenseFormToTheBit) {
  const AdagradStep step = {.negative_clr = -0.07f, .eps = 1e-10f};
  ForEachShape(
      [](size_t dim) { return dim; },
      [&](Push push) {
        GetParam()->adagrad(
            Steps(push.rows, push.dim, push.dim, stripes_).batch(), step);

        const std::vector<uint32_t> values = push.values.words();
        const std::vector<uint32_t> state = push.state.words();
        for (size_t i = 0; i < values.size(); ++i) {
          const float g = push.gradient[i] + 0.0f;
          const float h = std::fma(g, g, push.old_state[i]);
          const float w = push.old_values[i] +
                          (step.negative_clr * g) / (std::sqrt(h) + step.eps);
          ASSERT_EQ(state[i], StoredBits(h));
          ASSERT_EQ(values[i], StoredBits(w));
        }
        ASSERT_TRUE(push.GuardsAreIntact());
      });
}

TEST_P(OptimizerTest, RowwiseAdagradIsItsFormulaToTheBit) {
  const RowwiseAdagradStep step = {.lr = 0.07f, .eps = 1e-8f};
  ForEachShape(
      [](size_t) { return size_t{1}; },
      [&](Push push) {
        GetParam()->rowwise_adagrad(
            Steps(push.rows, push.dim, 1, stripes_).batch(), step);

        const std::vector<uint32_t> values = push.values.words();
        const std::vector<uint32_t> state = push.state.words();
        for (size_t row = 0; row < push.rows.size(); ++row) {
          const float* g = &push.gradient[row * push.dim];
          const float squares = SumOfLanes(push.dim, [&](size_t d, float sum) {
            return std::fma(g[d], g[d], sum);
          });
          const float h =
              push.old_state[row] + squares / static_cast<float>(push.dim);
          const float multiplier = step.lr / (std::sqrt(h) + step.eps);
          ASSERT_EQ(state[row], StoredBits(h));
          for (size_t d = 0; d < push.dim; ++d) {
            const size_t i = row * push.dim + d;
            ASSERT_EQ(values[i], StoredBits(std::fma(-multiplier, g[d] + 0.0f,
                                                     push.old_values[i])));
          }
        }
        ASSERT_TRUE(push.GuardsAreIntact());
      });
}

TEST_P(OptimizerTest, RowwiseAdagradIsFbgemmsInDouble) {
  const RowwiseAdagradStep step = {.lr = 0.07f, .eps = 1e-8f};
  HardFloats random(testing::Seed(), 0);
  for (size_t dim = 1; dim <= 130; ++dim) {
    Push push = MakePush(dim, 9, 1, random);

    GetParam()->rowwise_adagrad(Steps(push.rows, dim, 1, stripes_).batch(),
                                step);

    for (size_t row = 0; row < push.rows.size(); ++row) {
      double squares = 0;
      for (size_t d = 0; d < dim; ++d) {
        const double g = push.gradient[row * dim + d];
        squares += g * g;
      }
      const double h = push.old_state[row] + squares / static_cast<double>(dim);
      EXPECT_NEAR(*push.rows[row].state, h, 1e-6 * h);
      for (size_t d = 0; d < dim; ++d) {
        const double w =
            push.old_values[row * dim + d] -
            step.lr / (std::sqrt(h) + step.eps) * push.gradient[row * dim + d];
        EXPECT_NEAR(push.rows[row].values[d], w,
                    1e-6 * std::max(1.0, std::abs(w)));
      }
    }
  }
}

// torch sums a row's gradients from zero, and 0.0 + -0.0 is 0.0.
TEST_P(OptimizerTest, ANegativeZeroGradientCountsAsZero) {
  std::vector<float> values(20, -0.0f);
  std::vector<float> state(20, 1.0f);
  const std::vector<float> gradient(20, -0.0f);
  const std::vector<RowUpdate> rows = {
      {.values = values.data(),
       .state = state.data(),
       .gradient = reinterpret_cast<const std::byte*>(gradient.data())}};

  // fma(1, +0.0, -0.0) is +0.0, and would be -0.0 with -0.0.
  GetParam()->sgd(Steps(rows, 20, 0, stripes_).batch(), {.negative_lr = 1.0f});
  for (float w : values) {
    EXPECT_EQ(BitsOf(w), BitsOf(0.0f));
  }
  // -0.0 + (1 * +0.0) / 1, likewise.
  values.assign(values.size(), -0.0f);
  GetParam()->adagrad(Steps(rows, 20, 20, stripes_).batch(),
                      {.negative_clr = 1.0f, .eps = 0.0f});
  for (float w : values) {
    EXPECT_EQ(BitsOf(w), BitsOf(0.0f));
  }
  // fma(-(-1 / 1), +0.0, -0.0), likewise.
  values.assign(values.size(), -0.0f);
  GetParam()->rowwise_adagrad(Steps(rows, 20, 1, stripes_).batch(),
                              {.lr = -1.0f, .eps = 0.0f});
  for (float w : values) {
    EXPECT_EQ(BitsOf(w), BitsOf(0.0f));
  }
}

TEST_P(OptimizerTest, RowsAheadAreNotChanged) {
  HardFloats random(testing::Seed(), 0);
  Push push = MakePush(64, 2 * kPrefetchRows, 64, random);
  const size_t count = kPrefetchRows;

  GetParam()->adagrad(Steps(push.rows, 64, 64, stripes_, kPrefetchRows).batch(),
                      {.negative_clr = -1.0f, .eps = 1e-10f});

  const std::vector<uint32_t> values = push.values.words();
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(values[i] == BitsOf(push.old_values[i]), i >= count * 64);
  }
}

}  // namespace
}  // namespace quire::kernels
