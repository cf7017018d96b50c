// The engine in this process, beside the plainest loops that could do the same
// on the same memory: no locks, no checks, no shards.

#pragma once

#include "bench/ratios/pairs.h"

namespace quire::bench {

// W1 on one thread, no writer: LiveTable::CheckIds and Lookup of a whole batch,
// of the prefetched memcpy loop.
std::vector<Measured> MeasureGather(const PairPlan& plan);

// A thread that looks up (W1) and one that pushes (W4, row-wise Adagrad) at
// once, of two such threads without locks. Two levels: the rows alone (what
// the stripes cost), and Engine::ApplyGradient (which also checks that all is
// finite, sums duplicates and orders writers; its ceiling does none of it).
std::vector<Measured> MeasureGatherWithApply(const PairPlan& plan);

}  // namespace quire::bench
