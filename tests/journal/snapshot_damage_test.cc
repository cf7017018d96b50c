// A snapshot that is damaged, or is not the one that was written, is refused.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "journal/snapshot_history.h"

namespace quire::journal {
namespace {

using ByteVector = std::vector<std::byte>;

class SnapshotDamageTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kLsn = 42;

  // Three files: of two chunks of one size and an empty one; of one chunk; of
  // two.
  SnapshotDamageTest() {
    for (const size_t size : {200, 200, 0, 600, 100, 64}) {
      const size_t index = content_.chunks.size();
      content_.chunks.push_back(
          {.header = {.stream = 3, .index = index, .lsn = 30 + index},
           .payload = PayloadOf(7 + index, size)});
    }
    content_.body = PayloadOf(1, 21);
    const SnapshotOptions options = {.file_bytes_max = 704};
    EXPECT_TRUE(WriteSnapshot(*snapshots_, kLsn, content_, options).ok());
    EXPECT_EQ(disk_.Names(), (std::vector<std::string>{File(0), File(1),
                                                       File(2), Manifest()}));
  }

  static std::string In(uint64_t lsn, std::string_view name) {
    return fmt::format("snapshots/{}/{}", SnapshotName(lsn), name);
  }
  static std::string File(size_t index) {
    return In(kLsn, DataFileName(index));
  }
  static std::string Manifest() { return In(kLsn, kManifestName); }

  // What reading `disk` ends with. What it gives is what was written, whether
  // it is refused in the end or not.
  absl::Status ReadDamaged(ModelDisk& disk) {
    const auto snapshots = OpenSnapshots(disk);
    const auto reader = SnapshotReader::Open(*snapshots, kIdentity, kLsn);
    if (!reader.ok()) {
      return reader.status();
    }
    EXPECT_TRUE(std::ranges::equal(reader->body(), content_.body));
    EXPECT_EQ(reader->file_count(), 3u);
    absl::Status status;
    size_t taken = 0;
    for (size_t file = 0; file < 3; ++file) {
      size_t next = kFirstChunk[file];
      status.Update(
          reader->ReadFile(file, [&](const ChunkHeader& header, Bytes payload) {
            EXPECT_LT(next, kFirstChunk[file + 1]);
            const TestChunk& chunk = content_.chunks.at(next++);
            EXPECT_EQ(header, chunk.header);
            EXPECT_TRUE(std::ranges::equal(payload, chunk.payload));
            ++taken;
            return absl::OkStatus();
          }));
    }
    EXPECT_EQ(reader->Verify().ok(), status.ok());
    EXPECT_TRUE(!status.ok() || taken == content_.chunks.size());
    return status;
  }

  // The same after `change` of the bytes of a file.
  absl::Status ReadAfter(const std::string& name,
                         const std::function<void(ByteVector&)>& change) {
    ModelDisk damaged(disk_);
    ByteVector bytes = disk_.Content(name);
    change(bytes);
    damaged.SetContent(name, std::move(bytes));
    return ReadDamaged(damaged);
  }

  static constexpr size_t kFirstChunk[] = {0, 3, 4, 6};

  Content content_;
  ModelDisk disk_;
  std::unique_ptr<Directory> snapshots_ = MakeSnapshots(disk_);
};

TEST_F(SnapshotDamageTest, WhatIsNotDamagedIsRead) {
  EXPECT_EQ(ReadDamaged(disk_), absl::OkStatus());
}

TEST_F(SnapshotDamageTest, AFlipOfAnyBitIsRefused) {
  int64_t refused = 0;
  for (const std::string& name : disk_.Names()) {
    ByteVector bytes = disk_.Content(name);
    ModelDisk damaged(disk_);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] ^= std::byte{1} << bit % 8;
      damaged.SetContent(name, bytes);
      bytes[bit / 8] ^= std::byte{1} << bit % 8;
      const absl::Status status = ReadDamaged(damaged);
      ASSERT_EQ(ReasonOf(status), Reason::kCorrupt) << name << " bit " << bit;
      ASSERT_THAT(std::string(status.message()), ::testing::HasSubstr(name));
      ++refused;
    }
  }
  EXPECT_GT(refused, 10'000);
}

TEST_F(SnapshotDamageTest, ACutOfAnyFileAtAnyByteIsRefused) {
  for (const std::string& name : disk_.Names()) {
    const size_t whole = disk_.Content(name).size();
    for (size_t size = 0; size < whole; ++size) {
      const absl::Status status =
          ReadAfter(name, [&](ByteVector& bytes) { bytes.resize(size); });
      ASSERT_EQ(ReasonOf(status), Reason::kCorrupt) << name << " of " << size;
      ASSERT_THAT(std::string(status.message()), ::testing::HasSubstr(name));
    }
  }
}

