#include "client/load/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "main/seed.h"

namespace quire::load {
namespace {

TEST(WorkloadTest, IdsAreThoseOfTheTableAndAsManyAsAsked) {
  for (int64_t rows : {1, 2, 1000}) {
    for (std::optional<double> zipf : {std::optional<double>(), {1.05}}) {
      const Workload workload({.row_count = rows,
                               .table_count = 3,
                               .batch = 7,
                               .zipf = zipf,
                               .seed = testing::Seed()});
      for (uint64_t i = 0; i < 100; ++i) {
        const Request request = workload.request(i);
        ASSERT_EQ(request.ids.size(), 21u);
        EXPECT_GE(std::ranges::min(request.ids), 0);
        EXPECT_LT(std::ranges::max(request.ids), rows);
      }
    }
  }
}

TEST(WorkloadTest, OneSeedIsOneWorkload) {
  const WorkloadSpec spec = {.row_count = 1000, .batch = 16, .seed = 7};
  WorkloadSpec other = spec;
  other.seed = 8;

  EXPECT_TRUE(std::ranges::equal(Workload(spec).request(5).ids,
                                 Workload(spec).request(5).ids));
  EXPECT_FALSE(std::ranges::equal(Workload(spec).request(5).ids,
                                  Workload(other).request(5).ids));
}

TEST(WorkloadTest, TheShareOfPushesIsWhatWasAskedFor) {
  for (double share : {0.0, 0.3, 1.0}) {
    const Workload workload({.row_count = 10,
                             .batch = 4,
                             .push_share = share,
                             .seed = testing::Seed()});
    int64_t pushes = 0;
    for (uint64_t i = 0; i < 1009; ++i) {
      pushes += workload.request(i).is_push ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(pushes) / 1009, share, 0.0005);
  }
}

TEST(WorkloadTest, ZipfIdsAreSkewedAndScattered) {
  const Workload workload({.row_count = 1'000'000,
                           .batch = 4096,
                           .zipf = 1.05,
                           .seed = testing::Seed()});
  std::map<int64_t, int64_t> frequency;
  for (uint64_t i = 0; i < 100; ++i) {
    for (const int64_t id : workload.request(i).ids) {
      ++frequency[id];
    }
  }
  std::vector<std::pair<int64_t, int64_t>> by_frequency;
  for (const auto& [id, count] : frequency) {
    by_frequency.emplace_back(count, id);
  }
  std::ranges::sort(by_frequency, std::greater<>());

  EXPECT_GT(by_frequency[0].first, 409'600 / 30);
  for (int i = 0; i + 1 < 10; ++i) {
    EXPECT_GT(std::abs(by_frequency[i].second - by_frequency[i + 1].second),
              1000);
  }
}

}  // namespace
}  // namespace quire::load
