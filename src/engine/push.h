// A push: what comes in, what it did, and the steps between.
//
//   parts, as the request brings them ──Make──► one batch for each table
//                     ──places, from the Sequencer──► Apply ──► results
//
// A push that is replayed from the log goes the same way.
//
// Thread safety: plain values; one thread at a time for a PreparedPush.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "engine/live_table.h"
#include "engine/sequencer.h"
#include "kernels/kernels.h"
#include "table/gradient_batch.h"
#include "tensor/bags.h"

namespace quire {

// Gradients for rows of one table, as a request brings them.
struct PushPart {
  TableHandle table;
  // [n]
  std::span<const int64_t> ids;
  // float32 [n, dim], or with bags [bags, dim]: its size is right, and so are
  // those of the bags' arrays.
  ByteRange gradient;
  // In place of the table's, for this push: finite, 0 or more. Parts of one
  // table that bring one bring the same.
  std::optional<double> learning_rate = std::nullopt;
  // The bags of the lookup that this is the gradient of.
  std::optional<Bags> bags = std::nullopt;
  // Multiplies what came, before everything: finite.
  std::optional<double> gradient_scale = std::nullopt;
  // Of SUM bags with weights.
  bool return_weight_gradients = false;
  // Refused by tables to which it matters how often an id occurs.
  bool duplicates_summed = false;
};

// What a push did to the table of one part. Parts of one table get the same,
// but for the gradients of their weights.
struct PushResult {
  int64_t rows_changed = 0;
  int64_t padding_dropped = 0;
  int64_t rows_skipped = 0;
  int64_t step = 0;
  // When asked for: [n], from the rows as they were before the push.
  std::vector<float> weight_gradients;
};

// Checked whole. Views its parts, which outlive it.
class PreparedPush {
 public:
  // Errors name fields as "tables[i].…".
  static absl::StatusOr<PreparedPush> Make(std::span<const PushPart> parts,
                                           const kernels::Kernels& kernels);

  // One for each table, in the order of their first parts.
  std::vector<Sequencer::PushIntent> Intents() const;
  size_t group_count() const { return groups_.size(); }
  LiveTable& table(size_t group) const { return *groups_[group].table; }
  // The parts of a table, by their index.
  std::span<const size_t> positions(size_t group) const {
    return groups_[group].positions;
  }

  // An error about a table, with the field of its first part.
  absl::Status Refusal(absl::Status status, size_t group) const;

  // The step, in its place in each table's order; once. [parts]
  //   lsn  0 for MEMORY tables
  std::vector<PushResult> Apply(std::span<const Sequencer::PushPlace> places,
                                uint64_t lsn);

 private:
  // The parts of one table.
  struct Group {
    LiveTable* table;
    std::vector<GradientPart> parts;
    std::vector<size_t> positions;
    std::optional<double> learning_rate;
  };

  explicit PreparedPush(std::span<const PushPart> parts) : parts_(parts) {}
  absl::Status GroupByTable();
  void AddWeightGradients();

  std::span<const PushPart> parts_;
  std::vector<Group> groups_;
  // Of each group.
  std::vector<GradientBatch> batches_;
  // Of each part that wants them: [n].
  std::vector<std::vector<float>> weight_gradients_;
};

}  // namespace quire
