#include "table/shard.h"

#include <cstring>

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

size_t Shard::Writer::Apply(const GradientChange& change) {
  const RowLayout& layout = shard_.layout_;
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
