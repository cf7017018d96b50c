// Every optimizer against its formula, written a second time in formulas.h: to
// the bit, on numbers plain and special, descending and ascending; what is left
// where new bytes are not finite; and what a max_norm does before a step.

#include "kernels/formulas.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/each_table.h"
#include "kernels/norms.h"

namespace quire::kernels {
namespace {

// What a push is told besides its rows.
struct Rules {
  bool ascends = false;
  bool keeps_finite = false;
  const Renorm* renorm = nullptr;
};

// Rows of a table with their state, and a gradient for each.
class Push {
 public:
  Push(const Case& tested, size_t dim, size_t count, HardFloats& random)
      : case_(tested),
        dim_(dim),
        count_(count),
        state_floats_(tested.StateFloats(dim)),
        old_values_(random.Take(count * dim)),
        old_state_(random.Take(count * state_floats_)),
        gradient_(random.Take(count * dim)),
        values_(old_values_, 4 * (dim % 16)),
        state_(old_state_, 4 * (count % 16)),
        message_(gradient_, (dim + count) % 5) {}

  // How many rows were left.
  size_t Step(const Kernels& table, Stripes& stripes, const Rules& rules) {
    std::vector<RowUpdate> rows;
    for (size_t i = 0; i < count_; ++i) {
      rows.push_back({.values = values_.floats() + i * dim_,
                      .state = state_.floats() + i * state_floats_,
                      .gradient = message_.data() + i * dim_ * sizeof(float)});
    }
    std::vector<float> scratch(StepScratchFloats(dim_, state_floats_));
    return case_.step(table, {.rows = rows.data(),
                              .count = count_,
                              .ahead = 0,
                              .dim = dim_,
                              .state_floats = state_floats_,
                              .stripes = &stripes,
                              .scratch = scratch.data(),
                              .gradient_sign = rules.ascends ? -1.0f : 1.0f,
                              .keep_finite = rules.keeps_finite,
                              .renorm = rules.renorm});
  }

  // The rows, one by one, are what the formula says.
  void ExpectFollowed(const Rules& rules, size_t left) {
    const std::vector<uint32_t> values = values_.words();
    const std::vector<uint32_t> state = state_.words();
    size_t kept = 0;
    for (size_t i = 0; i < count_; ++i) {
      Row row = OldRow(i);
      const bool was_kept = !FollowOrKeep(rules, row);
      kept += was_kept ? 1 : 0;
      const auto bits = [&](float x) {
        return was_kept ? BitsOf(x) : StoredBits(x);
      };
      for (size_t d = 0; d < dim_; ++d) {
        ASSERT_EQ(values[i * dim_ + d], bits(row.w[d])) << What(i, d);
      }
      for (size_t d = 0; d < state_floats_; ++d) {
        ASSERT_EQ(state[i * state_floats_ + d], bits(row.s[d]))
            << "state of " << What(i, d);
      }
    }
    ASSERT_EQ(left, kept);
    ASSERT_TRUE(values_.GuardsAreIntact() && state_.GuardsAreIntact() &&
                message_.GuardsAreIntact());
  }

 private:
  Row OldRow(size_t i) const {
    const auto take = [i](const std::vector<float>& from, size_t floats) {
      const auto begin = from.begin() + static_cast<ptrdiff_t>(i * floats);
      return std::vector<float>(begin, begin + static_cast<ptrdiff_t>(floats));
    };
    return {.w = take(old_values_, dim_),
            .s = take(old_state_, state_floats_),
            .g = take(gradient_, dim_)};
  }

  // False if the row stays.
  bool FollowOrKeep(const Rules& rules, Row& row) const {
    const Row old = row;
    if (rules.renorm != nullptr) {
      row.w = Renormed(row.w, *rules.renorm);
    }
    for (float& g : row.g) {
      g = (g + 0.0f) * (rules.ascends ? -1.0f : 1.0f);
    }
    case_.follow(row);
    const auto is_finite = [](float x) { return std::isfinite(x); };
    if (rules.keeps_finite && !(std::ranges::all_of(row.w, is_finite) &&
                                std::ranges::all_of(row.s, is_finite))) {
      row = old;
      return false;
    }
    return true;
  }

