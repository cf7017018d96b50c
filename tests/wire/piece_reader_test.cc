#include "wire/piece_reader.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "tests/wire/pieces.h"

namespace quire::wire {
namespace {

using std::string_view_literals::operator""sv;
using testing::Pieces;
using testing::ToString;

// One byte to a piece, an empty one after each.
Pieces Crumbs(std::string_view bytes) {
  return Pieces(bytes, [size = size_t{0}]() mutable { return size ^= 1; });
}

TEST(PieceReaderTest, NumbersCrossPieces) {
  const Pieces pieces = Crumbs(
      "\x05\x96\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
      "\x01\x02\x03\x04\x05\x06\x07\x08"sv);
  PieceReader in(pieces);

  EXPECT_EQ(in.Varint(), 5);
  EXPECT_EQ(in.Varint(), 150);
  EXPECT_EQ(in.Varint(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(in.Fixed64(), 0x0807060504030201);
  EXPECT_TRUE(in.ok());
  EXPECT_TRUE(in.AtEnd());
}

TEST(PieceReaderTest, RangesCrossPieces) {
  const Pieces pieces = Crumbs("abcdef");
  PieceReader in(pieces);

  EXPECT_EQ(ToString(in.Take(4)), "abcd");
  EXPECT_EQ(in.left(), 2);
  EXPECT_EQ(ToString(in.Take(0)), "");
  EXPECT_EQ(ToString(in.Take(2)), "ef");
  EXPECT_TRUE(in.ok());
}

TEST(PieceReaderTest, NothingIsAnEmptyMessage) {
  PieceReader none(std::span<const Bytes>{});
  const std::vector<Bytes> empty(3);
  PieceReader pieces(empty);

  EXPECT_TRUE(none.AtEnd());
  EXPECT_TRUE(pieces.AtEnd());
  EXPECT_FALSE(pieces.TakeTag(1, WireType::kVarint));
  EXPECT_TRUE(pieces.ok());
}

TEST(PieceReaderTest, ATagIsTakenIfItIsTheNext) {
  const Pieces pieces = Crumbs("\x08\x07");
  PieceReader in(pieces);

  EXPECT_FALSE(in.TakeTag(2, WireType::kVarint));
  EXPECT_FALSE(in.TakeTag(1, WireType::kLength));
  EXPECT_TRUE(in.TakeTag(1, WireType::kVarint));
  EXPECT_EQ(in.Varint(), 7);
}

TEST(PieceReaderTest, AnErrorSticks) {
  const Pieces pieces(std::string_view("\x02\x7f\x01\x08\x01"sv));
  PieceReader in(pieces);

  // A length of 127 within a message of two bytes.
  in.Nested([&] { EXPECT_EQ(in.Take(in.Length()).size(), 0); });

  EXPECT_FALSE(in.ok());
  EXPECT_TRUE(in.AtEnd());
  EXPECT_EQ(in.Varint(), 0);
  EXPECT_EQ(in.Fixed64(), 0);
  EXPECT_FALSE(in.TakeTag(1, WireType::kVarint));
}

TEST(PieceReaderTest, AMessageIsReadToItsEnd) {
  const Pieces pieces("\x02\x01\x02\x03");
  PieceReader whole(pieces);
  PieceReader half(pieces);

  whole.Nested([&] { whole.Take(whole.left()); });
  half.Nested([&] { half.Varint(); });

  EXPECT_TRUE(whole.ok());
  EXPECT_EQ(whole.Varint(), 3);
  EXPECT_FALSE(half.ok());
}

// What each of these reads leaves behind.
bool TakesVarint(std::string_view bytes) {
  const Pieces pieces(bytes);
  PieceReader in(pieces);
  in.Varint();
  return in.ok() && in.AtEnd();
}
bool TakesLength(std::string_view bytes) {
  const Pieces pieces(bytes);
  PieceReader in(pieces);
  in.Length();
  return in.ok();
}
bool Skips(WireType type, std::string_view bytes) {
  const Pieces pieces(bytes);
  PieceReader in(pieces);
  in.Skip(type);
  return in.ok() && in.AtEnd();
}

TEST(PieceReaderTest, VarintsHaveUpToTenBytes) {
  EXPECT_TRUE(TakesVarint("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"sv));
  EXPECT_TRUE(TakesVarint("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"sv));
  EXPECT_FALSE(TakesVarint("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"sv));
  EXPECT_FALSE(TakesVarint("\x80"sv));
  EXPECT_FALSE(TakesVarint(""sv));
}

TEST(PieceReaderTest, LengthsHaveUpToFiveBytesAndDoNotReachBeyondTheEnd) {
  EXPECT_TRUE(TakesLength("\x00"sv));
  EXPECT_TRUE(TakesLength("\x01x"sv));
  EXPECT_TRUE(TakesLength("\x81\x80\x80\x80\x00x"sv));
  EXPECT_FALSE(TakesLength("\x81\x80\x80\x80\x80\x00x"sv));
  EXPECT_FALSE(TakesLength("\x02x"sv));
}

TEST(PieceReaderTest, EveryKindOfValueIsSkipped) {
  EXPECT_TRUE(Skips(WireType::kVarint, "\x96\x01"sv));
  EXPECT_TRUE(Skips(WireType::kFixed32, "1234"sv));
  EXPECT_TRUE(Skips(WireType::kFixed64, "12345678"sv));
  EXPECT_TRUE(Skips(WireType::kLength, "\x02xy"sv));
  EXPECT_TRUE(Skips(WireType::kStartGroup, ""sv));
  EXPECT_TRUE(Skips(WireType::kEndGroup, ""sv));
  EXPECT_FALSE(Skips(WireType::kFixed32, "123"sv));
  EXPECT_FALSE(Skips(TypeOf(6), ""sv));
  EXPECT_FALSE(Skips(TypeOf(7), ""sv));
}

}  // namespace
}  // namespace quire::wire
