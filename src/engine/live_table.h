// A table of the catalog: its rows, its labels, what it is called and what it
// has done. Requests hold it by a TableHandle; a dropped table stays until the
// last of them lets go.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/memory.h"
#include "quire/v1/table.pb.h"
#include "table/labels.h"
#include "table/table.h"
#include "tensor/bags.h"
#include "tensor/element_type.h"

namespace quire {

class LiveTable {
 public:
  // What a table has done since it was made. Relaxed: figures for people.
  struct Counters {
    std::atomic<int64_t> lookups = 0;
    std::atomic<int64_t> rows_looked_up = 0;
    std::atomic<int64_t> pushes = 0;
    std::atomic<int64_t> rows_changed = 0;
    std::atomic<int64_t> rows_skipped = 0;
  };

  // `spec` is normalized; `charge` is for the rows, `budget` for the labels.
  LiveTable(const TableUid& uid, const TableUid& origin, v1::TableSpec spec,
            std::unique_ptr<Table> rows, MemoryBudget::Charge charge,
            MemoryBudget& budget);

  const TableUid& uid() const { return uid_; }
  // The incarnation that was created, where this one is what it once was,
  // rewound; else its own.
  const TableUid& origin() const { return origin_; }
  const std::string& name() const { return spec_.name(); }
  // As it was created. What may be altered is with the Sequencer.
  const v1::TableSpec& created_spec() const { return spec_; }
  int64_t dim() const { return rows_->config().dim; }
  // Its changes are in the log before they are made.
  bool is_logged() const {
    return spec_.persistence() == v1::PERSISTENCE_LOGGED;
  }

  Table& rows() { return *rows_; }
  const Table& rows() const { return *rows_; }
  RowLabels& labels() { return labels_; }
  const RowLabels& labels() const { return labels_; }
  Counters& counters() { return counters_; }
  const Counters& counters() const { return counters_; }

  // OUT_OF_RANGE, naming the first id that is not of this table.
  absl::Status CheckIds(std::span<const int64_t> ids) const;

  // A lookup: checked ids in, rows out, counted. See Table::Gather.
  void Lookup(std::span<const int64_t> ids, std::byte* out,
              ElementType type = ElementType::kFloat32);
  // The same, pooled. See Table::GatherBags.
  void LookupBags(std::span<const int64_t> ids, const Bags& bags,
                  std::byte* out, std::byte* winners,
                  ElementType type = ElementType::kFloat32);

  // --- Positions, of LOGGED tables ---

  // A change of that LSN has a place in the table's order. By the sequencer, in
  // the order of LSNs, before the log has the change.
  void NoteSequenced(uint64_t lsn);
  // It has passed all shards, and so have those before it.
  void NoteApplied(uint64_t lsn);
  // All changes of the table up to there have been applied: whoever reads rows
  // after this sees them. Never goes back.
  //   written  Log::written_lsn, read before
  uint64_t AppliedUpTo(uint64_t written) const;

  // --- Initial rows ---

  // Writes the initial rows of one shard. See Table::FillShard.
  void FillShard(ShardId shard, bool initial_values);
  // The table serves once all shards are filled.
  bool ready() const;
  // Share of shards filled, 0 .. 1.
  double filled() const;
  // Whoever fills the table may stop: nobody will ask for it.
  void Abandon() { abandoned_.store(true, std::memory_order_relaxed); }
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }

  // --- Of MEMORY tables with a data directory ---

  // When its rows were saved last, in seconds since 1970; 0: never.
  int64_t saved_unix_seconds() const {
    return saved_unix_seconds_.load(std::memory_order_relaxed);
  }
  void SetSaved(int64_t unix_seconds) {
    saved_unix_seconds_.store(unix_seconds, std::memory_order_relaxed);
  }

 private:
  void CountLookup(size_t rows);

  // Constant after construction.
  const TableUid uid_;
  const TableUid origin_;
  const v1::TableSpec spec_;
  const MemoryBudget::Charge charge_;

  // Each guards itself.
  const std::unique_ptr<Table> rows_;
  RowLabels labels_;
  Counters counters_;

  // The last change that has a place, and one such that all up to it have been
  // applied. Release by the functions that note them; pairs with AppliedUpTo.
  std::atomic<uint64_t> sequenced_lsn_ = 0;
  std::atomic<uint64_t> applied_lsn_ = 0;

  // Release by FillShard; pairs with the acquire of ready().
  std::atomic<int32_t> shards_filled_ = 0;
  // Relaxed: a hint, and a figure for people.
  std::atomic<bool> abandoned_ = false;
  std::atomic<int64_t> saved_unix_seconds_ = 0;
};

// Pins a table.
using TableHandle = std::shared_ptr<LiveTable>;

}  // namespace quire
