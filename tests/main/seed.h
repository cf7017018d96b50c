// Seeds of random tests: printed by each run, given back with --seed.

#pragma once

#include <cstdint>

namespace quire::testing {

// The seed of this run: --seed=N, or a fresh one. main() prints it.
uint64_t Seed();

}  // namespace quire::testing
