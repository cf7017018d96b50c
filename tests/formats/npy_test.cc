#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "client/formats/input_error.h"
#include "client/formats/npy_file.h"
#include "client/formats/npy_header.h"
#include "client/formats/numbers.h"
#include "main/seed.h"
#include "main/temp_dir.h"

namespace quire::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A file as numpy writes it, with a dict of our choice.
std::string Npy(std::string dict, std::string_view data, int major = 1) {
  dict += '\n';
  std::string file(kNpyMagic);
  file += static_cast<char>(major);
  file += '\0';
  for (int byte = 0; byte < (major == 1 ? 2 : 4); ++byte) {
    file += static_cast<char>(dict.size() >> (8 * byte) & 0xff);
  }
  return file + dict + std::string(data);
}

template <typename T>
std::string BytesOf(std::vector<T> values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(T)};
}

absl::StatusOr<NpyFile> Open(std::string bytes) {
  return NpyFile::Open(SourceOf(std::move(bytes), "a.npy"));
}

std::string OpenError(std::string bytes) {
  absl::StatusOr<NpyFile> file = Open(std::move(bytes));
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(file.status().message());
}

template <typename T>
std::vector<T> ReadRows(const NpyFile& file, int64_t first, int64_t count) {
  std::vector<T> out(static_cast<size_t>(count * file.row_elements()));
  EXPECT_EQ(file.Read(first, std::span(out)), absl::OkStatus());
  return out;
}

TEST(NpyTest, WritesTheHeadersOfNumpy) {
  const int64_t matrix[] = {2, 3};
  const int64_t vector[] = {5};
  const int64_t wide[] = {0, 100000, 100000, 1000, 1, 1, 1, 120, 100};
  using namespace std::string_literals;

  // The left sides are what numpy 1.24.2 wrote.
  EXPECT_EQ(
      "\x93NUMPY\x01\0v\0"s
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" +
          std::string(58, ' ') + "\n",
      MakeNpyHeader(matrix));
  EXPECT_EQ(
      "\x93NUMPY\x01\0v\0"s
      "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }" +
          std::string(60, ' ') + "\n",
      MakeNpyHeader(vector));
  EXPECT_EQ(
      "\x93NUMPY\x01\0v\0"s
      "{'descr': '<f4', 'fortran_order': False, 'shape': (), }" +
          std::string(62, ' ') + "\n",
      MakeNpyHeader({}));
  // With room for the first dim to grow, this one is 128 long, and padded.
  EXPECT_EQ(192u, MakeNpyHeader(wide).size());
}

TEST(NpyTest, ReadsWhatItWrites) {
  const int64_t dims[] = {2, 3};
  const std::vector<float> values = {1, -2.5f, 0.1f, 1e-45f, 3e38f, -0.0f};

  absl::StatusOr<NpyFile> file = Open(MakeNpyHeader(dims) + BytesOf(values));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_EQ(file->row_count(), 2);
  EXPECT_EQ(file->row_elements(), 3);
  EXPECT_EQ(ReadRows<float>(*file, 0, 2), values);
  EXPECT_THAT(ReadRows<float>(*file, 1, 1), ElementsAre(1e-45f, 3e38f, -0.0f));
}

TEST(NpyTest, ReadsAnyOrderOfKeysAndEveryVersion) {
  const std::string data = BytesOf<float>({1, 2, 3});
  const std::string dict =
      R"({"shape":(3L,),'fortran_order' : False , 'descr': '<f4'} )";

  for (int major : {1, 2, 3}) {
    absl::StatusOr<NpyFile> file = Open(Npy(dict, data, major));

    ASSERT_EQ(file.status(), absl::OkStatus()) << major;
    EXPECT_THAT(ReadRows<float>(*file, 0, 3), ElementsAre(1, 2, 3));
  }
}

TEST(NpyTest, ConvertsOtherFloatsExactly) {
  using namespace std::string_literals;
  const auto dict = [](std::string_view descr) {
    return "{'descr': '" + std::string(descr) +
           "', 'fortran_order': False, 'shape': (5,)}";
  };

  auto doubles =
      Open(Npy(dict("<f8"), BytesOf<double>({1, 0.1, -2, 0, 1e300})));
  // 1, -2.5, 65504, 6e-8 (the least subnormal), 0.1 as numpy's float16.
  auto halves =
      Open(Npy(dict("<f2"), "\x00\x3c\x00\xc1\xff\x7b\x01\x00\x66\x2e"s));

  ASSERT_EQ(doubles.status(), absl::OkStatus());
  ASSERT_EQ(halves.status(), absl::OkStatus());
  EXPECT_THAT(
      ReadRows<float>(*doubles, 0, 5),
      ElementsAre(1, 0.1f, -2, 0, std::numeric_limits<float>::infinity()));
  EXPECT_THAT(ReadRows<float>(*halves, 0, 5),
              ElementsAre(1, -2.5f, 65504, 0x1p-24f, 0.0999755859375f));
}

