#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "client/formats/zip_archive.h"
#include "main/temp_dir.h"
#include "tests/formats/read_rows.h"
#include "tests/formats/sample_files.h"

namespace quire::formats {
namespace {

using testing::AppendNumber;
using testing::Deflate;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeNpy;
using testing::MakeZip;
using testing::ReadFile;
using testing::Refusal;
using testing::SampleMember;

const std::string kNpy = MakeNpy({3, 2}, {1, 2, 3, 4, 5, 6});

// Puts a number at a place.
template <typename T>
std::string Patched(std::string bytes, size_t place, T number) {
  std::string raw;
  AppendNumber(number, raw);
  return bytes.replace(place, raw.size(), raw);
}

size_t DirectoryOf(const std::string& zip) { return zip.find("PK\x01\x02"); }
size_t EndOf(const std::string& zip) { return zip.rfind("PK\x05\x06"); }

TEST(NpzTest, StoredAndDeflatedMembersAreTheSameRows) {
  for (const bool is_deflated : {false, true}) {
    for (const bool is_64 : {false, true}) {
      const auto file = ReadFile(MakeZip(
          {{.name = "w.npy", .bytes = kNpy, .is_deflated = is_deflated}},
          is_64));

      ASSERT_EQ(file.status(), absl::OkStatus());
      EXPECT_EQ(file->info.format, RowFormat::kNpz);
      EXPECT_THAT(file->all.values, ElementsAre(1, 2, 3, 4, 5, 6));
    }
  }
}

TEST(NpzTest, AnArrayInFortransOrderIsTheSameRows) {
  std::string npy = MakeNpy({3, 2}, {1, 3, 5, 2, 4, 6});
  npy.replace(npy.find("False"), 5, "True ");

  for (const bool is_deflated : {false, true}) {
    const auto file = ReadFile(
        MakeZip({{.name = "w.npy", .bytes = npy, .is_deflated = is_deflated}}));

    ASSERT_EQ(file.status(), absl::OkStatus());
    EXPECT_THAT(file->all.values, ElementsAre(1, 2, 3, 4, 5, 6));
  }
}

TEST(NpzTest, ArraysThatCannotBeReadAreListedAndRefusedByName) {
  std::string objects = kNpy;
  objects.replace(objects.find("<f4"), 3, "|O'");
  const std::string zip = MakeZip({{.name = "a.npy", .bytes = kNpy},
                                   {.name = "o.npy", .bytes = objects},
                                   {.name = "notes.txt", .bytes = "hello"}});

  EXPECT_THAT(Refusal(zip), HasSubstr("2 tensors: choose one with --tensor "
                                      "NAME; it has a [3, 2] float32, o (not "
                                      "readable)"));
  EXPECT_THAT(Refusal(zip, {.tensor = "o"}), HasSubstr("'file: o.npy' "));
  EXPECT_EQ(ReadFile(zip, {.tensor = "a"})->all.row_count, 3);
}

TEST(ZipTest, APackedPipeOrFileIsReadAsItComes) {
  quire::testing::TempDir dir;
  const std::string zip =
      MakeZip({{.name = "w.npy", .bytes = kNpy, .is_deflated = true}});
  // A member of gzip: its head, the deflated data, its tail.
  std::string gz("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
  gz += Deflate(zip);
  AppendNumber(
      static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(zip.data()),
                                  static_cast<uInt>(zip.size()))),
      gz);
  AppendNumber(static_cast<uint32_t>(zip.size()), gz);

  auto reader = OpenRows(dir.Write("w.npz.gz", gz), {});

