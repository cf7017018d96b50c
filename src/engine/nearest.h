// Which rows are near which vectors: an exact scan of a table.

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/worker_pool.h"
#include "engine/live_table.h"
#include "kernels/kernels.h"

namespace quire {

enum class Metric : uint8_t {
  kCosine,  // larger is nearer; a zero vector scores 0
  kDot,     // larger is nearer
  kL2,      // Euclidean distance: smaller is nearer
};

struct NearestQuery {
  Metric metric = Metric::kCosine;
  // Neighbours per query, 1 or more.
  int64_t k = 10;
  // float32 [queries, dim]
  std::span<const float> vectors;
  // [queries]: a row that is not its own neighbour, or -1 for none.
  std::span<const int64_t> own_ids;
  // Rows that are nobody's neighbours: ascending.
  std::span<const int64_t> excluded_ids;
};

struct Neighbour {
  int64_t id;
  float score;  // as the metric says
};

// The neighbours of each query, nearest first, ties by smaller id; a row whose
// score is NaN is nobody's neighbour. The scan runs on the calling thread and
// on idle ones of `workers`; CANCELLED soon after `cancelled` returns true,
// which is asked from all of them.
absl::StatusOr<std::vector<std::vector<Neighbour>>> Nearest(
    const LiveTable& table, const NearestQuery& query,
    const kernels::Kernels& kernels, WorkerPool& workers,
    const std::function<bool()>& cancelled);

}  // namespace quire
