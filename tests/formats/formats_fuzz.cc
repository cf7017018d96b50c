// Fuzzes the reading of files: whatever they hold, they are read or refused,
// and take no more memory than their size and a little.
//
//   build/fuzz/bin/formats_fuzz -max_total_time=60
//
// needs no corpus: the mutator below writes files by itself. An input is two
// bytes, what is asked for and how, and then the file.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <string>

#include "client/formats/row_reader.h"
#include "tests/formats/heap_watch.h"
#include "tests/formats/sample_files.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max);

namespace quire::formats::testing {
namespace {

using Random = std::mt19937;

constexpr size_t kHeadBytes = 2;

// Rows read of one file: enough to come into its second block.
constexpr int64_t kRowsMax = 2000;
constexpr int64_t kRowsPerBlock = 16;

// Buffers and the longest line of a text that is unpacked.
constexpr size_t kSlackBytes = size_t{2} << 20;
constexpr size_t kPackedSlackBytes = size_t{64} << 20;

constexpr auto kNames = std::to_array<std::string_view>(
    {"f", "f.safetensors", "f.fvecs", "f.bin", "f.npz", "f.pt", "f.txt"});

size_t Pick(Random& random, size_t count) { return random() % count; }

// What the two bytes in front of a file say.
RowReaderOptions OptionsOf(const uint8_t* head) {
  constexpr size_t kFormats = static_cast<size_t>(RowFormat::kCsv);
  RowReaderOptions options;
  const size_t format = head[0] % (2 * kFormats);
  if (format < kFormats) {
    options.format = static_cast<RowFormat>(format);
  }
  if ((head[1] & 1) != 0) {
    options.tensor = "weight";
  }
  options.state = (head[1] & 2) != 0;
  if ((head[1] & 12) == 12) {
    options.dim = 2;
  }
  return options;
}

// On a disk, so that what is packed is unpacked.
absl::StatusOr<std::unique_ptr<RowReader>> OpenOnDisk(
    std::string_view file, const RowReaderOptions& options, int& descriptor) {
  descriptor = memfd_create("fuzz", MFD_CLOEXEC);
  if (write(descriptor, file.data(), file.size()) !=
      static_cast<ssize_t>(file.size())) {
    std::abort();
  }
  lseek(descriptor, 0, SEEK_SET);
  return OpenRows("/proc/self/fd/" + std::to_string(descriptor), options);
}

void ReadRows(RowReader& reader) {
  RowBlock block;
  for (int64_t read = 0; read < kRowsMax; read += block.row_count) {
    if (!reader.Read(kRowsPerBlock, block).ok() || block.row_count == 0) {
      return;
    }
  }
}

void Read(const uint8_t* head, std::string_view file) {
  const RowReaderOptions options = OptionsOf(head);
  const bool is_on_disk = (head[1] & 0x70) == 0x70;
  int descriptor = -1;
  const HeapWatch watch;
  {
    auto reader = is_on_disk
                      ? OpenOnDisk(file, options, descriptor)
                      : OpenRows(SourceOf(std::string(file),
                                          kNames[head[1] / 16 % kNames.size()]),
                                 options);
    if (reader.ok()) {
      ReadRows(**reader);
    }
  }
  // A block of the widest rows, on top of what readers need.
  const size_t block_bytes = size_t{kRowsPerBlock} * 4 * (size_t{1} << 16);
  ExpectModest(watch, file.size(),
               block_bytes + (is_on_disk ? kPackedSlackBytes : kSlackBytes));
  if (descriptor >= 0) {
    close(descriptor);
  }
}

std::vector<float> RandomFloats(size_t count, Random& random) {
  std::vector<float> floats(count);
  std::ranges::generate(
      floats, [&random] { return static_cast<float>(Pick(random, 100)) / 8; });
  return floats;
}

// Changes some bytes, of what a checksum will be made over afterwards.
std::string Disturbed(std::string bytes, Random& random) {
  if (Pick(random, 3) != 0 || bytes.empty()) {
    return bytes;
  }
  const size_t size = bytes.size();
  bytes.resize(size + 16);
  bytes.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(bytes.data()), size,
                                bytes.size()));
  return bytes;
}

