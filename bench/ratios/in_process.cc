#include "bench/ratios/in_process.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <span>
#include <thread>

#include "bench/ratios/plain_rows.h"
#include "bench/ratios/process.h"
#include "bench/ratios/workloads.h"
#include "engine/engine.h"
#include "kernels/kernels.h"
#include "table/gradient_batch.h"
#include "table/table.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;

// `batch` again and again until `stop`; rows per second.
template <typename Batch>
double RowsPerSecond(const std::atomic<bool>& stop, Batch batch) {
  const Clock::time_point begin = Clock::now();
  double rows = 0;
  do {
    batch();
    rows += static_cast<double>(kW1.ids);
  } while (!stop.load(std::memory_order_relaxed));
  return rows / std::chrono::duration<double>(Clock::now() - begin).count();
}

// Runs the first on this thread and the others on threads of their own.
Rates RunAtOnce(
    std::chrono::nanoseconds duration,
    const std::vector<std::function<double(const std::atomic<bool>&)>>& loops) {
  std::atomic<bool> stop = false;
  Rates rates(loops.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < loops.size(); ++i) {
    threads.emplace_back([&, i] { rates[i] = loops[i](stop); });
  }
  std::this_thread::sleep_for(duration);
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  return rates;
}

std::vector<std::byte> Message() {
  const std::vector<float> floats(kW4.floats(), 1e-3f);
  std::vector<std::byte> message(floats.size() * sizeof(float));
  std::memcpy(message.data(), floats.data(), message.size());
  return message;
}

// Both threads of the ceiling.
class PlainPair {
 public:
  Rates Run(std::chrono::nanoseconds duration) {
    return RunAtOnce(duration, {[&](const auto& stop) {
                                  return RowsPerSecond(stop, [&] {
                                    rows_.Gather(lookups_.Next(), out_.data());
                                  });
                                },
                                [&](const auto& stop) {
                                  return RowsPerSecond(stop, [&] {
                                    rows_.Apply(pushes_.Next(),
                                                message_.data());
                                  });
                                }});
  }

 private:
  PlainRows rows_;
  Batches lookups_{kW1, 0};
  Batches pushes_{kW4, 0};
  std::vector<std::byte> out_ = Message();
  const std::vector<std::byte> message_ = Message();
};

TableConfig ConfigOf() {
  return {
      .num_embeddings = kRows,
      .dim = static_cast<int64_t>(kW1.dim),
      .shard_count = 64,
      .initializer = {},
      .optimizer = {.kind = OptimizerKind::kRowwiseAdagrad, .eps = kPlainEps}};
}

// A table by itself, with pushes that have been made ready before.
class TablePair {
 public:
  TablePair() {
    for (int32_t shard = 0; shard < ConfigOf().shard_count; ++shard) {
      table_->FillShard(ShardId{static_cast<uint32_t>(shard)}, true);
    }
    Batches pushes(kW4, 0);
    for (int i = 0; i < 64; ++i) {
      const GradientPart part = {.ids = pushes.Next(),
                                 .gradient = ByteRange(message_bytes_)};
      size_t bad_part = 0;
      pushes_.push_back(*GradientBatch::Make(
          {&part, 1}, ConfigOf(), kernels::BestKernels(), &bad_part));
    }
  }

  Rates Run(std::chrono::nanoseconds duration) {
    return RunAtOnce(duration, {[&](const auto& stop) {
                                  return RowsPerSecond(stop, [&] {
                                    table_->Gather(lookups_.Next(),
                                                   out_.data());
                                  });
                                },
                                [&](const auto& stop) {
                                  return RowsPerSecond(stop, [&] { Push(); });
                                }});
  }

 private:
  void Push() {
    const OptimizerStep step = {.optimizer = ConfigOf().optimizer,
                                .learning_rate = kPlainLearningRate,
                                .step = 1};
    table_->ApplyGradient(pushes_[next_push_ % pushes_.size()], step,
                          Ticket{next_push_});
    ++next_push_;
  }

