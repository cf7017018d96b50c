// Engines of this process on disks in memory that lose power or fail.

#pragma once

#include <chrono>
#include <cstdint>

#include "crash/disk_world.h"
#include "crash/ledger.h"

namespace quire::crash {

// One world after the other, until the time is over or something was violated.
Outcome RunOnDisks(Trouble trouble, uint64_t seed, std::chrono::seconds time);

}  // namespace quire::crash