TEST_F(SnapshotDamageTest, MoreBytesAtAnEndAreRefused) {
  for (const std::string& name : disk_.Names()) {
    const ByteVector content = disk_.Content(name);
    for (const size_t more : {1, 64, 4096}) {
      EXPECT_EQ(ReasonOf(ReadAfter(name,
                                   [&](ByteVector& bytes) {
                                     bytes.resize(bytes.size() + more);
                                   })),
                Reason::kCorrupt)
          << name;
    }
    EXPECT_EQ(ReasonOf(ReadAfter(name,
                                 [&](ByteVector& bytes) {
                                   std::ranges::copy(content,
                                                     std::back_inserter(bytes));
                                 })),
              Reason::kCorrupt)
        << name;
  }
}

TEST_F(SnapshotDamageTest, AnyLostSectorOrPieceIsRefused) {
  for (const std::string& name : disk_.Names()) {
    const size_t size = disk_.Content(name).size();
    for (size_t begin = 0; begin < size; begin += 64) {
      const absl::Status status = ReadAfter(name, [&](ByteVector& bytes) {
        const size_t end = std::min(size, begin + 512);
        std::fill(bytes.begin() + static_cast<ptrdiff_t>(begin),
                  bytes.begin() + static_cast<ptrdiff_t>(end), std::byte{});
      });
      EXPECT_EQ(ReasonOf(status), Reason::kCorrupt) << name << " " << begin;
    }
  }
}

TEST_F(SnapshotDamageTest, ChunksThatAreSwappedDroppedOrDoubledAreRefused) {
  constexpr ptrdiff_t kChunk = 64 + 256;
  const auto refused = [&](const std::function<void(ByteVector&)>& change) {
    return ReasonOf(ReadAfter(File(0), change)) == Reason::kCorrupt;
  };

  EXPECT_TRUE(refused([&](ByteVector& bytes) {
    std::swap_ranges(bytes.begin(), bytes.begin() + kChunk,
                     bytes.begin() + kChunk);
  }));
  EXPECT_TRUE(refused([&](ByteVector& bytes) {
    std::copy_n(bytes.begin(), kChunk, bytes.begin() + kChunk);
  }));
  EXPECT_TRUE(refused([&](ByteVector& bytes) {
    bytes.erase(bytes.begin(), bytes.begin() + kChunk);
  }));
  EXPECT_TRUE(refused([&](ByteVector& bytes) {
    bytes.erase(bytes.begin() + kChunk, bytes.begin() + 2 * kChunk);
  }));
  // Only payloads.
  EXPECT_TRUE(refused([&](ByteVector& bytes) {
    std::swap_ranges(bytes.begin() + 64, bytes.begin() + kChunk,
                     bytes.begin() + kChunk + 64);
  }));
}

// Another chunk in the place of the first or the last one, sealed as if it had
// been written there: all of it fits, but what comes after it, or the manifest,
// does not.
TEST_F(SnapshotDamageTest, AWholeChunkThatIsAnotherOneIsRefused) {
  const ByteVector manifest_bytes = disk_.Content(Manifest());
  const auto manifest = DecodeManifest(manifest_bytes);
  ASSERT_TRUE(manifest.has_value());
  for (const size_t index : {0, 1, 2}) {
    const uint64_t seed = DataFileSeed(manifest->seed, index);
    const absl::Status status = ReadAfter(File(index), [&](ByteVector& bytes) {
      const std::span<std::byte> all(bytes);
      StoredChunk chunk = *DecodeChunkHeader(all.first<64>(), seed, 0);
      // A flip in the first chunk, and a checksum that fits it.
      bytes[64] ^= std::byte{1};
      const Bytes body = all.subspan(
          64, static_cast<size_t>(ChunkBodyBytes(chunk.payload_bytes)));
      chunk.checksum = Checksum(chunk, {&body, 1}, seed);
      std::ranges::copy(Encode(chunk, seed, 0), bytes.begin());
      // It is given, unless it is the last one: nothing before it is wrong.
      content_.chunks[kFirstChunk[index]].payload[0] ^= std::byte{1};
    });
    content_.chunks[kFirstChunk[index]].payload[0] ^= std::byte{1};
    EXPECT_EQ(ReasonOf(status), Reason::kCorrupt) << index;
  }
}

TEST_F(SnapshotDamageTest, SwappedFilesAreRefused) {
  // Of two files of one size.
  const Content content = {
      .chunks = {{.header = {.index = 1}, .payload = PayloadOf(1, 1000)},
                 {.header = {.index = 2}, .payload = PayloadOf(2, 1000)}},
      .body = {}};
  ASSERT_TRUE(WriteSnapshot(*snapshots_, 50, content).ok());
  const std::string first = In(50, DataFileName(0));
  const std::string second = In(50, DataFileName(1));
  const ByteVector bytes = disk_.Content(first);
  ASSERT_EQ(bytes.size(), disk_.Content(second).size());

  disk_.SetContent(first, disk_.Content(second));
  disk_.SetContent(second, bytes);

  EXPECT_EQ(ReasonOf(ReadSnapshot(*snapshots_, 50).status()), Reason::kCorrupt);
}

