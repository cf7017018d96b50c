// A stream of pieces is the file of those pieces, on real disks and on the
// model's, however it is cut.

#include "journal/block_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "base/status.h"
#include "journal/model_disk.h"
#include "journal/posix_files.h"
#include "main/temp_dir.h"

namespace quire::journal {
namespace {

std::vector<std::byte> ContentOf(Directory& directory, std::string_view name) {
  const auto file = directory.Open(name);
  EXPECT_TRUE(file.ok()) << file.status();
  std::vector<std::byte> bytes(static_cast<size_t>((*file)->Size().value()));
  EXPECT_EQ((*file)->Read(0, bytes).value(), bytes.size());
  return bytes;
}

// Pieces of 1 byte to 600 kB, now and then synced, and read after each sync.
void StreamAtRandom(Directory& directory, uint64_t seed) {
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const auto stream = BlockStream::Create(directory, "stream");
  ASSERT_TRUE(stream.ok()) << stream.status();
  std::vector<std::byte> expected;
  for (int round = 0; round < 40; ++round) {
    std::vector<std::vector<std::byte>> pieces(random() % 4);
    std::vector<Bytes> views;
    for (std::vector<std::byte>& piece : pieces) {
      piece.resize(size_t{1} << random() % 20);
      piece.resize(piece.size() + random() % piece.size());
      std::ranges::generate(piece, [&] { return std::byte(random()); });
      expected.insert(expected.end(), piece.begin(), piece.end());
      views.emplace_back(piece);
    }
    ASSERT_TRUE((*stream)->Append(views).ok());
    if (random() % 4 == 0) {
      ASSERT_TRUE((*stream)->Sync().ok());
      ASSERT_EQ(ContentOf(directory, "stream"), expected);
    }
  }
  ASSERT_TRUE((*stream)->Sync().ok());
  EXPECT_EQ(ContentOf(directory, "stream"), expected);
  EXPECT_TRUE(directory.Remove("stream").ok());
}

TEST(BlockStreamTest, IsTheFileOfItsPieces) {
  const testing::TempDir real_directory;
  const auto real = OpenDirectory(real_directory.Path("d"));
  ASSERT_TRUE(real.ok()) << real.status();
  ModelDisk disk;
  const auto model = disk.Open();
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    StreamAtRandom(**real, seed);
    StreamAtRandom(*model, seed);
  }
}

TEST(BlockStreamTest, NothingAppendedIsAnEmptyFile) {
  ModelDisk disk;
  const auto directory = disk.Open();
  const auto stream = BlockStream::Create(*directory, "empty");
  ASSERT_TRUE(stream.ok()) << stream.status();
  ASSERT_TRUE((*stream)->Sync().ok());
  EXPECT_TRUE(ContentOf(*directory, "empty").empty());
}

TEST(BlockStreamTest, AFullDiskIsToldByTheNextThatWrites) {
  ModelDisk disk;
  const auto directory = disk.Open();
  disk.SetSpace(1 << 20);
  const auto stream = BlockStream::Create(*directory, "large");
  ASSERT_TRUE(stream.ok()) << stream.status();
  const std::vector<std::byte> much(4 << 20);
  const Bytes piece = much;
  EXPECT_EQ(ReasonOf((*stream)->Append({&piece, 1})), Reason::kDiskFull);
}

}  // namespace
}  // namespace quire::journal
