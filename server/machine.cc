#include "server/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace quire {
namespace {

// The first number of a file of the kernel's, or -1: no file, or "max".
int64_t NumberIn(const char* path) {
  std::ifstream file(path);
  int64_t number = -1;
  return file >> number ? number : -1;
}

}  // namespace

int64_t MemoryBytes() {
  int64_t bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  for (const char* path : {"/sys/fs/cgroup/memory.max",
                           "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    if (const int64_t limit = NumberIn(path); limit > 0) {
      bytes = std::min(bytes, limit);
    }
  }
  return bytes;
}

int ProcessorCount() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  int count = sched_getaffinity(0, sizeof(allowed), &allowed) == 0
                  ? CPU_COUNT(&allowed)
                  : 1;
  // cgroup v2: "quota period" in microseconds; v1: two files.
  int64_t quota = NumberIn("/sys/fs/cgroup/cpu.max");
  int64_t period = 100'000;
  if (quota > 0) {
    std::ifstream file("/sys/fs/cgroup/cpu.max");
    file >> quota >> period;
  } else {
    quota = NumberIn("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    period = NumberIn("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  }
  if (quota > 0 && period > 0) {
    count =
        std::min<int>(count, static_cast<int>((quota + period - 1) / period));
  }
  return std::max(1, count);
}

int64_t VolumeBytes(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path there = fs::absolute(path, error);
  while (!fs::exists(there, error) && there.has_relative_path()) {
    there = there.parent_path();
  }
  const fs::space_info space = fs::space(there, error);
  return error ? 0 : static_cast<int64_t>(space.capacity);
}

}  // namespace quire
