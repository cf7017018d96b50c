// All tables step, pool and renormalise to the same bytes: every optimizer,
// every norm, every pooling, on special numbers, at any alignment.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/each_table.h"
#include "kernels/formulas.h"
#include "kernels/norms.h"

namespace quire::kernels {
namespace {

struct Shape {
  size_t dim;
  size_t count;
  size_t offset;

  // The same numbers for every table.
  HardFloats Numbers() const {
    return HardFloats(testing::Seed() + dim * 1000 + count,
                      dim % 3 == 0 ? 100 : 4);
  }
  // Each of `ways` ways meets every tail of the lanes.
  size_t Way(size_t ways) const { return (dim / 16 + count + offset) % ways; }
};

// Calls `compute(table, shape)` -> words with each table, and compares what it
// gives with what the scalar table gives.
template <typename Compute>
void ExpectAgreement(Compute compute) {
  const std::vector<const Kernels*> tables = TablesThatRunHere();
  for (size_t dim = 1; dim <= 130; ++dim) {
    for (size_t count : {1, 3, 19}) {
      for (size_t offset : {0, 1}) {
        const Shape shape = {dim, count, offset};
        const std::vector<uint32_t> expected = compute(*tables[0], shape);
        for (const Kernels* table : std::span(tables).subspan(1)) {
          ASSERT_EQ(compute(*table, shape), expected)
              << table->name << ", dim " << dim << ", count " << count
              << ", offset " << offset;
        }
      }
    }
  }
}

std::vector<uint32_t> Joined(std::vector<uint32_t> a,
                             const std::vector<uint32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Renorm RenormOfKind(NormKind kind) {
  return {
      .max_norm = kind == NormKind::kZero ? 3.0 : 1.5, .kind = kind, .p = 2.5f};
}

class StepAgreementTest : public ::testing::TestWithParam<Case> {
 protected:
  // Values, state, and how many rows were left.
  std::vector<uint32_t> Step(const Kernels& table, const Shape& shape,
                             const Renorm* renorm) {
    const auto [dim, count, offset] = shape;
    const size_t state_floats = GetParam().StateFloats(dim);
    HardFloats random = shape.Numbers();
    GuardedBytes values(random.Take(dim * count), 4 * offset);
    GuardedBytes state(random.Take(state_floats * count), 4 * offset);
    GuardedBytes gradient(random.Take(dim * count), offset);
    std::vector<RowUpdate> rows;
    for (size_t i = 0; i < count; ++i) {
      rows.push_back({values.floats() + i * dim,
                      state.floats() + i * state_floats,
                      gradient.data() + i * dim * sizeof(float)});
    }
    Steps steps(rows, dim, state_floats, stripes_);
    const size_t way = shape.Way(4);
    if (way % 2 == 1) {
      steps.KeepFinite();
    }
    if (way / 2 == 1) {
      steps.Ascend();
    }
    if (renorm != nullptr) {
      steps.Renormed(*renorm);
    }
    const size_t left = GetParam().step(table, steps.batch());
    return Joined(Joined(values.words(), state.words()),
                  {static_cast<uint32_t>(left)});
  }

  Stripes stripes_;
};

INSTANTIATE_TEST_SUITE_P(All, StepAgreementTest,
                         ::testing::ValuesIn(AllCases()),
                         [](const ::testing::TestParamInfo<Case>& tested) {
                           return tested.param.name;
                         });

TEST_P(StepAgreementTest, TablesAgree) {
  ExpectAgreement([&](const Kernels& table, const Shape& shape) {
    return Step(table, shape, nullptr);
  });
}

TEST_P(StepAgreementTest, TablesAgreeWithMaxNorm) {
  ExpectAgreement([&](const Kernels& table, const Shape& shape) {
    const Renorm renorm = RenormOfKind(
        kNormKinds[(shape.dim / 16 + shape.count) % std::size(kNormKinds)]);
    return Step(table, shape, &renorm);
  });
}

TEST(RowAgreementTest, TablesAgreeOnEveryNorm) {
  Stripes stripes;
  for (const NormKind kind : kNormKinds) {
    const Renorm renorm = RenormOfKind(kind);
    ExpectAgreement([&](const Kernels& table, const Shape& shape) {
      const auto [dim, count, offset] = shape;
      HardFloats random = shape.Numbers();
      GuardedBytes arena(random.Take(dim * count), 4 * offset);
      GuardedBytes out(dim * count * sizeof(float), offset);
      std::vector<const float*> rows;
      for (size_t i = 0; i < count; ++i) {
        rows.push_back(arena.floats() + (count - 1 - i) * dim);
      }
      table.gather_renormed(rows.data(), count, 0, dim, &stripes, renorm,
                            out.data());
      return out.words();
    });
  }
}

TEST(RowAgreementTest, TablesAgreeOnEveryPooling) {
  ExpectAgreement([](const Kernels& table, const Shape& shape) {
    const auto [dim, count, offset] = shape;
    HardFloats random = shape.Numbers();
    GuardedBytes rows(random.Take(dim * count), 4 * offset);
    const std::vector<float> weights = random.Take(count);
    const size_t way = shape.Way(3);
    GuardedBytes sum(random.Take(dim), 4 * offset);
    table.pool_sum(sum.floats(), rows.floats(),
                   way == 0 ? nullptr : weights.data(), way == 1, count, dim);
    table.divide(sum.floats(), random.Next(), dim);
    return sum.words();
  });
  ExpectAgreement([](const Kernels& table, const Shape& shape) {
    const auto [dim, count, offset] = shape;
    HardFloats random = shape.Numbers();
    GuardedBytes rows(random.Take(dim * count), 4 * offset);
    GuardedBytes largest(random.Take(dim), 4 * offset);
    std::vector<int32_t> winners(dim, -1);
    std::vector<int32_t> positions;
    for (size_t i = 0; i < count; ++i) {
      positions.push_back(static_cast<int32_t>(2 * i));
    }
    table.pool_max(largest.floats(), winners.data(), rows.floats(),
                   positions.data(), count, shape.Way(2) == 0, dim);
    return Joined(largest.words(), {winners.begin(), winners.end()});
  });
}

TEST(RowAgreementTest, TablesAgreeOnWhatBagsAddToGradients) {
  ExpectAgreement([](const Kernels& table, const Shape& shape) {
    const auto [dim, count, offset] = shape;
    HardFloats random = shape.Numbers();
    GuardedBytes sum(random.Take(dim), 4 * offset);
    std::vector<int32_t> winners;
    for (size_t d = 0; d < dim; ++d) {
      winners.push_back(static_cast<int32_t>(d % 3) - 1);
    }
    for (size_t i = 0; i < count; ++i) {
      GuardedBytes x(random.Take(dim), offset);
      table.add_where(sum.floats(), x.data(), winners.data(),
                      static_cast<int32_t>(i % 2), dim);
      table.add_scaled(sum.floats(), x.data(), random.Next(), dim);
    }
    return sum.words();
  });
}

}  // namespace
}  // namespace quire::kernels
