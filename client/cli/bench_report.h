// What a bench measured, as people and programs read it.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/cli/bench_target.h"
#include "client/cli/output.h"
#include "client/load/loop.h"
#include "client/load/workload.h"

namespace quire::cli {

// One step of a bench.
struct BenchStep {
  // Closed loops: callers. Open loops: 0.
  int concurrency = 0;
  // Open loops: requests a second.
  std::optional<double> rate;
  load::LoopResult result;
};

struct BenchPlan {
  load::WorkloadSpec workload;
  int64_t dim = 0;
  load::LoopTimes times;
  Travel travel;
};

// "1 table of 1,000,000 rows × 64 floats; 4,096 ids, uniform, …"
std::string PlanText(const BenchPlan& plan);

// A line for each step and kind of request.
std::string StepsText(const BenchPlan& plan, std::span<const BenchStep> steps);

// How latencies are spread, drawn in blocks: `rows` lines between the least
// and the 99.9th percentile, in equal ratios.
std::string HistogramText(const load::LatencyHistogram& latencies, int rows);

Json ReportJson(const BenchPlan& plan, std::span<const BenchStep> steps);

}  // namespace quire::cli
