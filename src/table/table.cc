#include "table/table.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include "base/faults.h"
#include "base/status.h"
#include "row/halves.h"
#include "row/renorm.h"

namespace quire {
namespace {

// Rows whose addresses are computed at a time: a few pages of stack, and long
// enough that the call is nothing beside the rows.
constexpr size_t kGatherRows = 512;

int64_t RowCount(const TableConfig& config) {
  const DensePlacement placement(config.shard_count);
  return placement.SlotCount(config.num_embeddings) * config.shard_count;
}

constexpr int64_t kFloatBytes = sizeof(float);
constexpr size_t kHalfBytes = 2;

// Floats that are renormalised before they are rounded: they stay in the first
// cache.
constexpr size_t kRenormFloats = 4096;

}  // namespace

int64_t Table::ValueBytes(const TableConfig& config) {
  return RowCount(config) * config.dim * kFloatBytes;
}

int64_t Table::StateBytes(const TableConfig& config) {
  return RowCount(config) * config.optimizer.StateFloats(config.dim) *
         kFloatBytes;
}

absl::StatusOr<std::unique_ptr<Table>> Table::Make(
    const TableConfig& config, const kernels::Kernels& kernels,
    kernels::Stripes& stripes) {
  const RowLayout layout = {
      .dim = config.dim,
      .state_floats = config.optimizer.StateFloats(config.dim),
      .kernels = &kernels,
      .stripes = &stripes,
      .keep_finite = config.non_finite_policy != NonFinitePolicy::kAllow,
      .renorm = config.max_norm ? std::optional(RenormOf(*config.max_norm,
                                                         config.norm_type))
                                : std::nullopt,
  };
  QUIRE_ASSIGN_OR_RETURN(Pages values,
                         Pages::Map(static_cast<size_t>(ValueBytes(config))));
  QUIRE_ASSIGN_OR_RETURN(Pages state,
                         Pages::Map(static_cast<size_t>(StateBytes(config))));
  return std::unique_ptr<Table>(
      new Table(config, layout, std::move(values), std::move(state)));
}

Table::Table(const TableConfig& config, const RowLayout& layout, Pages values,
             Pages state)
    : config_(config),
      layout_(layout),
      placement_(config.shard_count),
      slot_count_(placement_.SlotCount(config.num_embeddings)),
      values_(std::move(values)),
      state_(std::move(state)),
      value_base_(reinterpret_cast<float*>(values_.data())),
      state_base_(reinterpret_cast<float*>(state_.data())) {
  for (int64_t shard = 0; shard < config.shard_count; ++shard) {
    const int64_t first_row = shard * slot_count_;
    shards_.emplace_back(layout_, slot_count_,
                         value_base_ + first_row * layout_.dim,
                         state_base_ + first_row * layout_.state_floats);
  }
}

void Table::FillShard(ShardId shard, bool initial_values) {
  const auto index = static_cast<int64_t>(shard);
  const auto populate = [&](const Pages& pages, int64_t floats) {
    pages.Populate(
        static_cast<size_t>(index * slot_count_ * floats * kFloatBytes),
        static_cast<size_t>(slot_count_ * floats * kFloatBytes));
  };
  populate(values_, layout_.dim);
  populate(state_, layout_.state_floats);

  const Shard& rows = shards_[static_cast<size_t>(shard)];
  // Fresh pages are zeros, which is most optimizers' initial state.
  for (int64_t slot = 0;
       config_.optimizer.initial_accumulator_value != 0.0 && slot < slot_count_;
       ++slot) {
    config_.optimizer.FillInitialState(
        {rows.StateAt(slot), static_cast<size_t>(layout_.state_floats)},
        layout_.dim);
  }
  if (!initial_values) {
    return;
  }
  for (int64_t slot = 0; slot < slot_count_; ++slot) {
    const int64_t id = placement_.IdAt(shard, slot);
    // torch.nn.Embedding: the padding row is born as zeros.
    if (id < config_.num_embeddings &&
        (id != config_.padding_idx || QUIRE_FAULT("padding_row_not_zero"))) {
      config_.initializer.Fill(*layout_.kernels, id, rows.ValuesAt(slot),
                               layout_.dim);
    }
  }
}

std::optional<size_t> Table::FirstBadId(std::span<const int64_t> ids) const {
  const size_t bad = layout_.kernels->first_out_of_range(
      ids.data(), ids.size(), config_.num_embeddings);
  return bad < ids.size() ? std::optional(bad) : std::nullopt;
}

void Table::GatherRenormedHalves(const float* const* rows, size_t count,
                                 size_t ahead, const kernels::HalfKernels& half,
                                 std::byte* out) const {
  const auto dim = static_cast<size_t>(layout_.dim);
  const size_t rows_at_a_time = std::max<size_t>(1, kRenormFloats / dim);
  std::vector<float> floats(rows_at_a_time * dim);
  auto* const renormed = reinterpret_cast<std::byte*>(floats.data());
  for (size_t i = 0; i < count; i += rows_at_a_time) {
    const size_t now = std::min(rows_at_a_time, count - i);
    layout_.kernels->gather_renormed(rows + i, now, count - i - now + ahead,
                                     dim, layout_.stripes, *layout_.renorm,
                                     renormed);
    half.round(renormed, now * dim, out + i * dim * kHalfBytes);
  }
}

void Table::GatherPointers(const float* const* rows, size_t count, size_t ahead,
                           std::byte* out, ElementType type) const {
  const kernels::HalfKernels* const half =
      HalfKernelsOf(*layout_.kernels, type);
  if (half != nullptr && layout_.renorm) {
    return GatherRenormedHalves(rows, count, ahead, *half, out);
  }
  const auto dim = static_cast<size_t>(layout_.dim);
  kernels::Stripes* stripes = layout_.stripes;
  if (QUIRE_FAULT("stripes_not_locked")) {
    static kernels::Stripes nobody_elses;
    stripes = &nobody_elses;
  }
  if (half != nullptr) {
    return half->gather(rows, count, ahead, dim, stripes, out);
  }
  if (layout_.renorm) {
    layout_.kernels->gather_renormed(rows, count, ahead, dim, stripes,
                                     *layout_.renorm, out);
  } else {
    layout_.kernels->gather(rows, count, ahead, dim, stripes, out);
  }
  if (QUIRE_FAULT("copy_through_addition")) {
    const std::vector<float> zeros(count * dim);
    layout_.kernels->add_scaled(
        reinterpret_cast<float*>(out),
        reinterpret_cast<const std::byte*>(zeros.data()), 1.0f, count * dim);
  }
}

void Table::Gather(std::span<const int64_t> ids, std::byte* out,
                   ElementType type) const {
  // rows[0, count) are copied now; those behind, of the next round, are
  // prefetched and then move to the front.
  std::array<const float*, kGatherRows + kernels::kPrefetchRows> rows;
  const size_t row_bytes =
      static_cast<size_t>(layout_.dim) * ElementBytes(type);
  size_t located = 0;  // ids whose rows have been in `rows`
  size_t held = 0;     // rows at the front that have not been copied
  for (size_t done = 0; done < ids.size();) {
    for (; held < rows.size() && located < ids.size(); ++held, ++located) {
      rows[held] = RowOf(ids[located]);
    }
    const size_t count = std::min(held, kGatherRows);
    const size_t ahead = held - count;
    GatherPointers(rows.data(), count, ahead, out + done * row_bytes, type);
    std::copy_n(rows.begin() + static_cast<ptrdiff_t>(count), ahead,
                rows.begin());
    held = ahead;
    done += count;
  }
}

void Table::Widen(ElementType type, const ByteRange& halves,
                  std::byte* out) const {
  const kernels::HalfKernels& half = *HalfKernelsOf(*layout_.kernels, type);
  ByteRange::Reader reader(halves);
  std::array<std::byte, kHalfBytes> cut;
  for (size_t left = halves.size() / kHalfBytes; left > 0;) {
    // As many as lie together, or the one that is cut.
    const size_t together =
        std::min(reader.contiguous_size() / kHalfBytes, left);
    const size_t count = std::max<size_t>(together, 1);
    half.widen(reader.Next(count * kHalfBytes, cut.data()), count, out);
    out += count * sizeof(float);
    left -= count;
  }
}

void Table::ReadRows(std::span<const int64_t> ids, float* values,
                     float* state) const {
  for (const int64_t id : ids) {
    ShardOf(id).ReadRow(placement_.SlotOf(id), values, state);
    values += layout_.dim;
    state += state == nullptr ? 0 : layout_.state_floats;
  }
}

void Table::MakeValues(std::span<float> rows) const {
  if (!layout_.renorm) {
    return;
  }
  const auto dim = static_cast<size_t>(layout_.dim);
  std::vector<float> value(dim);
  for (size_t begin = 0; begin < rows.size(); begin += dim) {
    const float* row = rows.data() + begin;
    GatherPointers(&row, 1, 0, reinterpret_cast<std::byte*>(value.data()),
                   ElementType::kFloat32);
    std::ranges::copy(value, rows.begin() + static_cast<ptrdiff_t>(begin));
  }
}

Table::ByShard Table::SortByShard(std::span<const int64_t> ids) const {
  const size_t shards = shards_.size();
  ByShard sorted = {
      .places = std::make_unique_for_overwrite<ByShard::Place[]>(ids.size()),
      .begin = std::make_unique<uint32_t[]>(shards + 1)};
  // A counting sort.
  uint32_t* const count = &sorted.begin[1];
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto shard = static_cast<uint32_t>(placement_.ShardOf(ids[i]));
    sorted.places[i] = {.shard = shard, .in_shard = count[shard]++};
  }
  std::partial_sum(count, count + shards, count);
  return sorted;
}