  ASSERT_EQ(reader.status(), absl::OkStatus());
  const auto file = testing::ReadWhole(**reader);
  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_THAT(file->all.values, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(ZipTest, DamageIsSeenBeforeTheLastRow) {
  for (const bool is_deflated : {false, true}) {
    const std::string good =
        MakeZip({{.name = "w.npy", .bytes = kNpy, .is_deflated = is_deflated}});
    const size_t directory = DirectoryOf(good);
    for (size_t size = 0; size < good.size(); ++size) {
      EXPECT_NE(Refusal(good.substr(0, size), {.format = RowFormat::kNpz}), "")
          << size;
    }
    // Every bit of the data and of what the directory says of it.
    for (size_t i = 35; i < directory; ++i) {
      EXPECT_NE(Refusal(Patched<uint8_t>(good, i, ~good[i])), "") << i;
    }
    for (const size_t field : {10, 16, 20, 24, 28, 42}) {
      EXPECT_NE(Refusal(Patched<uint8_t>(good, directory + field,
                                         good[directory + field] ^ 1)),
                "")
          << field;
    }
  }
}

TEST(ZipTest, SizesThatLieAreRefused) {
  const std::string good =
      MakeZip({{.name = "w.npy", .bytes = kNpy, .is_deflated = true}});
  const size_t directory = DirectoryOf(good);
  const auto size_said = [&](uint32_t size) {
    return Refusal(Patched(good, directory + 24, size), {.tensor = "w"});
  };

  // A bomb that the packed bytes cannot hold, one that they do not hold.
  EXPECT_THAT(size_said(2'000'000'000),
              HasSubstr("2000000000 bytes cannot be packed into"));
  EXPECT_THAT(size_said(static_cast<uint32_t>(kNpy.size() + 8)),
              HasSubstr("32 bytes of data; its header promises 24"));
  EXPECT_THAT(size_said(static_cast<uint32_t>(kNpy.size() - 8)),
              HasSubstr("16 bytes of data; its header promises 24"));
}

TEST(ZipTest, MembersThatOverlapAreRefused) {
  const std::string good = MakeZip(
      {{.name = "a.npy", .bytes = kNpy}, {.name = "b.npy", .bytes = kNpy}});
  const size_t second = good.find("PK\x01\x02", DirectoryOf(good) + 4);

  EXPECT_THAT(Refusal(Patched<uint32_t>(good, second + 42, 0)),
              HasSubstr("over another member"));
  EXPECT_THAT(Refusal(Patched<uint32_t>(good, second + 42, 0x7fffffff)),
              HasSubstr("lies outside of the file"));
  // The first is said to be as long as both.
  const auto both = static_cast<uint32_t>(kNpy.size() * 2);
  const std::string longer =
      Patched(Patched(good, DirectoryOf(good) + 20, both),
              DirectoryOf(good) + 24, both);
  EXPECT_THAT(Refusal(longer), HasSubstr("reaches beyond its place"));
}

TEST(ZipTest, NamesThatComeTwiceAreRefused) {
  EXPECT_EQ(Refusal(MakeZip({{.name = "a.npy", .bytes = kNpy},
                             {.name = "a.npy", .bytes = kNpy}})),
            "'file' has two members named 'a.npy'");
}

TEST(ZipTest, ADirectoryThatLiesIsRefused) {
  const std::string good = MakeZip({{.name = "a.npy", .bytes = kNpy}});
  const size_t end = EndOf(good);
  const std::string in_64 = MakeZip({{.name = "a.npy", .bytes = kNpy}}, true);

  EXPECT_THAT(Refusal(Patched<uint16_t>(Patched<uint16_t>(good, end + 8, 9),
                                        end + 10, 9)),
              HasSubstr("9 members in a directory of 51 bytes"));
  EXPECT_THAT(Refusal(Patched<uint32_t>(good, end + 12, 50)),
              HasSubstr("a directory of 50 bytes"));
  EXPECT_THAT(Refusal(Patched<uint32_t>(good, end + 16, 0x7fffffff)),
              HasSubstr("from byte 2147483647"));
  EXPECT_THAT(Refusal(Patched<uint32_t>(good, end + 16, 0xffffffff)),
              HasSubstr("the end record of 64 bits is not found"));
  EXPECT_THAT(Refusal(Patched<uint16_t>(good, end + 4, 1)),
              HasSubstr("a part of an archive of several files"));
  EXPECT_THAT(
      Refusal(Patched<uint64_t>(in_64, EndOf(in_64) - 12, uint64_t{1} << 62)),
      HasSubstr("the end record of 64 bits is not found"));
  EXPECT_THAT(Refusal(Patched<uint16_t>(good, DirectoryOf(good) + 8, 1)),
              HasSubstr("is encrypted ('a.npy')"));
  EXPECT_THAT(Refusal(MakeZip({{.name = "notes.txt", .bytes = "hello"}})),
              HasSubstr("without .npy arrays"));
}

TEST(ZipTest, OtherWaysOfPackingAreRefusedByNumber) {
  std::string zip = MakeZip({{.name = "a.npy", .bytes = kNpy}});
  zip = Patched<uint16_t>(zip, DirectoryOf(zip) + 10, 12);
  zip = Patched<uint16_t>(zip, 8, 12);

  EXPECT_THAT(Refusal(zip), HasSubstr("packed by method 12"));
}

}  // namespace
}  // namespace quire::formats
