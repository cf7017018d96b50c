// How fast are the inner loops, and what do the locks cost?
//
// One thread, a table of 1M rows x 64 float32 (256 MB, far over any cache),
// batches of 4096 ids: W1, W1z and W4 of the performance notes, without the
// network. Held against
//   - the prefetched memcpy loop (BM_PlainGather), for gathers;
//   - the same loops without their locks (table:unlocked), for all.
// The sketch: a gather moves 256 B in and 256 B out per row; one core of a
// server reads 10-25 GB/s with 128 lines in flight, so 40-60 M rows/s.
//
//   kernels_bench --benchmark_enable_random_interleaving=true
//                 --benchmark_repetitions=9 --benchmark_min_time=0.2
//                 --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include "bench/plain_step.h"
#include "kernels/kernels.h"

namespace quire::kernels {
namespace {

constexpr size_t kRows = 1000000;
constexpr size_t kDim = 64;
constexpr size_t kIds = 4096;
constexpr size_t kRowBytes = kDim * sizeof(float);
// Enough that no batch's rows are still in a cache when it comes again.
constexpr size_t kBatches = 128;

enum class Skew { kUniform, kZipf };

const char* NameOf(Skew skew) {
  return skew == Skew::kUniform ? "uniform" : "zipf";
}

// Row numbers; Zipf's popular ones are spread over the table.
class Ids {
 public:
  explicit Ids(Skew skew) : skew_(skew) {
    if (skew == Skew::kZipf) {
      double sum = 0;
      for (size_t rank = 0; rank < kRows; ++rank) {
        sum += std::pow(static_cast<double>(rank + 1), -1.05);
        cumulative_.push_back(sum);
      }
    }
  }

  size_t Next() {
    if (skew_ == Skew::kUniform) {
      return generator_() % kRows;
    }
    const double point = std::uniform_real_distribution<double>(
        0, cumulative_.back())(generator_);
    const auto found = std::ranges::upper_bound(cumulative_, point);
    const auto rank = static_cast<size_t>(found - cumulative_.begin());
    return std::min(rank, kRows - 1) * 999983 % kRows;
  }

 private:
  const Skew skew_;
  std::mt19937_64 generator_{42};
  std::vector<double> cumulative_;
};

struct Free {
  void operator()(float* floats) const { std::free(floats); }
};
using Floats = std::unique_ptr<float[], Free>;

Floats Allocate(size_t count, float value) {
  Floats floats(static_cast<float*>(
      std::aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64)));
  std::fill_n(floats.get(), count, value);
  return floats;
}

struct World {
  Floats values = Allocate(kRows * kDim, 1.0f);
  Floats state = Allocate(2 * kRows * kDim, 0.1f);
  Floats message = Allocate(kIds * kDim, 0.001f);
  std::unique_ptr<Stripes> stripes = std::make_unique<Stripes>();

