#include "engine/push.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"

namespace quire {
namespace {

std::string PartField(size_t position) {
  return fmt::format("tables[{}].", position);
}

// torch.nn.EmbeddingBag: no division by frequency of a gradient that goes to
// winners, or that has weights.
absl::Status CheckFrequency(const PushPart& part) {
  if (!part.bags || !part.table->rows().config().scale_grad_by_freq) {
    return absl::OkStatus();
  }
  const bool is_max = part.bags->pooling == Pooling::kMax;
  if (!is_max && part.bags->weights.empty()) {
    return absl::OkStatus();
  }
  return Error(Reason::kBadValue,
               fmt::format("table '{}' has scale_grad_by_freq, which does not "
                           "go with {}; use another pooling, or a table "
                           "without it",
                           part.table->name(),
                           is_max ? "POOLING_MAX" : "weights of bags"),
               is_max ? "bags.pooling" : "bags.weights");
}

// Whether the table must see every occurrence of an id by itself.
absl::Status CheckDuplicatesSummed(const PushPart& part) {
  const TableConfig& config = part.table->rows().config();
  const bool skips_rows = config.non_finite_policy == NonFinitePolicy::kSkipRow;
  if (!part.duplicates_summed || !(config.scale_grad_by_freq || skips_rows)) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kBadValue,
      fmt::format(
          "table '{}' has {}: it matters how often an id occurs, and "
          "the gradients of equal ids were summed before they came. "
          "Push them as they are; if that is too large, fewer rows at "
          "a time",
          part.table->name(),
          skips_rows ? "non_finite_policy SKIP_ROW" : "scale_grad_by_freq"),
      "duplicates_summed");
}

}  // namespace

absl::StatusOr<PreparedPush> PreparedPush::Make(
    std::span<const PushPart> parts, const kernels::Kernels& kernels) {
  PreparedPush push(parts);
  QUIRE_RETURN_IF_ERROR(push.GroupByTable());
  for (const Group& group : push.groups_) {
    size_t bad_part = 0;
    absl::StatusOr<GradientBatch> batch = GradientBatch::Make(
        group.parts, group.table->rows().config(), kernels, &bad_part);
    if (!batch.ok()) {
      return WithFieldPrefix(std::move(batch).status(),
                             PartField(group.positions[bad_part]));
    }
    push.batches_.push_back(*std::move(batch));
  }
  push.AddWeightGradients();
  return push;
}

// RULINGS 12: a table that is named twice is one table.
absl::Status PreparedPush::GroupByTable() {
  absl::flat_hash_map<const LiveTable*, size_t> group_of;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const PushPart& part = parts_[i];
    QUIRE_RETURN_IF_ERROR(
        WithFieldPrefix(part.table->CheckIds(part.ids), PartField(i)));
    QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckFrequency(part), PartField(i)));
    QUIRE_RETURN_IF_ERROR(
        WithFieldPrefix(CheckDuplicatesSummed(part), PartField(i)));
    const auto [found, is_new] =
        group_of.try_emplace(part.table.get(), groups_.size());
    if (is_new) {
      groups_.push_back({.table = part.table.get()});
    }
    Group& group = groups_[found->second];
    group.parts.push_back({.ids = part.ids,
                           .gradient = part.gradient,
                           .bags = part.bags,
                           .gradient_scale = part.gradient_scale});
    group.positions.push_back(i);
    if (part.learning_rate && group.learning_rate &&
        *part.learning_rate != *group.learning_rate) {
      return Error(Reason::kBadValue,
                   fmt::format("table '{}' is named twice with learning rates "
                               "{} and {}; a push is one step",
                               part.table->name(), *group.learning_rate,
                               *part.learning_rate),
                   PartField(i) + "learning_rate");
    }
    if (part.learning_rate) {
      group.learning_rate = part.learning_rate;
    }
  }
  return absl::OkStatus();
}

void PreparedPush::AddWeightGradients() {
  weight_gradients_.resize(parts_.size());
  for (const Group& group : groups_) {
    for (size_t i = 0; i < group.parts.size(); ++i) {
      const size_t position = group.positions[i];
      if (parts_[position].return_weight_gradients) {
        std::vector<float>& gradients = weight_gradients_[position];
        gradients.resize(parts_[position].ids.size());
        group.table->rows().WeightGradients(group.parts[i], gradients);
      }
    }
  }
}

std::vector<Sequencer::PushIntent> PreparedPush::Intents() const {
  std::vector<Sequencer::PushIntent> intents;
  intents.reserve(groups_.size());
  for (const Group& group : groups_) {
    intents.push_back({.uid = group.table->uid(),
                       .name = group.table->name(),
                       .learning_rate = group.learning_rate});
  }
  return intents;
}

absl::Status PreparedPush::Refusal(absl::Status status, size_t group) const {
  return group < groups_.size()
             ? WithFieldPrefix(std::move(status),
                               PartField(groups_[group].positions.front()))
             : status;
}

std::vector<PushResult> PreparedPush::Apply(
    std::span<const Sequencer::PushPlace> places, uint64_t lsn) {
  std::vector<PushResult> results(parts_.size());
  for (size_t g = 0; g < groups_.size(); ++g) {
    LiveTable& table = *groups_[g].table;
    const GradientBatch& batch = batches_[g];
    const Table::Moved moved = table.rows().ApplyGradient(
        batch,
        {.optimizer = table.rows().config().optimizer,
         .learning_rate = places[g].learning_rate,
         .step = places[g].step},
        {places[g].ticket, lsn});
    table.NoteApplied(lsn);
    const int64_t rows_skipped = batch.rows_skipped() + moved.rows_skipped;
    LiveTable::Counters& counters = table.counters();
    counters.pushes.fetch_add(1, std::memory_order_relaxed);
    counters.rows_changed.fetch_add(moved.rows_changed,
                                    std::memory_order_relaxed);
    counters.rows_skipped.fetch_add(rows_skipped, std::memory_order_relaxed);
    for (const size_t position : groups_[g].positions) {
      results[position] = {
          .rows_changed = moved.rows_changed,
          .padding_dropped = batch.padding_dropped(),
          .rows_skipped = rows_skipped,
          .step = places[g].step,
          .weight_gradients = std::move(weight_gradients_[position])};
    }
  }
  return results;
}

}  // namespace quire
