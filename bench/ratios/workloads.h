// The workloads that everything is measured with: the same ids for our side
// and for its ceiling.
//
//   W1  4096 uniform ids of a table of 1M rows x 64 float32 -> 1 MiB
//   W2  26 ids of a table of 1M rows x 16
//   W4  a push of 4096 ids and 1 MiB of gradients, row-wise Adagrad

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quire::bench {

inline constexpr int64_t kRows = 1'000'000;

struct BatchShape {
  size_t ids;
  size_t dim;

  size_t floats() const { return ids * dim; }
};
inline constexpr BatchShape kW1{.ids = 4096, .dim = 64};
inline constexpr BatchShape kW2{.ids = 26, .dim = 16};
inline constexpr BatchShape kW4 = kW1;

// So many batches, one after the other, that no row of one is still in a cache
// when it comes again.
class Batches {
 public:
  //   duplicates  share of the ids of a batch that repeat an earlier one of it
  Batches(BatchShape shape, double duplicates);

  // The next batch: [shape.ids]. The same sequence in every run.
  std::span<const int64_t> Next();

 private:
  const size_t size_;
  std::vector<int64_t> ids_;
  size_t next_ = 0;
};

}  // namespace quire::bench