  std::byte* message_bytes() {
    return reinterpret_cast<std::byte*>(message.get());
  }
};

World& TheWorld() {
  static World world;
  return world;
}

// kBatches batches of kIds rows, one after another, as lookups name them.
const std::vector<const float*>& LookupRows(Skew skew) {
  static const auto make = [](Skew of) {
    Ids ids(of);
    std::vector<const float*> rows;
    while (rows.size() < kBatches * kIds) {
      rows.push_back(&TheWorld().values[ids.Next() * kDim]);
    }
    return rows;
  };
  static const std::vector<const float*> uniform = make(Skew::kUniform);
  static const std::vector<const float*> zipf = make(Skew::kZipf);
  return skew == Skew::kUniform ? uniform : zipf;
}

// The same as pushes name them: no row twice in a batch.
std::vector<RowUpdate> PushRows(Skew skew, size_t state_floats) {
  Ids ids(skew);
  World& world = TheWorld();
  std::vector<RowUpdate> rows;
  std::unordered_set<size_t> seen;
  while (rows.size() < kBatches * kIds) {
    const size_t position = rows.size() % kIds;
    if (position == 0) {
      seen.clear();
    }
    const size_t id = ids.Next();
    if (seen.insert(id).second) {
      rows.push_back(
          {.values = &world.values[id * kDim],
           .state = &world.state[id * state_floats],
           .gradient = world.message_bytes() + position * kRowBytes});
    }
  }
  return rows;
}

void Report(benchmark::State& state, size_t row_bytes) {
  const auto rows = state.iterations() * static_cast<int64_t>(kIds);
  state.SetItemsProcessed(rows);
  state.SetBytesProcessed(rows * static_cast<int64_t>(row_bytes));
}

void GatherPlainly(const float* const* rows, std::byte* out) {
  for (size_t i = 0; i < kIds; ++i) {
    const float* later = rows[i + kPrefetchRows];
    for (size_t line = 0; line < kDim; line += 16) {
      __builtin_prefetch(later + line);
    }
    std::memcpy(out + i * kRowBytes, rows[i], kRowBytes);
  }
}

// The ceiling: a prefetched memcpy loop, no lock.
void BM_PlainGather(benchmark::State& state, Skew skew) {
  const auto& rows = LookupRows(skew);
  size_t batch = 0;
  for (auto _ : state) {
    GatherPlainly(&rows[batch * kIds], TheWorld().message_bytes());
    benchmark::ClobberMemory();
    batch = (batch + 1) % (kBatches - 1);
  }
  Report(state, kRowBytes);
}

void BM_Gather(benchmark::State& state, const Kernels* kernels, Skew skew) {
  World& world = TheWorld();
  const auto& rows = LookupRows(skew);
  size_t batch = 0;
  for (auto _ : state) {
    kernels->gather(&rows[batch * kIds], kIds, kPrefetchRows, kDim,
                    world.stripes.get(), world.message_bytes());
    benchmark::ClobberMemory();
    batch = (batch + 1) % (kBatches - 1);
  }
  Report(state, kRowBytes);
}

// Steps rows of `state_floats` each by one kernel of a table.
template <typename Numbers>
void Step(benchmark::State& state, const Kernels* table, Skew skew,
          size_t state_floats,
          size_t (*Kernels::*step)(const StepBatch&, const Numbers&),
          const Numbers& numbers) {
  const std::vector<RowUpdate> rows = PushRows(skew, state_floats);
  std::vector<float> scratch(StepScratchFloats(kDim, state_floats));
  size_t batch = 0;
  for (auto _ : state) {
    (table->*step)({.rows = &rows[batch * kIds],
                    .count = kIds,
                    .ahead = kPrefetchRows,
                    .dim = kDim,
                    .state_floats = state_floats,
                    .stripes = TheWorld().stripes.get(),
                    .scratch = scratch.data()},
                   numbers);
    benchmark::ClobberMemory();
    batch = (batch + 1) % (kBatches - 1);
  }
  Report(state, kRowBytes);
}

void BM_Sgd(benchmark::State& state, const Kernels* table, Skew skew) {
  Step(state, table, skew, 0, &Kernels::sgd, {.negative_lr = -0.01f});
}

void BM_Adagrad(benchmark::State& state, const Kernels* table, Skew skew) {
  Step(state, table, skew, kDim, &Kernels::adagrad,
       {.negative_clr = -0.01f, .eps = 1e-10f});
}

void BM_RowwiseAdagrad(benchmark::State& state, const Kernels* table,
                       Skew skew) {
  Step(state, table, skew, 1, &Kernels::rowwise_adagrad,
       {.lr = 0.01f, .eps = 1e-8f});
}

void BM_SparseAdam(benchmark::State& state, const Kernels* table, Skew skew) {
  Step(state, table, skew, 2 * kDim, &Kernels::sparse_adam,
       {.one_minus_beta1 = 0.1f,
        .one_minus_beta2 = 0.001f,
        .negative_step_size = -0.001f,
        .eps = 1e-8f});
}

// The ceiling of row-wise Adagrad: no lock, no look at what comes out.
void BM_PlainRowwiseAdagrad(benchmark::State& state, Skew skew) {
  const std::vector<RowUpdate> rows = PushRows(skew, 1);
  size_t batch = 0;
  for (auto _ : state) {
    bench::StepPlainly(&rows[batch * kIds], kIds, kDim,
                       {.lr = 0.01f, .eps = 1e-8f});
    benchmark::ClobberMemory();
    batch = (batch + 1) % (kBatches - 1);
  }
  Report(state, kRowBytes);
}

template <typename Fill>
void FillRows(benchmark::State& state, Fill fill) {
  World& world = TheWorld();
  int64_t id = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < kIds; ++i) {
      fill(&world.message[i * kDim], id++);
    }
    benchmark::ClobberMemory();
  }
  Report(state, kRowBytes);
}

