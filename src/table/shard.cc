#include "table/shard.h"

#include <cstring>

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

void Shard::Writer::Apply(const GradientChange& change) {
  const RowLayout& layout = shard_.layout_;
  change.step.Apply(*layout.kernels, *layout.stripes, change.rows, change.ahead,
                    layout.dim);
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
