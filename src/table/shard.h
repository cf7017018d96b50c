// One shard of one table: the unit of ordering, logging and moving.
//
//   values  float32 [slot_count, dim]           rows, one after the other
//   state   float32 [slot_count, state_floats]  the optimizer's, beside them
//
// For snapshots a shard is cut into chunks, runs of slots of about a megabyte.
// A copied chunk has the LSN of the last change that is in it. A chunk that was
// loaded lets later changes pass, and those that are in it not. Of a table
// whose changes have no LSN all chunks are copied as of one ticket.
//
// Thread safety: one writer at a time, in ticket order, or one copy of a chunk;
// readers never wait for either, a row's stripe keeps its bytes whole.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/memory.h"
#include "base/mutex.h"
#include "kernels/kernels.h"
#include "row/optimizer.h"
#include "table/turnstile.h"

namespace quire {

// The shape of a table's rows, and what works on them. Constant.
struct RowLayout {
  int64_t dim = 0;
  int64_t state_floats = 0;
  const kernels::Kernels* kernels = nullptr;
  kernels::Stripes* stripes = nullptr;
  // A row whose new bytes would not be finite is left as it was.
  bool keep_finite = true;
  // A row's value is the stored row, renormalised.
  std::optional<kernels::Renorm> renorm;

  // Slots of one chunk of a snapshot.
  int64_t ChunkSlots() const {
    constexpr int64_t kChunkFloats = (int64_t{1} << 20) / sizeof(float);
    return std::max<int64_t>(1, kChunkFloats / (dim + state_floats));
  }

  size_t ScratchFloats() const {
    return kernels::StepScratchFloats(static_cast<size_t>(dim),
                                      static_cast<size_t>(state_floats));
  }
};

// A step of some rows of a shard.
//   rows     no row twice; the last `ahead` of them are the next shard's, which
//            are prefetched
//   scratch  RowLayout::ScratchFloats() floats
struct GradientChange {
  const OptimizerStep& step;
  std::span<const kernels::RowUpdate> rows;
  size_t ahead = 0;
  float* scratch = nullptr;
};

// New bytes for one row of a shard.
struct RowChange {
  int64_t slot;
  const float* values;  // [dim]
  const float* state;   // [state_floats]; null: the state stays
};

class Shard {
 public:
  // The right to change a shard: its ticket's turn, while it lives.
  class Writer;

  // `values` and `state` are this shard's parts of the table's memory, of
  // `slot_count` slots.
  Shard(const RowLayout& layout, int64_t slot_count, float* values,
        float* state)
      : layout_(layout),
        slot_count_(slot_count),
        values_(values),
        state_(state),
        is_written_(static_cast<size_t>(chunk_count())),
        unwritten_count_(chunk_count()) {}

  float* ValuesAt(int64_t slot) const { return values_ + slot * layout_.dim; }
  // Some address, not to be followed, if rows have no state.
  float* StateAt(int64_t slot) const {
    return state_ + slot * layout_.state_floats;
  }

  // Copies one row and its state, both as of one moment.
  //   values  [dim]
  //   state   [state_floats], or null
  void ReadRow(int64_t slot, float* values, float* state) const;

  // --- Chunks ---

  int64_t chunk_count() const {
    const int64_t slots = layout_.ChunkSlots();
    return (slot_count_ + slots - 1) / slots;
  }
  // Of one chunk: values, then state.
  size_t ChunkFloats(int64_t chunk) const;