  std::string What(size_t row, size_t d) const {
    return case_.name + ", dim " + std::to_string(dim_) + ", row " +
           std::to_string(row) + ", element " + std::to_string(d);
  }

  const Case& case_;
  const size_t dim_;
  const size_t count_;
  const size_t state_floats_;
  const std::vector<float> old_values_;
  const std::vector<float> old_state_;
  const std::vector<float> gradient_;
  GuardedBytes values_;
  GuardedBytes state_;
  GuardedBytes message_;
};

class FormulaTest
    : public ::testing::TestWithParam<std::tuple<const Kernels*, Case>> {
 protected:
  void ExpectFormula(int special_one_in, const Rules& rules) {
    const auto& [table, tested] = GetParam();
    HardFloats random(testing::Seed(), special_one_in);
    // All tails of the lanes, rows that are longer than a few of them, and
    // those that have loops of their own.
    std::vector<size_t> dims = {63, 64, 65, 76, 97, 111, 127, 128, 129, 130};
    for (size_t dim = 1; dim < 50; ++dim) {
      dims.push_back(dim);
    }
    for (const size_t dim : dims) {
      for (size_t count : {0, 1, 17}) {
        Push push(tested, dim, count, random);
        const size_t left = push.Step(*table, stripes_, rules);
        push.ExpectFollowed(rules, left);
        ASSERT_FALSE(HasFatalFailure());
      }
    }
  }

  Stripes stripes_;
};

std::string NameOfParam(
    const ::testing::TestParamInfo<FormulaTest::ParamType>& info) {
  return std::get<1>(info.param).name + "_" + std::get<0>(info.param)->name;
}

INSTANTIATE_TEST_SUITE_P(
    All, FormulaTest,
    ::testing::Combine(::testing::ValuesIn(TablesThatRunHere()),
                       ::testing::ValuesIn(AllCases())),
    NameOfParam);

TEST_P(FormulaTest, PlainNumbersFollowItToTheBit) { ExpectFormula(0, {}); }

TEST_P(FormulaTest, SpecialNumbersFollowItToTheBit) { ExpectFormula(8, {}); }

TEST_P(FormulaTest, MaximizeTurnsTheGradientRound) {
  ExpectFormula(0, {.ascends = true});
  ExpectFormula(8, {.ascends = true});
}

// Few special ones: rows of each kind.
TEST_P(FormulaTest, ARowThatWouldNotBeFiniteIsLeftAndCounted) {
  ExpectFormula(100, {.keeps_finite = true});
}

TEST_P(FormulaTest, MaxNormRenormalisesARowBeforeItsStep) {
  for (const NormKind kind : kNormKinds) {
    const Renorm renorm = {.max_norm = kind == NormKind::kZero ? 20.0 : 1.0,
                           .kind = kind,
                           .p = 3.0f};
    ExpectFormula(0, {.renorm = &renorm});
    ExpectFormula(100, {.ascends = true, .renorm = &renorm});
  }
}

// A row that is longer than all of the scratch for new bytes.
TEST_P(FormulaTest, RowsLongerThanTheScratchFollowIt) {
  const auto& [table, tested] = GetParam();
  HardFloats random(testing::Seed(), 0);
  const Renorm renorm = {.max_norm = 5.0, .kind = NormKind::kTwo, .p = 0};
  for (size_t dim : {1000, 2048, 4096, 5000}) {
    const Rules rules = {.keeps_finite = true, .renorm = &renorm};
    Push push(tested, dim, 3, random);
    const size_t left = push.Step(*table, stripes_, rules);
    push.ExpectFollowed(rules, left);
  }
}

}  // namespace
}  // namespace quire::kernels