  const std::unique_ptr<kernels::Stripes> stripes_ =
      std::make_unique<kernels::Stripes>();
  const std::unique_ptr<Table> table_ =
      *Table::Make(ConfigOf(), kernels::BestKernels(), *stripes_);
  const std::vector<std::byte> message_ = Message();
  const Bytes message_bytes_{message_};
  Batches lookups_{kW1, 0};
  std::vector<GradientBatch> pushes_;
  uint64_t next_push_ = 0;
  std::vector<std::byte> out_ = Message();
};

// The engine, with all that a request goes through behind the wire.
class EnginePair {
 public:
  EnginePair() : table_(MakeTable(engine_)) {}

  void Lookup() {
    const std::span<const int64_t> ids = lookups_.Next();
    if (!table_->CheckIds(ids).ok()) {
      Die("an id of the benchmark is out of range");
    }
    table_->Lookup(ids, out_.data());
  }

  void Push() {
    const PushPart part = {.table = table_,
                           .ids = pushes_.Next(),
                           .gradient = ByteRange(message_bytes_),
                           .learning_rate = {}};
    if (!engine_.ApplyGradient({&part, 1}).ok()) {
      Die("a push of the benchmark was refused");
    }
  }

  Rates Run(std::chrono::nanoseconds duration) {
    return RunAtOnce(duration, {[&](const auto& stop) {
                                  return RowsPerSecond(stop, [&] { Lookup(); });
                                },
                                [&](const auto& stop) {
                                  return RowsPerSecond(stop, [&] { Push(); });
                                }});
  }

 private:
  static TableHandle MakeTable(Engine& engine) {
    v1::TableSpec spec;
    spec.set_name("w1");
    spec.set_num_embeddings(kRows);
    spec.set_embedding_dim(static_cast<int64_t>(kW1.dim));
    spec.mutable_optimizer()->mutable_rowwise_adagrad();
    auto created = engine.CreateTable(spec, v1::IF_EXISTS_ERROR);
    if (!created.ok()) {
      Die("the engine has no room for the benchmark's table");
    }
    while (!created->table->ready()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return created->table;
  }

  Engine engine_{{.table_bytes_max = int64_t{2} << 30}};
  const TableHandle table_;
  const std::vector<std::byte> message_ = Message();
  const Bytes message_bytes_{message_};
  Batches lookups_{kW1, 0};
  Batches pushes_{kW4, 0};
  std::vector<std::byte> out_ = Message();
};

Figure Rows(std::string name, double gate) {
  return {.name = std::move(name),
          .gate = gate,
          .unit = "Mrows/s",
          .unit_size = 1e6};
}

}  // namespace

std::vector<Measured> MeasureGather(const PairPlan& plan) {
  EnginePair engine;
  const PlainRows rows;
  Batches batches(kW1, 0);
  std::vector<std::byte> out = Message();
  return MeasurePairs(
      {Rows("gather_w1", 0.85)},
      [&](auto duration) {
        return RunAtOnce(duration, {[&](const auto& stop) {
                           return RowsPerSecond(stop, [&] { engine.Lookup(); });
                         }});
      },
      [&](auto duration) {
        return RunAtOnce(duration, {[&](const auto& stop) {
                           return RowsPerSecond(stop, [&] {
                             rows.Gather(batches.Next(), out.data());
                           });
                         }});
      },
      plan);
}

std::vector<Measured> MeasureGatherWithApply(const PairPlan& plan) {
  PlainPair plain;
  TablePair table;
  EnginePair engine;
  const Side ceiling = [&](auto duration) { return plain.Run(duration); };
  std::vector<Measured> measured = MeasurePairs(
      {Rows("gather_with_apply_lookup", 0.80),
       Rows("gather_with_apply_apply", 0.80)},
      [&](auto duration) { return table.Run(duration); }, ceiling, plan);
  const std::vector<Measured> whole = MeasurePairs(
      {Rows("engine_with_apply_lookup", 0), Rows("engine_with_apply_apply", 0)},
      [&](auto duration) { return engine.Run(duration); }, ceiling, plan);
  measured.insert(measured.end(), whole.begin(), whole.end());
  return measured;
}

}  // namespace quire::bench