  // Chunks will be copied, or will be no more. A writer whose ticket was given
  // out after SetCopied(true) keeps out of copies; those before must have left
  // (HasTurn) when the first chunk is copied. While there are no copies, a
  // writer pays nothing for them: to take a mutex is to wait for all writes to
  // rows that are under way.
  void SetCopied(bool is_copied) {
    is_copied_.store(is_copied, std::memory_order_release);
  }
  // Whether all changes before this ticket are in the rows.
  bool HasTurn(Ticket ticket) const { return turnstile_.HasTurn(ticket); }
  // Whether a row of the chunk has been changed, or the chunk was loaded; if
  // not, it is as FillShard has made it.
  bool IsWritten(int64_t chunk) const;
  // Copies a chunk as it is between two changes: float32 [ChunkFloats]. Returns
  // the LSN of the last change that is in it.
  uint64_t CopyChunk(int64_t chunk, float* out) const;
  // While chunks are copied: copies are as of `ticket` from here on, with all
  // changes before it and none after. A later writer first puts aside what it
  // is to change, for as long as `budget` has room; then it waits until that
  // has been copied. Before a writer of `ticket` or later comes.
  void BeginCopyAsOf(Ticket ticket, MemoryBudget& budget);
  // Copies a chunk, as CopyChunk does: each once, when HasTurn(ticket).
  void CopyChunkAsOf(int64_t chunk, float* out);
  // Copied or not: no writer waits any more.
  void EndCopyAsOf();
  // Before the shard serves: the chunk is what was copied, and has all changes
  // up to `lsn`.
  void LoadChunk(int64_t chunk, const float* in, uint64_t lsn);

 private:
  // A copy as of a ticket, as far as it has come.
  struct CopyAsOf {
    struct Chunk {
      bool is_copied = false;
      // As of the ticket, once a later writer has come.
      std::vector<float> aside;
      MemoryBudget::Charge charge;
    };
    Ticket ticket;
    MemoryBudget& budget;
    std::vector<Chunk> chunks;
  };

  // What a chunk that was loaded has already.
  bool HasChange(int64_t slot, uint64_t lsn) const;
  // As it is now.
  void CopyRows(int64_t chunk, float* out) const;
  void MarkWritten(int64_t chunk);
  // Before a change of the slot by a writer of `ticket`.
  void PutAside(int64_t slot, Ticket ticket) QUIRE_REQUIRES(change_mutex_);

  // Constant after construction.
  const RowLayout layout_;
  const int64_t slot_count_;

  // Row bytes: each row under its stripe.
  float* const values_;
  float* const state_;

  // Whose turn it is to write.
  Turnstile turnstile_;
  // Acquired in Writer: once it is false, what was copied has been read.
  std::atomic<bool> is_copied_ = false;
  // Held by whoever copies a chunk, and by writers while is_copied_.
  mutable Mutex change_mutex_;
  // Of the writer whose turn it is; of the copier when it has the mutex.
  uint64_t lsn_ = 0;
  // The same, of each chunk; and how many are not.
  std::vector<uint8_t> is_written_;
  int64_t unwritten_count_;
  // Null: there is none.
  std::unique_ptr<CopyAsOf> copy_as_of_ QUIRE_GUARDED_BY(change_mutex_);
  CondVar chunk_copied_;

  // Constant once the shard serves: of each chunk, and the highest. Empty: none
  // was loaded.
  std::vector<uint64_t> loaded_lsns_;
  uint64_t loaded_lsn_max_ = 0;
};

class QUIRE_SCOPED_CAPABILITY Shard::Writer {
 public:
  // Waits until all earlier tickets have left the shard.
  Writer(Shard& shard, ChangePlace place)
      QUIRE_ACQUIRE(shard.turnstile_) QUIRE_NO_THREAD_SAFETY_ANALYSIS
      : shard_(shard),
        place_(place) {
    shard_.turnstile_.Enter(place.ticket);
    is_locked_ = shard_.is_copied_.load(std::memory_order_acquire);
    if (is_locked_) {
      shard_.change_mutex_.lock();
    }
  }
  ~Writer() QUIRE_RELEASE() QUIRE_NO_THREAD_SAFETY_ANALYSIS {
    shard_.lsn_ = std::max(shard_.lsn_, place_.lsn);
    if (is_locked_) {
      shard_.change_mutex_.unlock();
    }
    shard_.turnstile_.Leave(place_.ticket);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Changes rows of this shard: nothing else does, once a table serves.
  // Returns how many rows were left as they were: RowLayout::keep_finite.
  size_t Apply(const GradientChange& change);
  void Apply(const RowChange& change);

 private:
  // The slot is about to be changed: see BeginCopyAsOf and IsWritten.
  void BeforeChangeOf(int64_t slot);
  // Without the rows that have the change already.
  size_t ApplyToOthers(const GradientChange& change);
  size_t ApplyToAll(const GradientChange& change);

  Shard& shard_;
  const ChangePlace place_;
  bool is_locked_ = false;
};

}  // namespace quire
