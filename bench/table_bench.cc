// What does a table add to its kernels? Finding rows, putting a push in the
// order of shards, summing its duplicates, letting writers through.
//
// One thread, 1M rows x 64 float32, batches of 4096 ids (W1 and W4 of the
// performance notes). The sketch: kernels_bench's BM_Gather and
// BM_RowwiseAdagrad on the same rows; all above that is the table's.
//
//   table_bench --benchmark_enable_random_interleaving=true
//               --benchmark_repetitions=9 --benchmark_min_time=0.2
//               --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_range.h"
#include "bench/ratios/workloads.h"
#include "kernels/kernels.h"
#include "table/gradient_batch.h"
#include "table/table.h"

namespace quire::bench {
namespace {

// Shares of ids that repeat an earlier one of their push, in percent.
constexpr int kDuplicatePercents[] = {0, 10, 50};

constexpr OptimizerKind kOptimizers[] = {OptimizerKind::kSgd,
                                         OptimizerKind::kAdagrad,
                                         OptimizerKind::kRowwiseAdagrad};

kernels::Stripes& TheStripes() {
  static const auto stripes = std::make_unique<kernels::Stripes>();
  return *stripes;
}

std::unique_ptr<Table> MakeTable(OptimizerKind optimizer) {
  std::unique_ptr<Table> table =
      *Table::Make({.num_embeddings = kRows,
                    .dim = static_cast<int64_t>(kW1.dim),
                    .shard_count = 64,
                    .initializer = {},
                    .optimizer = {.kind = optimizer,
                                  .initial_accumulator_value = 0.1,
                                  .eps = 1e-8}},
                   kernels::BestKernels(), TheStripes());
  for (uint32_t shard = 0; shard < 64; ++shard) {
    table->FillShard(ShardId{shard}, /*initial_values=*/true);
  }
  return table;
}

const std::vector<float>& Gradient() {
  static const std::vector<float> gradient(kW4.floats(), 1e-3f);
  return gradient;
}

// A push as it comes: its gradient in one piece.
class Push {
 public:
  explicit Push(std::span<const int64_t> ids)
      : part_{.ids = ids, .gradient = ByteRange(bytes_)} {}

  GradientBatch Make() const {
    size_t bad_part = 0;
    static const TableConfig config = {.num_embeddings = kRows,
                                       .dim = static_cast<int64_t>(kW4.dim)};
    return *GradientBatch::Make({&part_, 1}, config, kernels::BestKernels(),
                                &bad_part);
  }

 private:
  const Bytes bytes_ = std::as_bytes(std::span(Gradient()));
  const GradientPart part_;
};

void Report(benchmark::State& state, BatchShape shape) {
  const auto rows = state.iterations() * static_cast<int64_t>(shape.ids);
  state.SetItemsProcessed(rows);
  state.SetBytesProcessed(rows * static_cast<int64_t>(shape.dim) * 4);
}

void BM_TableGather(benchmark::State& state) {
  const std::unique_ptr<Table> table = MakeTable(OptimizerKind::kSgd);
  Batches batches(kW1, 0);
  std::vector<std::byte> out(kW1.floats() * sizeof(float));
  for (auto _ : state) {
    table->Gather(batches.Next(), out.data());
    benchmark::ClobberMemory();
  }
  Report(state, kW1);
}

// A push that is ready: order of shards, turnstiles, kernel.
void BM_TableApply(benchmark::State& state, OptimizerKind optimizer) {
  const std::unique_ptr<Table> table = MakeTable(optimizer);
  Batches batches(kW4, 0);
  std::vector<GradientBatch> pushes;
  for (int i = 0; i < 64; ++i) {
    pushes.push_back(Push(batches.Next()).Make());
  }
  uint64_t ticket = 0;
  for (auto _ : state) {
    table->ApplyGradient(pushes[ticket % pushes.size()],
                         {.optimizer = table->config().optimizer,
                          .learning_rate = 0.01,
                          .step = 1},
                         Ticket{ticket});
    ++ticket;
    benchmark::ClobberMemory();
  }
  Report(state, kW4);
}

// Making it ready: finite check, duplicates found and summed.
void BM_GradientBatch(benchmark::State& state, int duplicate_percent) {
  Batches batches(kW4, duplicate_percent / 100.0);
  for (auto _ : state) {
    benchmark::DoNotOptimize(Push(batches.Next()).Make());
  }
  Report(state, kW4);
}

const bool registered = [] {
  benchmark::RegisterBenchmark("BM_TableGather/dim:64/ids:4096/skew:uniform",
                               BM_TableGather);
  for (const OptimizerKind kind : kOptimizers) {
    const std::string name(Optimizer{.kind = kind}.name());
    benchmark::RegisterBenchmark(
        ("BM_TableApply/dim:64/ids:4096/skew:uniform/optimizer:" + name)
            .c_str(),
        BM_TableApply, kind);
  }
  for (const int percent : kDuplicatePercents) {
    benchmark::RegisterBenchmark(
        ("BM_GradientBatch/dim:64/ids:4096/duplicates:" +
         std::to_string(percent))
            .c_str(),
        BM_GradientBatch, percent);
  }
  return true;
}();

}  // namespace
}  // namespace quire::bench
