// Labels of a table's rows: one byte string per row, found in both
// directions.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/memory.h"
#include "base/mutex.h"

namespace quire {

class RowLabels {
 public:
  // `budget` is charged for what labels take, and outlives this.
  explicit RowLabels(MemoryBudget& budget);

  // The right to what some labels take.
  using Room = MemoryBudget::Charge;
  // RESOURCE_EXHAUSTED (MEMORY_FULL) if the budget cannot take them.
  absl::StatusOr<Room> Reserve(std::span<const std::string_view> labels);

  // Sets labels[i] of ids[i], in order; an empty one removes. Of ids that are
  // given twice the last counts. `room` is what Reserve gave for these labels.
  void Set(std::span<const int64_t> ids,
           std::span<const std::string_view> labels, Room room);

  // The label of each id; empty where it has none.
  std::vector<std::string> Get(std::span<const int64_t> ids) const;

  // The smallest id that has this label, or -1.
  int64_t Find(std::string_view label) const;

  int64_t count() const;
  int64_t bytes() const;

 private:
  // Takes away the label of `id`; returns the bytes that this frees.
  int64_t Remove(int64_t id) QUIRE_REQUIRES(mutex_);

  MemoryBudget& budget_;

  mutable SharedMutex mutex_;
  absl::flat_hash_map<int64_t, std::string> label_of_ QUIRE_GUARDED_BY(mutex_);
  // Ascending ids of each label. Nearly always one: duplicate words are rare.
  absl::flat_hash_map<std::string, std::vector<int64_t>> ids_of_
      QUIRE_GUARDED_BY(mutex_);
  // For all of the above.
  MemoryBudget::Charge charge_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire
