#include "crash/disk_run.h"

#include <fmt/format.h>

#include <cstdio>
#include <random>

namespace quire::crash {

Outcome RunOnDisks(Trouble trouble, uint64_t seed, std::chrono::seconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  std::mt19937_64 random(seed);
  Outcome sum;
  int64_t worlds = 0;
  int64_t lives = 0;
  while (std::chrono::steady_clock::now() < end && sum.violations.sum() == 0) {
    DiskWorld world(random(), trouble);
    ++worlds;
    bool goes_on = true;
    while (goes_on && std::chrono::steady_clock::now() < end) {
      goes_on = world.LiveOnce();
      ++lives;
    }
    sum += world.outcome();
  }
  fmt::print("crash: disks {} lives {}\n", worlds, lives);
  return sum;
}

}  // namespace quire::crash
