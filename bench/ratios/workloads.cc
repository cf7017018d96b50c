#include "bench/ratios/workloads.h"

#include <random>
#include <unordered_set>

namespace quire::bench {
namespace {

// Ids of all batches together: 128 batches of W1, 128 MiB of rows.
constexpr size_t kIdCount = size_t{1} << 19;

}  // namespace

Batches::Batches(BatchShape shape, double duplicates) : size_(shape.ids) {
  std::mt19937_64 generator(42);
  std::uniform_int_distribution<int64_t> any_id(0, kRows - 1);
  std::bernoulli_distribution repeats(duplicates);
  std::unordered_set<int64_t> seen;
  while (ids_.size() + size_ <= kIdCount) {
    const size_t begin = ids_.size();
    seen.clear();
    while (ids_.size() < begin + size_) {
      if (ids_.size() > begin && repeats(generator)) {
        std::uniform_int_distribution<size_t> earlier(begin, ids_.size() - 1);
        ids_.push_back(ids_[earlier(generator)]);
      } else if (const int64_t id = any_id(generator); seen.insert(id).second) {
        ids_.push_back(id);
      }
    }
  }
}

std::span<const int64_t> Batches::Next() {
  if (next_ + size_ > ids_.size()) {
    next_ = 0;
  }
  const std::span<const int64_t> batch(&ids_[next_], size_);
  next_ += size_;
  return batch;
}

}  // namespace quire::bench