TEST(NpyTest, HalvesOfAllBitPatternsConvertByTheirDefinition) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const int sign = half >> 15 != 0 ? -1 : 1;
    const int exponent = static_cast<int>(half >> 10 & 0x1f);
    const int mantissa = static_cast<int>(half & 0x3ff);
    const float converted = HalfToFloat(static_cast<uint16_t>(half));
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(converted), mantissa != 0);
      EXPECT_EQ(std::isinf(converted), mantissa == 0);
    } else if (exponent == 0) {
      EXPECT_EQ(converted,
                static_cast<float>(sign) * std::ldexp(mantissa, -24));
    } else {
      EXPECT_EQ(converted, static_cast<float>(sign) *
                               std::ldexp(1024 + mantissa, exponent - 25));
    }
    EXPECT_EQ(std::signbit(converted), sign < 0);
  }
}

TEST(NpyTest, FortranOrderComesOutInCOrderWhateverTheChunks) {
  std::mt19937_64 random(testing::Seed());
  for (int round = 0; round < 50; ++round) {
    std::vector<int64_t> dims(2 + random() % 3);
    for (int64_t& dim : dims) dim = 1 + static_cast<int64_t>(random() % 5);
    const int64_t count = std::accumulate(dims.begin(), dims.end(), int64_t{1},
                                          std::multiplies<>());
    // Element k in C order has the value k; its place in Fortran's order is
    // counted with the first index fastest.
    std::vector<int64_t> fortran(static_cast<size_t>(count));
    for (int64_t k = 0; k < count; ++k) {
      int64_t rest = k, place = 0, stride = count;
      for (size_t i = dims.size(); i-- > 0;) {
        stride /= dims[i];
        place += rest % dims[i] * stride;
        rest /= dims[i];
      }
      fortran[static_cast<size_t>(place)] = k;
    }
    std::string shape;
    for (int64_t dim : dims) shape += std::to_string(dim) + ",";

    auto file = Open(
        Npy("{'descr': '<i8', 'fortran_order': True, 'shape': (" + shape + ")}",
            BytesOf(fortran)));
    ASSERT_EQ(file.status(), absl::OkStatus());
    std::vector<int64_t> read;
    for (int64_t row = 0; row < file->row_count();) {
      const int64_t rows = std::min<int64_t>(
          1 + static_cast<int64_t>(random() % 3), file->row_count() - row);
      const auto part = ReadRows<int64_t>(*file, row, rows);
      read.insert(read.end(), part.begin(), part.end());
      row += rows;
    }

    std::vector<int64_t> expected(static_cast<size_t>(count));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(read, expected) << shape;
  }
}

TEST(NpyTest, ScalarsAndEmptyArraysAreRead) {
  auto scalar = Open(Npy("{'descr':'<i4','fortran_order':False,'shape':()}",
                         BytesOf<int32_t>({-7})));
  auto empty =
      Open(Npy("{'descr':'<f4','fortran_order':True,'shape':(0,4)}", ""));

  ASSERT_EQ(scalar.status(), absl::OkStatus());
  EXPECT_THAT(ReadRows<int64_t>(*scalar, 0, 1), ElementsAre(-7));
  ASSERT_EQ(empty.status(), absl::OkStatus());
  EXPECT_EQ(empty->row_count(), 0);
  EXPECT_THAT(ReadRows<float>(*empty, 0, 0), ElementsAre());
}

TEST(NpyTest, FilesOnDiskAreReadInPlace) {
  testing::TempDir dir;
  const int64_t dims[] = {1000, 7};
  std::vector<float> values(7000);
  std::iota(values.begin(), values.end(), 0.0f);
  auto source =
      OpenSource(dir.Write("a.npy", MakeNpyHeader(dims) + BytesOf(values)));
  ASSERT_EQ(source.status(), absl::OkStatus());
  ASSERT_GE((*source)->descriptor(), 0);

  absl::StatusOr<NpyFile> file = NpyFile::Open(*std::move(source));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_EQ(ReadRows<float>(*file, 0, 1000), values);
  EXPECT_THAT(ReadRows<float>(*file, 999, 1),
              ElementsAre(6993, 6994, 6995, 6996, 6997, 6998, 6999));
}

