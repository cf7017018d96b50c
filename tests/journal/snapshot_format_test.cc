// The bytes of a snapshot, as docs/FORMATS.md has them.

#include "journal/snapshot_format.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

namespace quire::journal {
namespace {

template <typename Number>
Number At(Bytes bytes, size_t offset) {
  Number number;
  std::memcpy(&number, bytes.data() + offset, sizeof(number));
  return number;
}

bool IsZero(Bytes bytes) {
  return std::ranges::all_of(bytes,
                             [](std::byte b) { return b == std::byte{}; });
}

StoredChunk SomeChunk() {
  return {.header = {.stream = 0x01020304,
                     .index = 0x1112131415161718,
                     .lsn = 0x2122232425262728},
          .payload_bytes = 0x3132333435363738,
          .checksum = 0xFEDCBA9876543210};
}

TEST(SnapshotFormatTest, AChunksHeaderLiesAsTheGrammarSays) {
  const ChunkHeaderBytes bytes = Encode(SomeChunk(), 11, 640);

  EXPECT_EQ(std::memcmp(bytes.data(), "QCHK", 4), 0);
  EXPECT_EQ(At<uint32_t>(bytes, 4), 0x01020304u);
  EXPECT_EQ(At<uint64_t>(bytes, 8), 0x1112131415161718u);
  EXPECT_EQ(At<uint64_t>(bytes, 16), 0x2122232425262728u);
  EXPECT_EQ(At<int64_t>(bytes, 24), 0x3132333435363738);
  EXPECT_EQ(At<uint64_t>(bytes, 32), 0xFEDCBA9876543210u);
  EXPECT_TRUE(IsZero(Bytes(bytes).subspan(40, 16)));
  EXPECT_EQ(At<uint64_t>(bytes, 56),
            XXH3_64bits_withSeed(bytes.data(), 56, 11 + 640));
  EXPECT_EQ(DecodeChunkHeader(bytes, 11, 640), SomeChunk());
}

TEST(SnapshotFormatTest, AChunksHeaderIsOfItsPlaceAndItsFileAndWhole) {
  ChunkHeaderBytes bytes = Encode(SomeChunk(), 11, 640);

  EXPECT_EQ(DecodeChunkHeader(bytes, 11, 704), std::nullopt);
  EXPECT_EQ(DecodeChunkHeader(bytes, 12, 640), std::nullopt);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    EXPECT_EQ(DecodeChunkHeader(bytes, 11, 640), std::nullopt) << bit;
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
  }
}

TEST(SnapshotFormatTest, AChunksChecksumIsOfAllThatIsInIt) {
  const std::vector<std::byte> body(128, std::byte{7});
  const Bytes whole(body);
  const StoredChunk chunk = SomeChunk();
  const uint64_t checksum = Checksum(chunk, {&whole, 1}, 5);

  // Of the header's first 32 bytes and the body.
  const ChunkHeaderBytes header = Encode(chunk, 11, 640);
  std::vector<std::byte> all(32 + body.size());
  std::copy_n(header.begin(), 32, all.begin());
  std::ranges::copy(body, all.begin() + 32);
  EXPECT_EQ(checksum, XXH3_64bits_withSeed(all.data(), all.size(), 5));

  const Bytes pieces[] = {whole.first(3), Bytes(), whole.subspan(3)};
  EXPECT_EQ(Checksum(chunk, pieces, 5), checksum);
  EXPECT_NE(Checksum(chunk, {&whole, 1}, 6), checksum);
}

TEST(SnapshotFormatTest, EachDataFileHasItsSeed) {
  const uint64_t index = 3;
  EXPECT_EQ(DataFileSeed(42, 3), XXH3_64bits_withSeed(&index, 8, 42));
  EXPECT_NE(DataFileSeed(42, 3), DataFileSeed(42, 4));
  EXPECT_NE(DataFileSeed(42, 3), DataFileSeed(43, 3));
}

TEST(SnapshotFormatTest, BodiesFillMultiplesOf64) {
  EXPECT_EQ(ChunkBodyBytes(0), 0);
  EXPECT_EQ(ChunkBodyBytes(1), 64);
  EXPECT_EQ(ChunkBodyBytes(64), 64);
  EXPECT_EQ(ChunkBodyBytes(65), 128);
}

constexpr std::string_view kBody = "the body";

Manifest SomeManifest() {
  Manifest manifest{.version = {.minor = 3},
                    .lsn = 0x0102030405060708,
                    .seed = 0x1112131415161718,
                    .files = {{.bytes = 640, .checksum = 77},
                              {.bytes = 1 << 28, .checksum = 88}},
                    .body = std::as_bytes(std::span(kBody))};
  manifest.identity.fill(std::byte{0x5A});
  return manifest;
}

TEST(SnapshotFormatTest, AManifestLiesAsTheGrammarSays) {
  Manifest manifest = SomeManifest();
  manifest.version.incompatible_features = 0x80000001;

  const std::vector<std::byte> bytes = Encode(manifest);

  ASSERT_EQ(bytes.size(), 128u + 2 * 16 + kBody.size() + 8);
  EXPECT_EQ(std::memcmp(bytes.data(), "QUIRESNP", 8), 0);
  EXPECT_EQ(At<uint16_t>(bytes, 8), 1);
  EXPECT_EQ(At<uint16_t>(bytes, 10), 3);
  EXPECT_EQ(At<uint32_t>(bytes, 12), 0x80000001);
  EXPECT_EQ(bytes[16], std::byte{0x5A});
  EXPECT_EQ(bytes[31], std::byte{0x5A});
  EXPECT_EQ(At<uint64_t>(bytes, 32), 0x0102030405060708u);
  EXPECT_EQ(At<uint64_t>(bytes, 40), 0x1112131415161718u);
  EXPECT_EQ(At<uint64_t>(bytes, 48), 2u);
  EXPECT_EQ(At<uint64_t>(bytes, 56), kBody.size());
  EXPECT_TRUE(IsZero(Bytes(bytes).subspan(64, 64)));
  EXPECT_EQ(At<int64_t>(bytes, 128), 640);
  EXPECT_EQ(At<uint64_t>(bytes, 136), 77u);
  EXPECT_EQ(At<int64_t>(bytes, 144), 1 << 28);
  EXPECT_EQ(At<uint64_t>(bytes, 152), 88u);
  EXPECT_EQ(std::memcmp(bytes.data() + 160, kBody.data(), kBody.size()), 0);
  EXPECT_EQ(At<uint64_t>(bytes, bytes.size() - 8),
            XXH3_64bits_withSeed(bytes.data(), bytes.size() - 8, 0));
}

TEST(SnapshotFormatTest, AManifestIsDecoded) {
  const Manifest manifest = SomeManifest();
  const std::vector<std::byte> bytes = Encode(manifest);

  const auto decoded = DecodeManifest(bytes);

  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(DecodeManifestVersion(bytes), manifest.version);
  EXPECT_EQ(decoded->version, manifest.version);
  EXPECT_EQ(decoded->identity, manifest.identity);
  EXPECT_EQ(decoded->lsn, manifest.lsn);
  EXPECT_EQ(decoded->seed, manifest.seed);
  EXPECT_EQ(decoded->files, manifest.files);
  EXPECT_TRUE(std::ranges::equal(decoded->body, manifest.body));
}

void Reseal(std::vector<std::byte>& bytes) {
  const uint64_t seal = XXH3_64bits_withSeed(bytes.data(), bytes.size() - 8, 0);
  std::memcpy(bytes.data() + bytes.size() - 8, &seal, 8);
}

// Sizes that are sealed and yet not those of the bytes: nothing is allocated.
TEST(SnapshotFormatTest, SizesThatDoNotAddUpAreNoManifest) {
  const std::vector<std::byte> whole = Encode(SomeManifest());
  for (const size_t place : {48, 56}) {
    for (const uint64_t size :
         {uint64_t{0}, uint64_t{1}, uint64_t{3}, uint64_t{1} << 60,
          (uint64_t{1} << 60) + 2, ~uint64_t{0}, uint64_t{1} << 32}) {
      std::vector<std::byte> bytes = whole;
      std::memcpy(bytes.data() + place, &size, 8);
      Reseal(bytes);
      EXPECT_EQ(DecodeManifestVersion(bytes), SomeManifest().version);
      EXPECT_FALSE(DecodeManifest(bytes).has_value()) << place << " " << size;
    }
  }
  // Shorter than a header.
  for (size_t size = 0; size < whole.size(); ++size) {
    std::vector<std::byte> bytes(whole.begin(),
                                 whole.begin() + static_cast<ptrdiff_t>(size));
    if (size >= 8) {
      Reseal(bytes);
    }
    EXPECT_FALSE(DecodeManifest(bytes).has_value()) << size;
    // A later version may be of any size.
    EXPECT_EQ(DecodeManifestVersion(bytes).has_value(), size >= 24) << size;
  }
}

TEST(SnapshotFormatTest, NamesOfSnapshotsAndFiles) {
  EXPECT_EQ(SnapshotName(0xBEEF), "000000000000beef");
  EXPECT_EQ(DraftName(0xBEEF), "000000000000beef.draft");
  EXPECT_EQ(SnapshotLsn("000000000000beef"), 0xBEEFu);
  EXPECT_EQ(DraftLsn("000000000000beef.draft"), 0xBEEFu);
  EXPECT_EQ(DataFileName(0), "00000000.chunks");
  EXPECT_EQ(DataFileName(0x2A), "0000002a.chunks");
  for (const char* other :
       {"", ".draft", "000000000000BEEF", "beef", "beef.draft", "LOCK",
        "0000000000000000beef", "000000000000beef.drafts",
        "000000000000beef.draft.draft", "-00000000000beef"}) {
    EXPECT_EQ(SnapshotLsn(other), std::nullopt) << other;
    EXPECT_EQ(DraftLsn(other), std::nullopt) << other;
  }
  EXPECT_EQ(SnapshotLsn("000000000000beef.draft"), std::nullopt);
  EXPECT_EQ(DraftLsn("000000000000beef"), std::nullopt);
}

}  // namespace
}  // namespace quire::journal