std::string RandomZip(std::vector<SampleMember> members, Random& random) {
  for (SampleMember& member : members) {
    member.bytes = Disturbed(std::move(member.bytes), random);
    member.is_deflated = Pick(random, 2) == 0;
  }
  return MakeZip(members, Pick(random, 2) == 0);
}

std::string RandomSafetensors(int64_t rows, int64_t dim, Random& random) {
  const auto floats = static_cast<size_t>(rows * dim);
  const std::string n = std::to_string(rows);
  const std::string bytes = std::to_string(floats * 4);
  const std::string state_end = std::to_string((floats + size_t(rows)) * 4);
  const std::string ends_end =
      std::to_string((floats + size_t(rows)) * 4 + size_t(rows) * 8);
  const std::string all =
      std::to_string((floats + size_t(rows)) * 4 + size_t(rows) * 9);
  std::string data = BytesOf(RandomFloats(floats + size_t(rows), random));
  for (int64_t i = 1; i <= rows; ++i) {
    AppendNumber(i, data);
  }
  data.append(size_t(rows), 'w');
  return MakeSafetensors(
      "{\"__metadata__\":{\"quire.step\":\"1\"},\"weight\":{\"dtype\":\"F32\","
      "\"shape\":[" +
          n + "," + std::to_string(dim) + "],\"data_offsets\":[0," + bytes +
          "]},\"optimizer.sum\":{\"dtype\":\"F32\",\"shape\":[" + n +
          "],\"data_offsets\":[" + bytes + "," + state_end +
          "]},\"labels.ends\":{\"dtype\":\"I64\",\"shape\":[" + n +
          "],\"data_offsets\":[" + state_end + "," + ends_end +
          "]},\"labels.bytes\":{\"dtype\":\"U8\",\"shape\":[" + n +
          "],\"data_offsets\":[" + ends_end + "," + all + "]}}",
      data);
}

std::string RandomFile(Random& random) {
  const auto rows = static_cast<int64_t>(Pick(random, 5));
  const auto dim = static_cast<int64_t>(1 + Pick(random, 4));
  const auto count = static_cast<size_t>(rows * dim);
  const std::vector<float> floats = RandomFloats(count, random);
  switch (Pick(random, 8)) {
    case 0:
      return MakeNpy({rows, dim}, floats);
    case 1:
      return RandomZip(
          {{.name = "weight.npy", .bytes = MakeNpy({rows, dim}, floats)},
           {.name = "optimizer.sum.npy",
            .bytes = MakeNpy({rows, dim}, floats)}},
          random);
    case 2:
      return RandomSafetensors(rows, dim, random);
    case 3:
      return RandomZip(
          {{.name = "a/data.pkl", .bytes = MakeStateDict("weight", rows, dim)},
           {.name = "a/data/0", .bytes = BytesOf(floats)},
           {.name = "a/byteorder", .bytes = "little"}},
          random);
    case 4:
      return MakeWord2vecBinary({{"one", RandomFloats(size_t(dim), random)},
                                 {"two", RandomFloats(size_t(dim), random)}});
    case 5:
      return MakeFvecs({RandomFloats(size_t(dim), random),
                        RandomFloats(size_t(dim), random)});
    case 6:
      return "2 2\none 1 2\ntwo 3 4\n";
    default:
      return "the 1 2\nnew york 3 4\nx 5 6\n";
  }
}

}  // namespace
}  // namespace quire::formats::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using quire::formats::testing::kHeadBytes;
  if (size >= kHeadBytes) {
    quire::formats::testing::Read(
        data,
        {reinterpret_cast<const char*>(data) + kHeadBytes, size - kHeadBytes});
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t size_max, unsigned int seed) {
  using quire::formats::testing::kHeadBytes;
  quire::formats::testing::Random random(seed);
  if (size < kHeadBytes || random() % 4 != 0) {
    return LLVMFuzzerMutate(data, size, size_max);
  }
  const std::string file = quire::formats::testing::RandomFile(random);
  if (file.size() + kHeadBytes > size_max) {
    return LLVMFuzzerMutate(data, size, size_max);
  }
  data[0] = static_cast<uint8_t>(random());
  data[1] = static_cast<uint8_t>(random());
  std::memcpy(data + kHeadBytes, file.data(), file.size());
  return file.size() + kHeadBytes;
}
