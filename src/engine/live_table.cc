#include "engine/live_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/status.h"

namespace quire {

LiveTable::LiveTable(const TableUid& uid, const TableUid& origin,
                     v1::TableSpec spec, std::unique_ptr<Table> rows,
                     MemoryBudget::Charge charge, MemoryBudget& budget)
    : uid_(uid),
      origin_(origin),
      spec_(std::move(spec)),
      charge_(std::move(charge)),
      rows_(std::move(rows)),
      labels_(budget) {}

absl::Status LiveTable::CheckIds(std::span<const int64_t> ids) const {
  const std::optional<size_t> bad = rows_->FirstBadId(ids);
  if (!bad) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kIdOutOfRange,
      fmt::format("table '{}': id {} at position {} is not in [0, {})", name(),
                  ids[*bad], *bad, rows_->config().num_embeddings),
      fmt::format("ids.ids[{}]", *bad));
}

void LiveTable::Lookup(std::span<const int64_t> ids, std::byte* out,
                       ElementType type) {
  rows_->Gather(ids, out, type);
  CountLookup(ids.size());
}

void LiveTable::LookupBags(std::span<const int64_t> ids, const Bags& bags,
                           std::byte* out, std::byte* winners,
                           ElementType type) {
  rows_->GatherBags(ids, bags, out, winners, type);
  CountLookup(ids.size());
}

void LiveTable::CountLookup(size_t rows) {
  counters_.lookups.fetch_add(1, std::memory_order_relaxed);
  counters_.rows_looked_up.fetch_add(static_cast<int64_t>(rows),
                                     std::memory_order_relaxed);
}

void LiveTable::NoteSequenced(uint64_t lsn) {
  const uint64_t last = sequenced_lsn_.load(std::memory_order_relaxed);
  if (applied_lsn_.load(std::memory_order_acquire) >= last) {
    // None is on its way: up to this one there is nothing to apply.
    NoteApplied(lsn - 1);
  }
  sequenced_lsn_.store(lsn, std::memory_order_release);
}

void LiveTable::NoteApplied(uint64_t lsn) {
  // A later one may be noted first.
  uint64_t applied = applied_lsn_.load(std::memory_order_relaxed);
  while (applied < lsn && !applied_lsn_.compare_exchange_weak(
                              applied, lsn, std::memory_order_acq_rel,
                              std::memory_order_relaxed)) {
  }
}

uint64_t LiveTable::AppliedUpTo(uint64_t written) const {
  // A change that is written had been noted before: the order of these loads
  // is what makes it seen.
  const uint64_t sequenced = sequenced_lsn_.load(std::memory_order_acquire);
  const uint64_t applied = applied_lsn_.load(std::memory_order_acquire);
  return applied >= sequenced ? written : std::min(applied, written);
}

void LiveTable::FillShard(ShardId shard, bool initial_values) {
  rows_->FillShard(shard, initial_values);
  shards_filled_.fetch_add(1, std::memory_order_release);
}

bool LiveTable::ready() const {
  return shards_filled_.load(std::memory_order_acquire) ==
         rows_->config().shard_count;
}

double LiveTable::filled() const {
  return static_cast<double>(shards_filled_.load(std::memory_order_relaxed)) /
         rows_->config().shard_count;
}

}  // namespace quire