Table::Moved Table::ApplyGradient(const GradientBatch& batch,
                                  const OptimizerStep& step,
                                  ChangePlace place) {
  return config_.optimizer.all_rows && !QUIRE_FAULT("scope_ignored")
             ? StepAllRows(batch, step, place)
             : StepTouchedRows(batch, step, place);
}

Table::Moved Table::StepTouchedRows(const GradientBatch& batch,
                                    const OptimizerStep& step,
                                    ChangePlace place) {
  const std::span<const int64_t> ids = batch.ids();
  const ByShard sorted = SortByShard(ids);
  auto rows = std::make_unique_for_overwrite<kernels::RowUpdate[]>(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t row = RowIndex(sorted.places[i].shard, ids[i]);
    rows[sorted.PlaceOf(i)] = {
        .values = value_base_ + row * layout_.dim,
        .state = state_base_ + row * layout_.state_floats,
        .gradient = batch.gradients()[i]};
  }
  const auto scratch =
      std::make_unique_for_overwrite<float[]>(layout_.ScratchFloats());
  size_t skipped = 0;
  for (size_t shard = 0; shard < shards_.size(); ++shard) {
    const size_t begin = sorted.begin[shard];
    const size_t end = sorted.begin[shard + 1];
    Shard::Writer writer(shards_[shard], place);
    if (begin < end) {
      const size_t ahead = std::min(ids.size() - end, kernels::kPrefetchRows);
      skipped += writer.Apply({.step = step,
                               .rows = {&rows[begin], end - begin + ahead},
                               .ahead = ahead,
                               .scratch = scratch.get()});
    }
  }
  return {.rows_changed = static_cast<int64_t>(ids.size() - skipped),
          .rows_skipped = static_cast<int64_t>(skipped)};
}