void BM_FillUniform(benchmark::State& state, const Kernels* kernels) {
  FillRows(state, [&](float* out, int64_t id) {
    kernels->fill_uniform(out, kDim, id, {.seed = 42, .low = -1, .high = 1});
  });
}

void BM_FillNormal(benchmark::State& state, const Kernels* kernels) {
  FillRows(state, [&](float* out, int64_t id) {
    kernels->fill_normal(out, kDim, id, {.seed = 42, .mean = 0, .stddev = 1});
  });
}

// An exact scan: each row's product with one vector.
void BM_Dot(benchmark::State& state, const Kernels* kernels) {
  World& world = TheWorld();
  size_t row = 0;
  for (auto _ : state) {
    float best = 0;
    for (size_t i = 0; i < kIds; ++i) {
      best = std::max(best, kernels->dot(world.message.get(),
                                         &world.values[row++ * kDim], kDim));
    }
    benchmark::DoNotOptimize(best);
    row = row + kIds <= kRows ? row : 0;
  }
  Report(state, kRowBytes);
}

void BM_FirstNonFinite(benchmark::State& state, const Kernels* kernels) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        kernels->first_non_finite(TheWorld().message_bytes(), kIds * kDim));
  }
  Report(state, kRowBytes);
}

void BM_FirstOutOfRange(benchmark::State& state, const Kernels* kernels) {
  const std::vector<int64_t> ids(kIds, 7);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        kernels->first_out_of_range(ids.data(), ids.size(), kRows));
  }
  Report(state, sizeof(int64_t));
}

std::string NameOf(const char* what, const char* table) {
  return std::string("BM_") + what + "/dim:64/ids:4096/table:" + table;
}

void RegisterTable(const Kernels* table) {
  for (Skew skew : {Skew::kUniform, Skew::kZipf}) {
    const std::string tail = std::string("/skew:") + NameOf(skew);
    for (auto [name, run] :
         {std::pair("Gather", &BM_Gather), std::pair("Sgd", &BM_Sgd),
          std::pair("Adagrad", &BM_Adagrad),
          std::pair("RowwiseAdagrad", &BM_RowwiseAdagrad),
          std::pair("SparseAdam", &BM_SparseAdam)}) {
      benchmark::RegisterBenchmark((NameOf(name, table->name) + tail).c_str(),
                                   run, table, skew);
    }
  }
  for (auto [name, run] :
       {std::pair("FillUniform", &BM_FillUniform),
        std::pair("FillNormal", &BM_FillNormal), std::pair("Dot", &BM_Dot),
        std::pair("FirstNonFinite", &BM_FirstNonFinite),
        std::pair("FirstOutOfRange", &BM_FirstOutOfRange)}) {
    benchmark::RegisterBenchmark(NameOf(name, table->name).c_str(), run, table);
  }
}

const bool registered = [] {
  for (Skew skew : {Skew::kUniform, Skew::kZipf}) {
    benchmark::RegisterBenchmark(
        (NameOf("PlainGather", "none") + "/skew:" + NameOf(skew)).c_str(),
        BM_PlainGather, skew);
    benchmark::RegisterBenchmark(
        (NameOf("PlainRowwiseAdagrad", "none") + "/skew:" + NameOf(skew))
            .c_str(),
        BM_PlainRowwiseAdagrad, skew);
  }
  for (const Kernels* table :
       {&ScalarKernels(), Avx2Kernels(), Avx512Kernels()}) {
    if (table != nullptr) {
      RegisterTable(table);
    }
  }
  return true;
}();

}  // namespace
}  // namespace quire::kernels
