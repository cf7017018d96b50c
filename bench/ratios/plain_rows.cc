#include "bench/ratios/plain_rows.h"

#include <algorithm>
#include <cstring>

#include "bench/plain_step.h"
#include "bench/ratios/workloads.h"

namespace quire::bench {
namespace {

constexpr size_t kRowBytes = kW1.dim * sizeof(float);

Pages ZeroPages(size_t bytes) {
  Pages pages = *Pages::Map(bytes);
  pages.Populate(0, pages.size());
  return pages;
}

}  // namespace

PlainRows::PlainRows()
    : values_(ZeroPages(static_cast<size_t>(kRows) * kRowBytes)),
      state_(ZeroPages(static_cast<size_t>(kRows) * sizeof(float))) {}

float* PlainRows::ValuesAt(int64_t id) const {
  return reinterpret_cast<float*>(values_.data()) +
         static_cast<size_t>(id) * kW1.dim;
}

void PlainRows::Gather(std::span<const int64_t> ids, std::byte* out) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t ahead = std::min(i + kernels::kPrefetchRows, ids.size() - 1);
    const float* later = ValuesAt(ids[ahead]);
    for (size_t line = 0; line < kW1.dim; line += 16) {
      __builtin_prefetch(later + line);
    }
    std::memcpy(out + i * kRowBytes, ValuesAt(ids[i]), kRowBytes);
  }
}

void PlainRows::Apply(std::span<const int64_t> ids, const std::byte* gradient) {
  updates_.clear();
  for (size_t i = 0; i < ids.size(); ++i) {
    updates_.push_back(
        {.values = ValuesAt(ids[i]),
         .state = reinterpret_cast<float*>(state_.data()) + ids[i],
         .gradient = gradient + i * kRowBytes});
  }
  StepPlainly(updates_.data(), updates_.size(), kW1.dim,
              {.lr = kPlainLearningRate, .eps = kPlainEps});
}

}  // namespace quire::bench
