#include "engine/nearest.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "base/status.h"

namespace quire {
namespace {

// Rows that are gathered at a time: they stay in the second cache while every
// query is held against them.
constexpr int64_t kBlockFloats = 32 * 1024;

// Nearest first: by goodness, then by id.
struct Candidate {
  float goodness;  // larger is nearer, whatever the metric
  int64_t id;

  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.goodness != b.goodness ? a.goodness > b.goodness : a.id < b.id;
  }
};

// The k best seen so far: a heap with the worst of them on top.
class Best {
 public:
  explicit Best(int64_t k) : k_(static_cast<size_t>(k)) {}

  void Offer(Candidate candidate) {
    if (heap_.size() < k_) {
      heap_.push_back(candidate);
      std::push_heap(heap_.begin(), heap_.end());
    } else if (candidate < heap_.front()) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.back() = candidate;
      std::push_heap(heap_.begin(), heap_.end());
    }
  }

  const std::vector<Candidate>& candidates() const { return heap_; }

 private:
  size_t k_;
  std::vector<Candidate> heap_;
};

class Scan {
 public:
  Scan(const LiveTable& table, const NearestQuery& query,
       const kernels::Kernels& kernels)
      : table_(table),
        query_(query),
        kernels_(kernels),
        dim_(static_cast<size_t>(table.dim())) {
    for (size_t q = 0; q < query.own_ids.size(); ++q) {
      norms_.push_back(NormOf(VectorOf(q)));
    }
  }

  // Offers rows [begin, end) to each query's best.
  void Rows(int64_t begin, int64_t end, std::vector<Best>& best,
            const std::function<bool()>& stop) const {
    const int64_t block = std::max<int64_t>(1, kBlockFloats / table_.dim());
    std::vector<int64_t> ids;
    std::vector<float> rows;
    for (int64_t first = begin; first < end && !stop(); first += block) {
      ids.resize(static_cast<size_t>(std::min(block, end - first)));
      rows.resize(ids.size() * dim_);
      std::iota(ids.begin(), ids.end(), first);
      table_.rows().Gather(ids, reinterpret_cast<std::byte*>(rows.data()));
      for (size_t i = 0; i < ids.size(); ++i) {
        OfferRow(ids[i], &rows[i * dim_], best);
      }
    }
  }

  float ScoreOf(const Candidate& candidate) const {
    return query_.metric == Metric::kL2 ? -candidate.goodness
                                        : candidate.goodness;
  }

 private:
  const float* VectorOf(size_t q) const { return &query_.vectors[q * dim_]; }

  float NormOf(const float* vector) const {
    return std::sqrt(kernels_.dot(vector, vector, dim_));
  }

  void OfferRow(int64_t id, const float* row, std::vector<Best>& best) const {
    if (std::ranges::binary_search(query_.excluded_ids, id)) {
      return;
    }
    const float norm = query_.metric == Metric::kCosine ? NormOf(row) : 0.0f;
    for (size_t q = 0; q < best.size(); ++q) {
      if (query_.own_ids[q] == id) {
        continue;
      }
      const float goodness = GoodnessOf(q, row, norm);
      if (!std::isnan(goodness)) {
        best[q].Offer({.goodness = goodness, .id = id});
      }
    }
  }

  float GoodnessOf(size_t q, const float* row, float norm) const {
    switch (query_.metric) {
      case Metric::kDot:
        return kernels_.dot(VectorOf(q), row, dim_);
      case Metric::kL2:
        return -std::sqrt(kernels_.squared_distance(VectorOf(q), row, dim_));
      case Metric::kCosine:
        break;
    }
    const float norms = norms_[q] * norm;
    return norms == 0.0f ? 0.0f : kernels_.dot(VectorOf(q), row, dim_) / norms;
  }

  const LiveTable& table_;
  const NearestQuery& query_;
  const kernels::Kernels& kernels_;
  const size_t dim_;
  std::vector<float> norms_;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<Neighbour>>> Nearest(
    const LiveTable& table, const NearestQuery& query,
    const kernels::Kernels& kernels, WorkerPool& workers,
    const std::function<bool()>& cancelled) {
  const Scan scan(table, query, kernels);
  const int64_t rows = table.rows().config().num_embeddings;
  const int64_t parts = 2 * (workers.thread_count() + 1);
  // Each part keeps its own best: nothing is shared while it scans.
  std::vector<std::vector<Best>> best(
      static_cast<size_t>(parts),
      std::vector<Best>(query.own_ids.size(), Best(query.k)));
  // Relaxed: a hint to stop; ParallelFor's end orders the rest.
  std::atomic<bool> stopped = false;
  workers.ParallelFor(parts, [&](int64_t part) {
    scan.Rows(rows * part / parts, rows * (part + 1) / parts,
              best[static_cast<size_t>(part)], [&] {
                if (cancelled()) {
                  stopped.store(true, std::memory_order_relaxed);
                }
                return stopped.load(std::memory_order_relaxed);
              });
  });
  if (stopped.load(std::memory_order_relaxed)) {
    return Error(Reason::kCancelled, "the scan was cancelled");
  }

  std::vector<std::vector<Neighbour>> neighbours(query.own_ids.size());
  for (size_t q = 0; q < neighbours.size(); ++q) {
    std::vector<Candidate> all;
    for (const std::vector<Best>& part : best) {
      const std::vector<Candidate>& some = part[q].candidates();
      all.insert(all.end(), some.begin(), some.end());
    }
    std::sort(all.begin(), all.end());
    all.resize(std::min(all.size(), static_cast<size_t>(query.k)));
    for (const Candidate& candidate : all) {
      neighbours[q].push_back(
          {.id = candidate.id, .score = scan.ScoreOf(candidate)});
    }
  }
  return neighbours;
}

}  // namespace quire
