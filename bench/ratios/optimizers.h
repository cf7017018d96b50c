// Every optimizer's step beside the bandwidth of this machine's memory.

#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "bench/ratios/pairs.h"

namespace quire::bench {

// One optimizer that is measured; 0 where no ratio is asked for.
struct MeasuredOptimizer {
  std::string_view name;
  double gate;
};
std::span<const MeasuredOptimizer> MeasuredOptimizers();

// One thread's kernel on pushes of W4's shape, each with a gradient of its own,
// in bytes: a step reads and writes a row's values and state, and reads its
// gradient. Of
//   optimizer_NAME_bandwidth   what memory carries at these places: a loop that
//                              touches the same bytes of the same rows
//   optimizer_NAME_sequential  what it carries when nothing waits for it: one
//                              long array added to another. No ratio is asked
//                              for: rows lie where their ids put them
std::vector<Measured> MeasureOptimizer(const MeasuredOptimizer& optimizer,
                                       const PairPlan& plan);

}  // namespace quire::bench
