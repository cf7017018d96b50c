#include "table/shard.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/faults.h"

namespace quire {
namespace {

size_t FloatBytes(int64_t count) {
  return static_cast<size_t>(count) * sizeof(float);
}

}  // namespace

void Shard::ReadRow(int64_t slot, float* values, float* state) const {
  const float* row = ValuesAt(slot);
  uint8_t* stripe = kernels::StripeOf(layout_.stripes, row);
  kernels::LockStripe(stripe);
  std::memcpy(values, row, FloatBytes(layout_.dim));
  if (state != nullptr) {
    std::memcpy(state, StateAt(slot), FloatBytes(layout_.state_floats));
  }
  kernels::UnlockStripe(stripe);
}

size_t Shard::ChunkFloats(int64_t chunk) const {
  const int64_t begin = chunk * layout_.ChunkSlots();
  const int64_t slots = std::min(layout_.ChunkSlots(), slot_count_ - begin);
  return static_cast<size_t>(slots * (layout_.dim + layout_.state_floats));
}

void Shard::CopyRows(int64_t chunk, float* out) const {
  const int64_t begin = chunk * layout_.ChunkSlots();
  const int64_t slots = std::min(layout_.ChunkSlots(), slot_count_ - begin);
  std::memcpy(out, ValuesAt(begin), FloatBytes(slots * layout_.dim));
  std::memcpy(out + slots * layout_.dim, StateAt(begin),
              FloatBytes(slots * layout_.state_floats));
}

bool Shard::IsWritten(int64_t chunk) const {
  MutexLock lock(change_mutex_);
  return is_written_[static_cast<size_t>(chunk)] != 0;
}

void Shard::MarkWritten(int64_t chunk) {
  uint8_t& is_written = is_written_[static_cast<size_t>(chunk)];
  unwritten_count_ -= is_written == 0 ? 1 : 0;
  is_written = 1;
}

uint64_t Shard::CopyChunk(int64_t chunk, float* out) const {
  // Nobody writes: no stripe is needed.
  MutexLock lock(change_mutex_);
  CopyRows(chunk, out);
  return lsn_;
}

void Shard::BeginCopyAsOf(Ticket ticket, MemoryBudget& budget) {
  MutexLock lock(change_mutex_);
  copy_as_of_ = std::make_unique<CopyAsOf>(CopyAsOf{
      .ticket = ticket,
      .budget = budget,
      .chunks =
          std::vector<CopyAsOf::Chunk>(static_cast<size_t>(chunk_count()))});
}

void Shard::CopyChunkAsOf(int64_t chunk, float* out) {
  MutexLock lock(change_mutex_);
  CopyAsOf::Chunk& copied = copy_as_of_->chunks[static_cast<size_t>(chunk)];
  if (copied.aside.empty()) {
    CopyRows(chunk, out);
  } else {
    std::ranges::copy(copied.aside, out);
  }
  copied = CopyAsOf::Chunk();
  copied.is_copied = true;
  chunk_copied_.NotifyAll();
}

void Shard::EndCopyAsOf() {
  MutexLock lock(change_mutex_);
  copy_as_of_.reset();
  chunk_copied_.NotifyAll();
}

void Shard::PutAside(int64_t slot, Ticket ticket) {
  const int64_t chunk = slot / layout_.ChunkSlots();
  while (copy_as_of_ != nullptr && ticket >= copy_as_of_->ticket) {
    CopyAsOf::Chunk& kept = copy_as_of_->chunks[static_cast<size_t>(chunk)];
    if (kept.is_copied || !kept.aside.empty()) {
      return;
    }
    const size_t floats = ChunkFloats(chunk);
    if (copy_as_of_->budget.TryCharge(
            static_cast<int64_t>(floats * sizeof(float)), kept.charge)) {
      kept.aside.resize(floats);
      CopyRows(chunk, kept.aside.data());
      return;
    }
    chunk_copied_.Wait(change_mutex_);
  }
}

void Shard::LoadChunk(int64_t chunk, const float* in, uint64_t lsn) {
  const int64_t begin = chunk * layout_.ChunkSlots();
  const int64_t slots = std::min(layout_.ChunkSlots(), slot_count_ - begin);
  std::memcpy(ValuesAt(begin), in, FloatBytes(slots * layout_.dim));
  std::memcpy(StateAt(begin), in + slots * layout_.dim,
              FloatBytes(slots * layout_.state_floats));
  MutexLock lock(change_mutex_);  // two threads may load one shard
  loaded_lsns_.resize(static_cast<size_t>(chunk_count()));
  loaded_lsns_[static_cast<size_t>(chunk)] = lsn;
  MarkWritten(chunk);
  loaded_lsn_max_ = std::max(loaded_lsn_max_, lsn);
  lsn_ = std::max(lsn_, lsn);
}

bool Shard::HasChange(int64_t slot, uint64_t lsn) const {
  return !QUIRE_FAULT("chunk_lsns_ignored") && lsn <= loaded_lsn_max_ &&
         lsn > 0 &&
         lsn <= loaded_lsns_[static_cast<size_t>(slot / layout_.ChunkSlots())];
}

size_t Shard::Writer::Apply(const GradientChange& change) {
  return place_.lsn > shard_.loaded_lsn_max_ || place_.lsn == 0
             ? ApplyToAll(change)
             : ApplyToOthers(change);
}

size_t Shard::Writer::ApplyToOthers(const GradientChange& change) {
  std::vector<kernels::RowUpdate> rows;
  const size_t count = change.rows.size() - change.ahead;
  std::ranges::copy_if(change.rows.first(count), std::back_inserter(rows),
                       [this](const kernels::RowUpdate& row) {
                         const int64_t slot =
                             (row.values - shard_.values_) / shard_.layout_.dim;
                         return !shard_.HasChange(slot, place_.lsn);
                       });
  return ApplyToAll({.step = change.step,
                     .rows = rows,
                     .ahead = 0,
                     .scratch = change.scratch});
}

void Shard::Writer::BeforeChangeOf(int64_t slot)
    QUIRE_NO_THREAD_SAFETY_ANALYSIS {
  if (is_locked_) {
    shard_.PutAside(slot, place_.ticket);
  }
  shard_.MarkWritten(slot / shard_.layout_.ChunkSlots());
}

size_t Shard::Writer::ApplyToAll(const GradientChange& change) {
  const RowLayout& layout = shard_.layout_;
  // Mostly neither: all chunks have been written, and none is being copied.
  if (is_locked_ || shard_.unwritten_count_ > 0) {
    for (const kernels::RowUpdate& row :
         change.rows.first(change.rows.size() - change.ahead)) {
      BeforeChangeOf((row.values - shard_.values_) / layout.dim);
    }
  }
  const bool renorm = layout.renorm && !QUIRE_FAULT("renorm_not_stored");
  return change.step.Apply(
      *layout.kernels,
      {.rows = change.rows.data(),
       .count = change.rows.size() - change.ahead,
       .ahead = change.ahead,
       .dim = static_cast<size_t>(layout.dim),
       .state_floats = static_cast<size_t>(layout.state_floats),
       .stripes = layout.stripes,
       .scratch = change.scratch,
       .keep_finite = layout.keep_finite,
       .renorm = renorm ? &*layout.renorm : nullptr});
}

void Shard::Writer::Apply(const RowChange& change) {
  if (shard_.HasChange(change.slot, place_.lsn)) {
    return;
  }
  BeforeChangeOf(change.slot);
  const RowLayout& layout = shard_.layout_;
  float* row = shard_.ValuesAt(change.slot);
  uint8_t* stripe = kernels::StripeOf(layout.stripes, row);
  kernels::LockStripe(stripe);
  std::memcpy(row, change.values, FloatBytes(layout.dim));
  if (change.state != nullptr) {
    std::memcpy(shard_.StateAt(change.slot), change.state,
                FloatBytes(layout.state_floats));
  }
  kernels::UnlockStripe(stripe);
}

}  // namespace quire