TEST(NpyTest, OtherElementTypesAreRefusedByName) {
  const auto error = [](std::string_view descr) {
    return OpenError(Npy("{'descr': " + std::string(descr) +
                             ", 'fortran_order': False, 'shape': (1,)}",
                         "12345678"));
  };

  EXPECT_THAT(error("'|O'"), HasSubstr("'a.npy' holds Python objects"));
  EXPECT_THAT(error("'>f4'"), HasSubstr("a.astype('<f4')"));
  EXPECT_THAT(error("[('x', '<f4')]"), HasSubstr("records"));
  EXPECT_THAT(error("'<c8'"), HasSubstr("the element type '<c8'"));
}

TEST(NpyTest, FloatsAreNoIdsAndIdsNoFloats) {
  const std::string dict = "', 'fortran_order': False, 'shape': (1,)}";
  auto floats = Open(Npy("{'descr': '<f4" + dict, "1234"));
  auto ints = Open(Npy("{'descr': '<i4" + dict, "1234"));
  ASSERT_EQ(floats.status(), absl::OkStatus());
  ASSERT_EQ(ints.status(), absl::OkStatus());
  float value;
  int64_t id;

  EXPECT_THAT(std::string(floats->Read(0, std::span(&id, 1)).message()),
              HasSubstr("'a.npy' holds float32; ids are int64 or int32"));
  EXPECT_THAT(std::string(ints->Read(0, std::span(&value, 1)).message()),
              HasSubstr("'a.npy' holds int32; floats are needed"));
}

TEST(NpyTest, HostileHeadersAreRefusedInASentence) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  using namespace std::string_literals;

  EXPECT_THAT(OpenError("PK"), HasSubstr("is no .npy file"));
  EXPECT_THAT(OpenError("\x93NUMPY\x04\0v\0 {}"s), HasSubstr("version 4.0"));
  EXPECT_THAT(OpenError("\x93NUMPY\x02\0\xff\xff\xff\xff{}"s),
              HasSubstr("a header of 4294967295 bytes"));
  EXPECT_THAT(OpenError("\x93NUMPY\x01\0v\0{'descr'"s),
              HasSubstr("ends within its header"));
  EXPECT_THAT(OpenError(Npy(good + "(3,)}", "1234")),
              HasSubstr("holds 4 bytes of data; its header promises 12"));
  EXPECT_THAT(OpenError(Npy(good + "(1,)}", "12345")),
              HasSubstr("holds 5 bytes of data; its header promises 4"));
  EXPECT_THAT(OpenError(Npy(good + "(4611686018427387904, 4)}", "")),
              HasSubstr("an impossible shape"));
  EXPECT_THAT(OpenError(Npy(good + "(99999999999999999999,)}", "")),
              HasSubstr("a dim"));
  EXPECT_THAT(OpenError(Npy(good + "(-1,)}", "")), HasSubstr("a dim"));
  EXPECT_THAT(OpenError(Npy(good + "(1,), 'shape': (1,)}", "1234")),
              HasSubstr("repeated key 'shape'"));
  EXPECT_THAT(OpenError(Npy("{'descr': '<f4', 'shape': (1,)}", "1234")),
              HasSubstr("without"));
  EXPECT_THAT(OpenError(Npy("__import__('os')", "")), HasSubstr("damaged"));
  EXPECT_THAT(OpenError(Npy(good + std::string(50000, '('), "")),
              HasSubstr("damaged"));
}

TEST(NpyTest, NoPrefixAndNoFlippedByteOfAHeaderCrashes) {
  std::mt19937_64 random(testing::Seed());
  const int64_t dims[] = {2, 3};
  const std::string good = MakeNpyHeader(dims) + std::string(24, 'x');
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(Open(good.substr(0, size)).ok());
  }
  for (int round = 0; round < 20000; ++round) {
    std::string bad = good;
    for (uint64_t flips = 1 + random() % 3; flips > 0; --flips) {
      bad[random() % 128] = static_cast<char>(random());
    }

    absl::StatusOr<NpyFile> file = Open(bad);

    // What is accepted has as many bytes as it says.
    if (file.ok()) {
      EXPECT_EQ(static_cast<size_t>(file->header().element_count) *
                    NumberBytes(file->header().type),
                bad.size() - file->header().data_offset);
    }
  }
}

}  // namespace
}  // namespace quire::formats
