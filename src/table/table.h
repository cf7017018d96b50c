// One DENSE table in memory: its shards, and who may touch them.
//
//   values  float32 [shard_count, slot_count, dim]
//   state   float32 [shard_count, slot_count, state_floats]
//
// An id's place follows from the id alone (base/placement.h): a lookup needs
// no index and no partition pass; it reads rows in request order.
//
// Thread safety: Gather and ReadRows from any thread at any time. Changes from
// any thread that has a ticket; tickets of one table are 0, 1, 2, … and each
// must be used, once. FillShard before anything else.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/placement.h"
#include "kernels/kernels.h"
#include "row/optimizer.h"
#include "table/gradient_batch.h"
#include "table/shard.h"
#include "table/table_config.h"
#include "tensor/bags.h"
#include "tensor/element_type.h"

namespace quire {

class Table {
 public:
  // Bytes of row values and optimizer state that the table will take.
  static int64_t ValueBytes(const TableConfig& config);
  static int64_t StateBytes(const TableConfig& config);

  // Maps the memory; RESOURCE_EXHAUSTED if the system refuses. `kernels` and
  // `stripes` outlive the table.
  static absl::StatusOr<std::unique_ptr<Table>> Make(
      const TableConfig& config, const kernels::Kernels& kernels,
      kernels::Stripes& stripes);

  // Faults in one shard's memory and writes its initial state and, if
  // `initial_values`, its initial rows. Each shard once, before the table
  // serves; different shards from different threads.
  void FillShard(ShardId shard, bool initial_values);

  // The position of the first id that is not of this table, or nullopt.
  std::optional<size_t> FirstBadId(std::span<const int64_t> ids) const;

  // Copies the values of rows in the order of `ids`: what is stored, or with
  // max_norm what it renormalises to, rounded to `type`. Each row is whole.
  //   ids  int64   [n]       each in [0, num_embeddings)
  //   out  of `type`: [n, dim], aligned to nothing
  void Gather(std::span<const int64_t> ids, std::byte* out,
              ElementType type = ElementType::kFloat32) const;

  // The values of rows, pooled in float32, then rounded to `type`. Padding is
  // passed over.
  //   ids      int64   [n]
  //   out      of `type`: [bags, dim]
  //   winners  int32   [bags, dim], or null: see Bags::winners
  // Both aligned to nothing.
  void GatherBags(std::span<const int64_t> ids, const Bags& bags,
                  std::byte* out, std::byte* winners,
                  ElementType type = ElementType::kFloat32) const;

  // Numbers of FLOAT16 or BFLOAT16 as floats, exactly.
  //   out  as many floats, aligned to nothing
  void Widen(ElementType type, const ByteRange& halves, std::byte* out) const;

  // The gradient of the weights of SUM bags: of each id's, the product of its
  // row's value and its bag's gradient; 0 for padding.
  //   part  with bags
  //   out   [n]
  void WeightGradients(const GradientPart& part, std::span<float> out) const;

  // Copies stored rows and their optimizer state, both as of one moment.
  //   values  float32 [n, dim]
  //   state   float32 [n, state_floats], or null
  void ReadRows(std::span<const int64_t> ids, float* values,
                float* state) const;
  // Copies of stored rows become their values: what Gather gives.
  //   rows  float32 [n, dim]
  void MakeValues(std::span<float> rows) const;

  // A push, as one step of every id in `batch`, or of every row of the table if
  // the optimizer wants that. Returns how many rows moved, and how many were
  // left as they were because their new bytes were not finite.
  struct Moved {
    int64_t rows_changed = 0;
    int64_t rows_skipped = 0;
  };
  Moved ApplyGradient(const GradientBatch& batch, const OptimizerStep& step,
                      ChangePlace place);

  // New bytes for rows; of an id that is there twice, the last.
  //   values  float32 [n, dim]
  //   state   float32 [n, state_floats]; null: the state stays
  void WriteRows(std::span<const int64_t> ids, const float* values,
                 const float* state, ChangePlace place);

  // Runs `body` in the turn of a change: after all earlier changes of the first
  // shard, and before all later ones. For what belongs to a table's rows.
  void InTurn(ChangePlace place, const std::function<void()>& body);

  // --- Chunks: table/shard.h ---

  const Shard& shard(ShardId id) const {
    return shards_[static_cast<size_t>(id)];
  }
  // See Shard::SetCopied.
  void SetCopied(bool is_copied) {
    for (Shard& shard : shards_) {
      shard.SetCopied(is_copied);
    }
  }
  // See Shard::BeginCopyAsOf; chunks are copied by shard_to_copy.
  void BeginCopyAsOf(Ticket ticket, MemoryBudget& budget) {
    for (Shard& shard : shards_) {
      shard.SetCopied(true);
      shard.BeginCopyAsOf(ticket, budget);
    }
  }
  void EndCopyAsOf() {
    for (Shard& shard : shards_) {
      shard.SetCopied(false);
      shard.EndCopyAsOf();
    }
  }
  Shard& shard_to_copy(ShardId id) { return shards_[static_cast<size_t>(id)]; }
  // Before the table serves.
  Shard& shard_to_load(ShardId id) { return shards_[static_cast<size_t>(id)]; }

  const TableConfig& config() const { return config_; }
  int64_t state_floats() const { return layout_.state_floats; }

 private:
  Table(const TableConfig& config, const RowLayout& layout, Pages values,
        Pages state);

  // How the rows of a change are put in the order of shards; those of one shard
  // stay in the order of ids.
  struct ByShard {
    struct Place {
      uint32_t shard;
      uint32_t in_shard;  // how many rows of the shard come before it
    };
    std::unique_ptr<Place[]> places;  // [n]
    // Where a shard's rows begin, and the last one's end: [shards + 1].
    std::unique_ptr<uint32_t[]> begin;

    size_t PlaceOf(size_t i) const {
      return begin[places[i].shard] + places[i].in_shard;
    }
  };
  ByShard SortByShard(std::span<const int64_t> ids) const;

  Moved StepTouchedRows(const GradientBatch& batch, const OptimizerStep& step,
                        ChangePlace place);
  Moved StepAllRows(const GradientBatch& batch, const OptimizerStep& step,
                    ChangePlace place);

  // A row's number among all rows of the table's memory.
  int64_t RowIndex(size_t shard, int64_t id) const {
    return static_cast<int64_t>(shard) * slot_count_ + placement_.SlotOf(id);
  }

  Shard& ShardOf(int64_t id) {
    return shards_[static_cast<size_t>(placement_.ShardOf(id))];
  }
  const Shard& ShardOf(int64_t id) const {
    return shards_[static_cast<size_t>(placement_.ShardOf(id))];
  }
  // Copies rows[0, count), or what they renormalise to; those behind are
  // prefetched.
  void GatherPointers(const float* const* rows, size_t count, size_t ahead,
                      std::byte* out, ElementType type) const;
  // The same of a table with max_norm, to a type of two bytes.
  void GatherRenormedHalves(const float* const* rows, size_t count,
                            size_t ahead, const kernels::HalfKernels& half,
                            std::byte* out) const;

  const float* RowOf(int64_t id) const {
    const size_t shard = static_cast<size_t>(placement_.ShardOf(id));
    return value_base_ + RowIndex(shard, id) * layout_.dim;
  }

  // Constant after construction.
  const TableConfig config_;
  const RowLayout layout_;
  const DensePlacement placement_;
  const int64_t slot_count_;
  const Pages values_;
  const Pages state_;
  float* const value_base_;
  float* const state_base_;

  // Each guards itself. A deque: shards do not move.
  std::deque<Shard> shards_;
};

}  // namespace quire