TEST_F(SnapshotDamageTest, AMissingFileIsRefused) {
  for (const std::string& name : {File(0), File(1), File(2), Manifest()}) {
    ModelDisk damaged(disk_);
    const auto snapshots = OpenSnapshots(damaged);
    const std::string last = name.substr(name.rfind('/') + 1);
    ASSERT_TRUE(snapshots->OpenDirectory(SnapshotName(kLsn))
                    .value()
                    ->Remove(last)
                    .ok());

    const absl::Status status = ReadDamaged(damaged);

    EXPECT_EQ(ReasonOf(status), Reason::kCorrupt) << name;
    EXPECT_THAT(std::string(status.message()),
                ::testing::AllOf(::testing::HasSubstr(name),
                                 ::testing::HasSubstr("missing"),
                                 ::testing::HasSubstr("older snapshot")));
  }
}

// The other snapshot has the same content.
TEST_F(SnapshotDamageTest, AFileOfAnotherSnapshotIsRefused) {
  ASSERT_TRUE(
      WriteSnapshot(*snapshots_, 50, content_, {.file_bytes_max = 704}).ok());
  for (const std::string& name :
       {DataFileName(0), DataFileName(1), DataFileName(2),
        std::string(kManifestName)}) {
    const absl::Status status =
        ReadAfter(In(kLsn, name), [&](ByteVector& bytes) {
          const size_t size = bytes.size();
          bytes = disk_.Content(In(50, name));
          EXPECT_EQ(bytes.size(), size);
        });
    EXPECT_EQ(ReasonOf(status), Reason::kCorrupt) << name;
  }
}

TEST_F(SnapshotDamageTest, ASnapshotUnderAnothersNameIsRefused) {
  // The whole directory, with its manifest.
  ASSERT_TRUE(WriteSnapshot(*snapshots_, 50, content_).ok());
  ASSERT_TRUE(RemoveSnapshot(*snapshots_, kLsn).ok());
  ASSERT_TRUE(snapshots_->Rename(SnapshotName(50), SnapshotName(kLsn)).ok());

  const absl::Status status = ReadDamaged(disk_);

  EXPECT_EQ(ReasonOf(status), Reason::kCorrupt);
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("of the snapshot 0000000000000032"));
}

TEST_F(SnapshotDamageTest, ASnapshotOfAnotherDataDirectoryIsRefused) {
  const absl::Status status =
      SnapshotReader::Open(*snapshots_, Identity{std::byte{9}}, kLsn).status();
  EXPECT_EQ(ReasonOf(status), Reason::kForeignData);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(Manifest()));
}

TEST_F(SnapshotDamageTest, OneThatIsNotThereIsNotFound) {
  EXPECT_EQ(ReasonOf(SnapshotReader::Open(*snapshots_, kIdentity, 43).status()),
            Reason::kIoFailed);
}

class SnapshotVersionTest : public SnapshotDamageTest {
 protected:
  absl::Status ReadVersion(const FormatVersion& version) {
    return ReadAfter(Manifest(), [&](ByteVector& bytes) {
      const ByteVector before = bytes;
      auto manifest = *DecodeManifest(before);
      manifest.version = version;
      bytes = Encode(manifest);
    });
  }
};

TEST_F(SnapshotVersionTest, ALaterMajorOrAnUnknownFeatureIsRefusedAsSuch) {
  for (const FormatVersion& version :
       {FormatVersion{.major = 2}, FormatVersion{.major = 0xFFFF},
        FormatVersion{.incompatible_features = 1},
        FormatVersion{.incompatible_features = 0x80000000}}) {
    const absl::Status status = ReadVersion(version);
    EXPECT_EQ(ReasonOf(status), Reason::kFormatTooNew) << status;
    EXPECT_THAT(std::string(status.message()),
                ::testing::HasSubstr(Manifest()));
  }
}

TEST_F(SnapshotVersionTest, ALaterMinorIsRead) {
  EXPECT_EQ(ReadVersion({.minor = 7}), absl::OkStatus());
}

// All of it but its first 16 bytes and its end may be otherwise.
TEST_F(SnapshotVersionTest, ALaterMajorNeedsNoHeaderOfOurs) {
  const absl::Status status = ReadAfter(Manifest(), [](ByteVector& bytes) {
    bytes.resize(24);
    bytes[8] = std::byte{2};
    const uint64_t seal = XXH3_64bits_withSeed(bytes.data(), 16, 0);
    std::memcpy(bytes.data() + 16, &seal, 8);
  });
  EXPECT_EQ(ReasonOf(status), Reason::kFormatTooNew);
}

}  // namespace
}  // namespace quire::journal
