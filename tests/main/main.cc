#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <iostream>
#include <random>
#include <string_view>

#include "main/seed.h"

namespace quire::testing {
namespace {

uint64_t seed = 0;

// Reads --seed=N and takes it out of argv; a seed that is no number is an
// error, not another seed.
bool TakeSeed(int& argc, char** argv) {
  constexpr std::string_view kFlag = "--seed=";
  seed = (uint64_t{std::random_device()()} << 32) | std::random_device()();
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (!argument.starts_with(kFlag)) {
      continue;
    }
    argument.remove_prefix(kFlag.size());
    auto [end, error] = std::from_chars(
        argument.data(), argument.data() + argument.size(), seed);
    if (error != std::errc() || end != argument.data() + argument.size()) {
      std::cerr << "--seed takes a whole number\n";
      return false;
    }
    std::move(argv + i + 1, argv + argc, argv + i);
    --argc;
    return true;
  }
  return true;
}

}  // namespace

uint64_t Seed() { return seed; }

}  // namespace quire::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  if (!quire::testing::TakeSeed(argc, argv)) {
    return 2;
  }
  std::cout << "seed " << quire::testing::Seed()
            << " (repeat with --seed=" << quire::testing::Seed() << ")\n";
  return RUN_ALL_TESTS();
}
