// What this machine, or the container on it, gives a process.

#pragma once

#include <cstdint>
#include <string>

namespace quire {

// Bytes of memory: the cgroup's limit, or the machine's if that is less.
int64_t MemoryBytes();

// Processors that may be used at once: by affinity and the cgroup's quota.
int ProcessorCount();

// Bytes of the volume that `path` is on, or would be; 0 if that cannot be seen.
int64_t VolumeBytes(const std::string& path);

}  // namespace quire
