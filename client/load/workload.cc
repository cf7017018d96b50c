#include "client/load/workload.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/check.h"
#include "client/load/zipf.h"

namespace quire::load {
namespace {

// 32 MiB of ids: more than a cache of the server's holds rows.
constexpr int64_t kIdsMade = int64_t{1} << 22;

// A prime, so that pushes do not fall on the same ids in every round.
constexpr uint64_t kPushPattern = 1009;

// A factor that maps [0, n) onto itself, neighbours far apart.
int64_t ScatterFactor(int64_t n) {
  auto factor = static_cast<int64_t>(static_cast<double>(n) * 0.6180339887);
  while (std::gcd(factor, n) != 1) {
    ++factor;
  }
  return factor;
}

std::vector<int64_t> MakeIds(const WorkloadSpec& spec,
                             std::mt19937_64& random) {
  const int64_t per_request = spec.table_count * spec.batch;
  const int64_t requests = std::max<int64_t>(1, kIdsMade / per_request);
  std::vector<int64_t> ids(static_cast<size_t>(requests * per_request));
  if (!spec.zipf) {
    std::uniform_int_distribution<int64_t> uniform(0, spec.row_count - 1);
    std::ranges::generate(ids, [&] { return uniform(random); });
    return ids;
  }
  const ZipfSampler zipf(spec.row_count, *spec.zipf);
  const __int128 factor = ScatterFactor(spec.row_count);
  std::ranges::generate(ids, [&] {
    return static_cast<int64_t>(zipf(random) * factor % spec.row_count);
  });
  return ids;
}

std::vector<bool> MakePushPattern(double share, std::mt19937_64& random) {
  std::vector<bool> pattern(kPushPattern);
  const auto pushes = std::llround(share * static_cast<double>(kPushPattern));
  std::fill_n(pattern.begin(), pushes, true);
  std::shuffle(pattern.begin(), pattern.end(), random);
  return pattern;
}

}  // namespace

Workload::Workload(const WorkloadSpec& spec) : spec_(spec) {
  QUIRE_CHECK(spec.row_count > 0 && spec.batch > 0 && spec.table_count > 0 &&
                  spec.push_share >= 0 && spec.push_share <= 1,
              "a workload of something");
  std::mt19937_64 random(spec.seed);
  ids_ = MakeIds(spec, random);
  is_push_ = MakePushPattern(spec.push_share, random);
}

Request Workload::request(uint64_t index) const {
  const auto size = static_cast<size_t>(spec_.table_count * spec_.batch);
  const size_t position = index % (ids_.size() / size);
  return {.is_push = is_push_[index % kPushPattern],
          .ids = std::span(ids_).subspan(position * size, size)};
}

}  // namespace quire::load
