// Fuzzes the reading of torch's pickles: whatever they say, nothing is run, and
// they take little memory.
//
//   build/fuzz/bin/pickle_fuzz -max_total_time=60
//
// needs no corpus: the mutator below writes pickles by itself.

#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>

#include "client/formats/pickle.h"
#include "client/formats/tensor_file.h"
#include "tests/formats/heap_watch.h"
#include "tests/formats/sample_files.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max);

namespace quire::formats::testing {
namespace {

constexpr size_t kSlackBytes = size_t{4} << 20;

using namespace std::string_view_literals;

// What pickles are made of.
constexpr auto kPieces =
    std::to_array<std::string_view>({"("sv,
                                     ")"sv,
                                     "t"sv,
                                     "R"sv,
                                     "b"sv,
                                     "}"sv,
                                     "]"sv,
                                     "a"sv,
                                     "e"sv,
                                     "s"sv,
                                     "u"sv,
                                     "N"sv,
                                     "Q"sv,
                                     "."sv,
                                     "\x85"sv,
                                     "\x86"sv,
                                     "\x87"sv,
                                     "\x88"sv,
                                     "\x89"sv,
                                     "\x94"sv,
                                     "K\x05"sv,
                                     "M\x05\x05"sv,
                                     "J\xff\xff\xff\x7f"sv,
                                     "\x8a\x01\x07"sv,
                                     "q\x01"sv,
                                     "h\x01"sv,
                                     "X\x01\x00\x00\x00w"sv,
                                     "\x8c\x01w"sv,
                                     "ccollections\nOrderedDict\n"sv,
                                     "ctorch._utils\n_rebuild_tensor_v2\n"sv,
                                     "ctorch._utils\n_rebuild_parameter\n"sv,
                                     "ctorch\nFloatStorage\n"sv,
                                     "ctorch\nBoolStorage\n"sv,
                                     "cos\nsystem\n"sv,
                                     "\x93"sv,
                                     "\x95\x08\x00\x00\x00\x00\x00\x00\x00"sv});

void Read(std::string_view pickle) {
  const HeapWatch watch;
  {
    const auto tensors = ReadPickledTensors(pickle);
    if (tensors.ok()) {
      for (const PickledTensor& tensor : *tensors) {
        if (!ElementCount(tensor.dims) ||
            *ElementCount(tensor.dims) > tensor.storage_elements) {
          std::abort();
        }
      }
    }
  }
  ExpectModest(watch, pickle.size(), kSlackBytes);
}

std::string RandomPickle(std::mt19937& random) {
  std::string pickle =
      MakeStateDict(random() % 2 == 0 ? "weight" : "a.b", 3, 2);
  for (auto count = random() % 4; count > 0; --count) {
    pickle.insert(random() % pickle.size(), kPieces[random() % kPieces.size()]);
  }
  return pickle;
}

}  // namespace
}  // namespace quire::formats::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quire::formats::testing::Read({reinterpret_cast<const char*>(data), size});
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t size_max, unsigned int seed) {
  using quire::formats::testing::kPieces;
  std::mt19937 random(seed);
  std::string pickle(reinterpret_cast<const char*>(data), size);
  switch (random() % 4) {
    case 0:
      pickle = quire::formats::testing::RandomPickle(random);
      break;
    case 1:
      pickle.insert(random() % (size + 1), kPieces[random() % kPieces.size()]);
      break;
    default:
      return LLVMFuzzerMutate(data, size, size_max);
  }
  if (pickle.size() > size_max) {
    return LLVMFuzzerMutate(data, size, size_max);
  }
  std::memcpy(data, pickle.data(), pickle.size());
  return pickle.size();
}
