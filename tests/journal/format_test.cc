// The bytes of a log, as docs/FORMATS.md has them.

#include "journal/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "journal/snapshot_format.h"
#include "main/seed.h"

namespace quire::journal {
namespace {

template <typename Number>
Number At(Bytes bytes, size_t offset) {
  Number number;
  std::memcpy(&number, bytes.data() + offset, sizeof(number));
  return number;
}

SegmentHeader SomeHeader() {
  SegmentHeader header{.minor = 3,
                       .incompatible_features = 0x80000001,
                       .number = 0x0102030405060708,
                       .segment_bytes = 1 << 28,
                       .seed = 42};
  header.identity.fill(std::byte{0x5A});
  return header;
}

TEST(FormatTest, ASegmentsHeaderLiesAsTheGrammarSays) {
  const SegmentHeaderBytes bytes = Encode(SomeHeader());
  EXPECT_EQ(std::memcmp(bytes.data(), "QUIRELOG", 8), 0);
  EXPECT_EQ(At<uint16_t>(bytes, 8), 1);
  EXPECT_EQ(At<uint16_t>(bytes, 10), 3);
  EXPECT_EQ(At<uint32_t>(bytes, 12), 0x80000001);
  EXPECT_EQ(bytes[16], std::byte{0x5A});
  EXPECT_EQ(bytes[31], std::byte{0x5A});
  EXPECT_EQ(At<uint64_t>(bytes, 32), 0x0102030405060708u);
  EXPECT_EQ(At<int64_t>(bytes, 40), 1 << 28);
  EXPECT_EQ(At<uint64_t>(bytes, 48), 42u);
  EXPECT_TRUE(std::all_of(bytes.begin() + 56, bytes.end() - 8,
                          [](std::byte b) { return b == std::byte{}; }));
  EXPECT_EQ(DecodeSegmentHeader(bytes), SomeHeader());
}

RecordHeader SomeRecord() {
  return {.type = 7,
          .payload_bytes = 0x7FFF'FFFF,
          .zero_sectors = 9,
          .lsn = 0x1122334455667788,
          .synced_lsn = 0x1122334455667700,
          .checksum = 0xFEDCBA9876543210};
}

TEST(FormatTest, ARecordsHeaderLiesAsTheGrammarSays) {
  const RecordHeaderBytes bytes = Encode(SomeRecord(), 11, 640);
  EXPECT_EQ(std::memcmp(bytes.data(), "QREC", 4), 0);
  EXPECT_EQ(At<uint8_t>(bytes, 4), 1);
  EXPECT_EQ(At<uint8_t>(bytes, 5), 7);
  EXPECT_EQ(At<uint16_t>(bytes, 6), 0);
  EXPECT_EQ(At<uint32_t>(bytes, 8), 0x7FFF'FFFFu);
  EXPECT_EQ(At<uint32_t>(bytes, 12), 9u);
  EXPECT_EQ(At<uint64_t>(bytes, 16), 0x1122334455667788u);
  EXPECT_EQ(At<uint64_t>(bytes, 24), 0x1122334455667700u);
  EXPECT_EQ(At<uint64_t>(bytes, 32), 0xFEDCBA9876543210u);
  EXPECT_EQ(DecodeRecordHeader(bytes, 11, 640), SomeRecord());
}

TEST(FormatTest, ARecordsHeaderIsOfItsPlaceAndItsFile) {
  const RecordHeaderBytes bytes = Encode(SomeRecord(), 11, 640);
  EXPECT_EQ(DecodeRecordHeader(bytes, 11, 704), std::nullopt);
  EXPECT_EQ(DecodeRecordHeader(bytes, 12, 640), std::nullopt);
}

TEST(FormatTest, AHeaderWithAFlippedBitIsNone) {
  SegmentHeaderBytes segment = Encode(SomeHeader());
  RecordHeaderBytes record = Encode(SomeRecord(), 11, 640);
  for (size_t bit = 0; bit < segment.size() * 8; ++bit) {
    segment[bit / 8] ^= std::byte{1} << bit % 8;
    EXPECT_EQ(DecodeSegmentHeader(segment), std::nullopt) << bit;
    segment[bit / 8] ^= std::byte{1} << bit % 8;
  }
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    record[bit / 8] ^= std::byte{1} << bit % 8;
    EXPECT_EQ(DecodeRecordHeader(record, 11, 640), std::nullopt) << bit;
    record[bit / 8] ^= std::byte{1} << bit % 8;
  }
}

TEST(FormatTest, LinksHaveOneSize) {
  const SegmentLink link{.epoch = 3,
                         .first_lsn = 900,
                         .previous_end = 4096,
                         .previous_checksum = 77};
  const SegmentLinkBytes bytes = Encode(link);
  EXPECT_EQ(DecodeSegmentLink(bytes), link);
  EXPECT_EQ(DecodeSegmentLink(Bytes(bytes).first(31)), std::nullopt);
}

TEST(FormatTest, NamesOfSegments) {
  EXPECT_EQ(SegmentName(0xBEEF), "000000000000beef.log");
  EXPECT_EQ(SegmentNumber("000000000000beef.log"), 0xBEEFu);
  for (const char* other :
       {"", "000000000000BEEF.log", "beef.log", "000000000000beef.logs",
        "segment.draft", "LOCK", "0000000000000000beef.log"}) {
    EXPECT_EQ(SegmentNumber(other), std::nullopt) << other;
  }
}

TEST(FormatTest, RecordsFillMultiplesOf64AndEndWithAByteThatIsNotZero) {
  for (int64_t payload = 0; payload < 300; ++payload) {
    const RecordTail tail = TailOf(payload, 1);
    EXPECT_EQ(RecordBytes(payload) % kRecordAlignment, 0);
    EXPECT_EQ(kRecordHeaderBytes + payload + static_cast<int64_t>(tail.size),
              RecordBytes(payload));
    EXPECT_GE(tail.size, 8u);
    EXPECT_LT(tail.size, 72u);
    EXPECT_EQ(tail.view().back(), std::byte{0xA5});
  }
}

TEST(FormatTest, TheChecksumIsOfTheBytesNotOfThePieces) {
  std::mt19937_64 random(testing::Seed());
  std::vector<std::byte> bytes(1000);
  std::ranges::generate(bytes,
                        [&] { return static_cast<std::byte>(random()); });
  const Bytes whole = bytes;
  const RecordTail tail = TailOf(1000, 5);
  const uint64_t checksum = Checksum({&whole, 1}, tail, 9);
  for (int i = 0; i < 100; ++i) {
    const size_t cut = random() % 1001;
    const std::array<Bytes, 3> pieces = {whole.first(cut), Bytes(),
                                         whole.subspan(cut)};
    EXPECT_EQ(Checksum(pieces, tail, 9), checksum);
  }
  EXPECT_NE(Checksum({&whole, 1}, tail, 10), checksum);
  EXPECT_NE(Checksum({&whole, 1}, TailOf(1000, 6), 9), checksum);
}

// Leaves something in a piece of the stack, at a place that `index` says.
[[gnu::noinline]] void Dirty(size_t index) {
  [[maybe_unused]] volatile std::byte stack[16384];
  for (size_t i = 0; i < 64; ++i) {
    stack[index * 64 + i] = std::byte{0x77};
  }
}

// A state of the hash that lies where one of the same seed lay before, and in
// which something else has been since, was taken for initialized.
TEST(FormatTest, AChecksumIsTheSameWhateverLayOnTheStack) {
  const std::vector<std::byte> bytes(1024, std::byte{7});
  const Bytes whole = bytes;
  const auto record = [&] { return Checksum({&whole, 1}, TailOf(1024, 5), 9); };
  const auto chunk = [&] {
    return Checksum(StoredChunk{.payload_bytes = 1024}, {&whole, 1}, 9);
  };
  const uint64_t of_record = record();
  const uint64_t of_chunk = chunk();
  for (size_t index = 0; index < 256; ++index) {
    record();
    Dirty(index);
    EXPECT_EQ(record(), of_record) << index;
    chunk();
    Dirty(index);
    EXPECT_EQ(chunk(), of_chunk) << index;
  }
}

// Sectors of the file that are zeros, the plain way.
uint32_t NaiveZeroSectors(Bytes bytes, int64_t offset) {
  uint32_t count = 0;
  for (int64_t sector = (offset + kSectorBytes - 1) / kSectorBytes;
       (sector + 1) * kSectorBytes <= offset + std::ssize(bytes); ++sector) {
    const Bytes part = bytes.subspan(
        static_cast<size_t>(sector * kSectorBytes - offset), kSectorBytes);
    count +=
        std::ranges::all_of(part, [](std::byte b) { return b == std::byte{}; })
            ? 1
            : 0;
  }
  return count;
}

TEST(FormatTest, ZeroSectorsAreCountedOverPieces) {
  std::mt19937_64 random(testing::Seed());
  uint32_t most = 0;
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::byte> bytes(random() % 5000);
    for (size_t b = 0; b < bytes.size(); b += 1 + random() % 1500) {
      bytes[b] = std::byte{1};
    }
    const auto offset = static_cast<int64_t>(random() % 2000);
    const size_t cut = random() % (bytes.size() + 1);
    const std::array<Bytes, 2> pieces = {Bytes(bytes).first(cut),
                                         Bytes(bytes).subspan(cut)};
    const uint32_t expected = NaiveZeroSectors(bytes, offset);
    EXPECT_EQ(ZeroSectors(pieces, offset), expected);
    most = std::max(most, expected);
  }
  EXPECT_GT(most, 1u);
}

}  // namespace
}  // namespace quire::journal
