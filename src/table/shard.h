// One shard of one table: the unit of ordering, logging and moving.
//
//   values  float32 [slot_count, dim]           rows, one after the other
//   state   float32 [slot_count, state_floats]  the optimizer's, beside them
//
// Thread safety: one writer at a time, in ticket order; readers never wait
// for it, a row's stripe keeps its bytes whole.

#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/ids.h"
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

  // `values` and `state` are this shard's parts of the table's memory.
  Shard(const RowLayout& layout, float* values, float* state)
      : layout_(layout), values_(values), state_(state) {}

  float* ValuesAt(int64_t slot) const { return values_ + slot * layout_.dim; }
  // Some address, not to be followed, if rows have no state.
  float* StateAt(int64_t slot) const {
    return state_ + slot * layout_.state_floats;
  }

  // Copies one row and its state, both as of one moment.
  //   values  [dim]
  //   state   [state_floats], or null
  void ReadRow(int64_t slot, float* values, float* state) const;

 private:
  // Constant after construction.
  const RowLayout layout_;

  // Row bytes: each row under its stripe.
  float* const values_;
  float* const state_;

  // Whose turn it is to write.
  Turnstile turnstile_;
};

class QUIRE_SCOPED_CAPABILITY Shard::Writer {
 public:
  // Waits until all earlier tickets have left the shard.
  Writer(Shard& shard, Ticket ticket) QUIRE_ACQUIRE(shard.turnstile_)
      : shard_(shard), ticket_(ticket) {
    shard_.turnstile_.Enter(ticket);
  }
  ~Writer() QUIRE_RELEASE() { shard_.turnstile_.Leave(ticket_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Changes rows of this shard: nothing else does, once a table serves.
  // Returns how many rows were left as they were: RowLayout::keep_finite.
  size_t Apply(const GradientChange& change);
  void Apply(const RowChange& change);

 private:
  Shard& shard_;
  const Ticket ticket_;
};

}  // namespace quire
