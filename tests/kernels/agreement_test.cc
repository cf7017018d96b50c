// All tables compute the same bytes: on random numbers, on special ones, at
// any alignment.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/each_table.h"

namespace quire::kernels {
namespace {

// Calls `compute(table, dim, count, offset)` -> words with each table, and
// compares what it gives with what the scalar table gives.
template <typename Compute>
void ExpectAgreement(Compute compute) {
  const std::vector<const Kernels*> tables = TablesThatRunHere();
  for (size_t dim = 1; dim <= 130; ++dim) {
    for (size_t count : {1, 3, 35}) {
      for (size_t offset : {0, 1}) {
        const std::vector<uint32_t> expected =
            compute(*tables[0], dim, count, offset);
        for (const Kernels* table : tables) {
          ASSERT_EQ(compute(*table, dim, count, offset), expected)
              << table->name << ", dim " << dim << ", count " << count
              << ", offset " << offset;
        }
      }
    }
  }
}

// Two runs of one seed see the same numbers.
HardFloats NumbersOf(size_t dim, size_t count) {
  return HardFloats(testing::Seed() + dim * 1000 + count, 4);
}

std::vector<uint32_t> Joined(std::vector<uint32_t> a,
                             const std::vector<uint32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Values and state after `step(rows)`.
template <typename Step>
std::vector<uint32_t> AfterStep(size_t dim, size_t count, size_t offset,
                                Step step) {
  HardFloats random = NumbersOf(dim, count);
  GuardedBytes values(random.Take(dim * count), 4 * offset);
  GuardedBytes state(random.Take(dim * count), 4 * offset);
  GuardedBytes gradient(random.Take(dim * count), offset);
  std::vector<RowUpdate> rows;
  for (size_t i = 0; i < count; ++i) {
    rows.push_back({values.floats() + i * dim, state.floats() + i * dim,
                    gradient.data() + i * dim * sizeof(float)});
  }
  step(rows);
  return Joined(values.words(), state.words());
}

TEST(AgreementTest, TablesAgreeOnSgd) {
  Stripes stripes;
  ExpectAgreement(
      [&](const Kernels& table, size_t dim, size_t count, size_t offset) {
        return AfterStep(dim, count, offset, [&](std::vector<RowUpdate>& rows) {
          table.sgd(Steps(rows, dim, 0, stripes).batch(), {-0.1f});
        });
      });
}

TEST(AgreementTest, TablesAgreeOnAdagrad) {
  Stripes stripes;
  ExpectAgreement([&](const Kernels& table, size_t dim, size_t count,
                      size_t offset) {
    return AfterStep(dim, count, offset, [&](std::vector<RowUpdate>& rows) {
      table.adagrad(Steps(rows, dim, dim, stripes).batch(), {-0.1f, 1e-10f});
    });
  });
}

TEST(AgreementTest, TablesAgreeOnRowwiseAdagrad) {
  Stripes stripes;
  ExpectAgreement(
      [&](const Kernels& table, size_t dim, size_t count, size_t offset) {
        return AfterStep(dim, count, offset, [&](std::vector<RowUpdate>& rows) {
          table.rowwise_adagrad(Steps(rows, dim, 1, stripes).batch(),
                                {0.1f, 1e-8f});
        });
      });
}

TEST(AgreementTest, TablesAgreeOnGatherAndScatter) {
  Stripes stripes;
  ExpectAgreement(
      [&](const Kernels& table, size_t dim, size_t count, size_t offset) {
        HardFloats random = NumbersOf(dim, count);
        GuardedBytes in(random.Take(dim * count), offset);
        GuardedBytes arena(dim * count * sizeof(float), 4 * offset);
        GuardedBytes out(dim * count * sizeof(float), offset);
        std::vector<float*> rows;
        for (size_t i = 0; i < count; ++i) {
          rows.push_back(arena.floats() + (count - 1 - i) * dim);
        }
        table.scatter(rows.data(), count, dim, &stripes, in.data());
        table.gather(rows.data(), count, 0, dim, &stripes, out.data());
        return Joined(arena.words(), out.words());
      });
}

TEST(AgreementTest, TablesAgreeOnHalves) {
  Stripes stripes;
  for (HalfKernels Kernels::*type : {&Kernels::float16, &Kernels::bfloat16}) {
    ExpectAgreement(
        [&](const Kernels& table, size_t dim, size_t count, size_t offset) {
          const HalfKernels& half = table.*type;
          HardFloats random = NumbersOf(dim, count);
          GuardedBytes arena(random.Take(dim * count), 4 * offset);
          GuardedBytes halves(dim * count * sizeof(uint16_t), offset);
          GuardedBytes floats(dim * count * sizeof(float), offset);
          std::vector<const float*> rows;
          for (size_t i = 0; i < count; ++i) {
            rows.push_back(arena.floats() + (count - 1 - i) * dim);
          }
          half.gather(rows.data(), count, 0, dim, &stripes, halves.data());
          half.widen(halves.data(), dim * count, floats.data());
          std::vector<uint32_t> found = floats.words();
          half.round(arena.data(), dim * count, halves.data());
          half.widen(halves.data(), dim * count, floats.data());
          return Joined(found, floats.words());
        });
  }
}

TEST(AgreementTest, TablesAgreeOnSums) {
  ExpectAgreement(
      [](const Kernels& table, size_t dim, size_t count, size_t offset) {
        HardFloats random = NumbersOf(dim, count);
        GuardedBytes sum(random.Take(dim), 4 * offset);
        for (size_t i = 0; i < count; ++i) {
          GuardedBytes x(random.Take(dim), offset);
          table.add_scaled(sum.floats(), x.data(), 0.7f, dim);
        }
        return sum.words();
      });
}

TEST(AgreementTest, TablesAgreeOnProducts) {
  for (int special_one_in : {0, 50}) {
    ExpectAgreement(
        [&](const Kernels& table, size_t dim, size_t count, size_t offset) {
          HardFloats random(testing::Seed() + dim, special_one_in);
          std::vector<uint32_t> results;
          for (size_t i = 0; i < count; ++i) {
            GuardedBytes a(random.Take(dim), 4 * offset);
            GuardedBytes b(random.Take(dim), 4 * offset);
            results.push_back(BitsOf(table.dot(a.floats(), b.floats(), dim)));
            results.push_back(
                BitsOf(table.squared_distance(a.floats(), b.floats(), dim)));
          }
          return results;
        });
  }
}

TEST(AgreementTest, TablesAgreeOnFills) {
  ExpectAgreement(
      [](const Kernels& table, size_t dim, size_t count, size_t offset) {
        GuardedBytes uniform(dim * sizeof(float), 4 * offset);
        GuardedBytes normal(dim * sizeof(float), 4 * offset);
        const uint64_t seed = testing::Seed();
        const int64_t id = static_cast<int64_t>(seed * count);
        table.fill_uniform(uniform.floats(), dim, id, {seed, -0.3f, 0.7f});
        table.fill_normal(normal.floats(), dim, id, {seed, 0.1f, 0.3f});
        return Joined(uniform.words(), normal.words());
      });
}

TEST(AgreementTest, TablesAgreeOnChecks) {
  ExpectAgreement([](const Kernels& table, size_t dim, size_t count,
                     size_t offset) {
    HardFloats random(testing::Seed() + dim, 100);
    GuardedBytes floats(random.Take(dim * count), offset);
    std::vector<int64_t> ids;
    std::mt19937_64 generator(testing::Seed() + dim);
    for (size_t i = 0; i < dim * count; ++i) {
      ids.push_back(generator() % 100 == 0
                        ? static_cast<int64_t>(generator())
                        : static_cast<int64_t>(generator() % 1000));
    }
    return std::vector<uint32_t>{static_cast<uint32_t>(table.first_non_finite(
                                     floats.data(), dim * count)),
                                 static_cast<uint32_t>(table.first_out_of_range(
                                     ids.data(), ids.size(), 1000))};
  });
}

}  // namespace
}  // namespace quire::kernels