// Rows that the push does not name have a gradient of zeros, as in torch's
// dense step; so has the padding row.
Table::Moved Table::StepAllRows(const GradientBatch& batch,
                                const OptimizerStep& step, ChangePlace place) {
  const std::span<const int64_t> ids = batch.ids();
  const ByShard sorted = SortByShard(ids);
  std::vector<size_t> order(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    order[sorted.PlaceOf(i)] = i;
  }
  const auto zeros =
      std::make_unique<float[]>(static_cast<size_t>(layout_.dim));
  const auto* no_gradient = reinterpret_cast<const std::byte*>(zeros.get());
  const auto scratch =
      std::make_unique_for_overwrite<float[]>(layout_.ScratchFloats());
  std::vector<kernels::RowUpdate> rows;
  Moved moved;
  for (size_t shard = 0; shard < shards_.size(); ++shard) {
    const auto first_slot = static_cast<int64_t>(shard) * slot_count_;
    rows.clear();
    // Ids ascend with slots: those that do not exist come last.
    for (int64_t slot = 0;
         slot < slot_count_ &&
         placement_.IdAt(ShardId{static_cast<uint32_t>(shard)}, slot) <
             config_.num_embeddings;
         ++slot) {
      const int64_t row = first_slot + slot;
      rows.push_back({.values = value_base_ + row * layout_.dim,
                      .state = state_base_ + row * layout_.state_floats,
                      .gradient = no_gradient});
    }
    for (size_t p = sorted.begin[shard]; p < sorted.begin[shard + 1]; ++p) {
      const auto slot = static_cast<size_t>(placement_.SlotOf(ids[order[p]]));
      rows[slot].gradient = batch.gradients()[order[p]];
    }
    Shard::Writer writer(shards_[shard], place);
    const size_t skipped = writer.Apply(
        {.step = step, .rows = rows, .ahead = 0, .scratch = scratch.get()});
    moved.rows_skipped += static_cast<int64_t>(skipped);
    moved.rows_changed += std::ssize(rows) - static_cast<int64_t>(skipped);
  }
  return moved;
}

void Table::InTurn(ChangePlace place, const std::function<void()>& body) {
  for (Shard& shard : shards_) {
    Shard::Writer writer(shard, place);
    if (&shard == &shards_.front()) {
      body();
    }
  }
}

void Table::WriteRows(std::span<const int64_t> ids, const float* values,
                      const float* state, ChangePlace place) {
  const ByShard sorted = SortByShard(ids);
  std::vector<size_t> order(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    order[sorted.PlaceOf(i)] = i;
  }
  for (size_t shard = 0; shard < shards_.size(); ++shard) {
    Shard::Writer writer(shards_[shard], place);
    for (size_t p = sorted.begin[shard]; p < sorted.begin[shard + 1]; ++p) {
      const auto i = static_cast<int64_t>(order[p]);
      writer.Apply(RowChange{.slot = placement_.SlotOf(ids[order[p]]),
                             .values = values + i * layout_.dim,
                             .state = state == nullptr
                                          ? nullptr
                                          : state + i * layout_.state_floats});
    }
  }
}

}  // namespace quire
