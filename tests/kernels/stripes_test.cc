// No torn rows: rows whose columns are equal before and after every change
// are seen with equal columns by every reader, whatever runs beside it.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <latch>
#include <span>
#include <thread>
#include <vector>

#include "kernels/each_table.h"

namespace quire::kernels {
namespace {

constexpr size_t kRows = 3;  // few, so that threads meet
#ifdef __SANITIZE_THREAD__
constexpr size_t kRounds = 1000;  // it sees a race whether or not a row tears
#else
constexpr size_t kRounds = 20000;
#endif

class TornRowTest : public EachTable {
 protected:
  // Runs each of `changes`, one writer, while two readers look for a row whose
  // columns differ; returns how many they found.
  size_t CountTornRows(size_t dim, std::vector<std::function<void()>> changes) {
    std::atomic<size_t> torn = 0;
    std::atomic<size_t> changing = changes.size();
    std::latch start(static_cast<ptrdiff_t>(changes.size()) + 2);
    std::vector<std::jthread> threads;
    for (const std::function<void()>& change : changes) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        for (size_t round = 0; round < kRounds; ++round) {
          change();
        }
        changing.fetch_sub(1);
      });
    }
    for (int reader = 0; reader < 2; ++reader) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        do {
          torn.fetch_add(CountTornRowsOnce(dim));
        } while (changing.load() != 0);
      });
    }
    threads.clear();
    return torn.load();
  }

  size_t CountTornRowsOnce(size_t dim) {
    const std::vector<const float*> rows = Rows<const float>(dim);
    std::vector<float> out(kRows * dim);
    GetParam()->gather(rows.data(), kRows, 0, dim, &stripes_,
                       reinterpret_cast<std::byte*>(out.data()));
    size_t torn = 0;
    for (size_t row = 0; row < kRows; ++row) {
      for (size_t d = 1; d < dim; ++d) {
        if (BitsOf(out[row * dim + d]) != BitsOf(out[row * dim])) {
          ++torn;
          break;
        }
      }
    }
    return torn;
  }

  template <typename Float>
  std::vector<Float*> Rows(size_t dim) {
    std::vector<Float*> rows;
    for (size_t row = 0; row < kRows; ++row) {
      rows.push_back(values_.data() + row * dim);
    }
    return rows;
  }

  std::vector<RowUpdate> Updates(size_t dim, const std::vector<float>& ones) {
    std::vector<RowUpdate> updates;
    for (float* values : Rows<float>(dim)) {
      updates.push_back(
          {.values = values,
           .state = state_.data() + (values - values_.data()),
           .gradient = reinterpret_cast<const std::byte*>(ones.data())});
    }
    return updates;
  }

  static constexpr size_t kDimMax = 200;

  Stripes stripes_;
  std::vector<float> values_ = std::vector<float>(kRows * kDimMax);
  std::vector<float> state_ = std::vector<float>(kRows * kDimMax, 1.0f);
  const std::vector<float> ones_ = std::vector<float>(kRows * kDimMax, 1.0f);
};
QUIRE_RUN_ON_EACH_TABLE(TornRowTest);

TEST_P(TornRowTest, ReadersSeeWholeRowsBesideSgdAndScatter) {
  for (size_t dim : {64, 200}) {
    std::ranges::fill(values_, 0.0f);
    const std::vector<float*> rows = Rows<float>(dim);
    const std::vector<RowUpdate> updates = Updates(dim, ones_);

    const size_t torn = CountTornRows(
        dim, {[&] {
          GetParam()->sgd(Steps(updates, dim, 0, stripes_).batch(),
                          {.negative_lr = -0.001f});
          GetParam()->scatter(rows.data(), kRows, dim, &stripes_,
                              reinterpret_cast<const std::byte*>(ones_.data()));
        }});

    EXPECT_EQ(torn, 0u);
  }
}

TEST_P(TornRowTest, ReadersSeeWholeRowsBesideAdagrad) {
  const std::vector<RowUpdate> updates = Updates(64, ones_);

  const size_t torn = CountTornRows(
      64, {[&] {
        GetParam()->adagrad(Steps(updates, 64, 64, stripes_).batch(),
                            {.negative_clr = -0.1f, .eps = 0});
      }});

  EXPECT_EQ(torn, 0u);
  // The state was stepped as often: it counts.
  for (size_t i = 0; i < kRows * 64; ++i) {
    EXPECT_EQ(state_[i], 1.0f + kRounds);
  }
}

TEST_P(TornRowTest, ReadersSeeWholeRowsBesideRowwiseAdagrad) {
  const std::vector<RowUpdate> updates = Updates(64, ones_);

  const size_t torn = CountTornRows(
      64, {[&] {
        GetParam()->rowwise_adagrad(Steps(updates, 64, 1, stripes_).batch(),
                                    {.lr = 0.1f, .eps = 0});
      }});

  EXPECT_EQ(torn, 0u);
  for (const RowUpdate& update : updates) {
    EXPECT_EQ(*update.state, 1.0f + kRounds);
  }
}

// Values and three parts of state are stored as one: a reader of both under the
// stripe finds the state of the values.
TEST_P(TornRowTest, ReadersSeeWholeRowsAndTheirStateBesideAmsgrad) {
  constexpr size_t kDim = 70;
  constexpr size_t kStateFloats = 3 * kDim;
  state_.assign(kRows * kStateFloats, 0.0f);
  std::vector<RowUpdate> updates = Updates(kDim, ones_);
  for (size_t row = 0; row < kRows; ++row) {
    updates[row].state = &state_[row * kStateFloats];
  }
  // Whole numbers: m counts pushes, and so do v and the largest v. The values
  // move by what is the same in all columns.
  const AdamStep counting = {.beta1 = 1.0f,
                             .one_minus_beta1 = 1.0f,
                             .beta2 = 1.0f,
                             .one_minus_beta2 = 1.0f,
                             .negative_step_size = -0.1f,
                             .root_of_correction = 1.0f,
                             .eps = 1.0f,
                             .amsgrad = true};
  Steps steps(updates, kDim, kStateFloats, stripes_);
  std::atomic<size_t> torn_state = 0;

  const size_t torn = CountTornRows(
      kDim,
      {[&] { GetParam()->adam(steps.batch(), counting); },
       [&] {
         std::vector<float> copy(kStateFloats);
         uint8_t* stripe = StripeOf(&stripes_, updates[0].values);
         LockStripe(stripe);
         std::ranges::copy(std::span(state_).first(kStateFloats), copy.begin());
         UnlockStripe(stripe);
         torn_state += std::ranges::count_if(
                           copy, [&](float x) { return x != copy[0]; }) != 0
                           ? 1
                           : 0;
       }});

  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(torn_state.load(), 0u);
  for (const float x : state_) {
    EXPECT_EQ(x, static_cast<float>(kRounds));
  }
}

TEST(StripesTest, RowsSpreadOverTheStripes) {
  Stripes stripes;
  std::vector<std::byte> arena(1 << 20);
  for (size_t row_bytes : {4, 64, 256, 400}) {
    std::vector<bool> taken(kStripeCount);
    size_t shared = 0;
    for (size_t i = 0; i < 2048; ++i) {
      const uint8_t* stripe = StripeOf(&stripes, &arena[i * row_bytes]);
      const size_t index = static_cast<size_t>(stripe - stripes.bytes);
      ASSERT_LT(index, kStripeCount);
      shared += taken[index];
      taken[index] = true;
    }
    // 2048 balls into 65536 bins: 32 meet another.
    EXPECT_LE(shared, 100u) << row_bytes;
  }
}

}  // namespace
}  // namespace quire::kernels
