// What reading and writing cost: little for usual messages, and never much more
// than its own bytes for a message that is meant to hurt.

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "quire/v1/embedding.pb.h"
#include "tests/wire/heap.h"
#include "tests/wire/pieces.h"
#include "wire/encode.h"
#include "wire/requests.h"

namespace quire::wire {
namespace {

using testing::HeapWatch;
using testing::Pieces;
using std::string_view_literals::operator""sv;

constexpr int64_t kMiB = int64_t{1} << 20;

// `part`, `count` times.
std::string Repeat(std::string_view part, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    bytes += part;
  }
  return bytes;
}

// A field of WireType::kLength.
std::string Field(int number, std::string_view value) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  size_t size = value.size();
  for (; size >= 0x80; size >>= 7) {
    field += static_cast<char>(size | 0x80);
  }
  field += static_cast<char>(size);
  return field.append(value);
}

constexpr int kTables = v1::LookupRequest::kTablesFieldNumber;
constexpr int kIds = v1::TableLookup::kIdsFieldNumber;
constexpr int kShape = v1::IdBatch::kShapeFieldNumber;

// How a message is refused, and that it took no more than `bytes_max` to see.
Reason RefusalWithin(int64_t bytes_max, std::string_view message) {
  const google::protobuf::LogSilencer silencer;
  const Pieces pieces(message);
  // What protobuf sets up at its first use is not this message's.
  LookupRequest::Parse(Pieces("\x1a\x7f")).status().IgnoreError();
  const HeapWatch heap;
  const absl::Status status = LookupRequest::Parse(pieces).status();
  EXPECT_LE(heap.bytes_max(), bytes_max) << status;
  return ReasonOf(status).value_or(Reason::kBug);
}

TEST(CostTest, ALookupOfOneTableAllocatesItsTableOnly) {
  v1::LookupRequest message;
  v1::TableLookup& table = *message.add_tables();
  table.mutable_table()->set_name("dictionary");
  table.mutable_ids()->mutable_shape()->add_dims(4096);
  table.mutable_ids()->mutable_ids()->Resize(4096, 17);
  const Pieces pieces(message.SerializeAsString());

  const HeapWatch heap;
  const auto parsed = LookupRequest::Parse(pieces);

  ASSERT_TRUE(parsed.ok());
  EXPECT_LE(heap.allocation_count(), 2);
  EXPECT_LE(heap.bytes_max(), 1024);
}

TEST(CostTest, AReplyOfOneTableIsLaidOutInPlace) {
  const RowsEntry entry = {.shape = {64, 64, 16}};

  const HeapWatch heap;
  const MessageLayout layout = LayOutLookupResponse({{entry}}, 1);
  const int64_t size = LookupResponseBytes({{entry}}, 1);

  EXPECT_EQ(size, layout.size());
  EXPECT_EQ(heap.allocation_count(), 0);
}

TEST(CostTest, TheSizeOfAReplyOfManyTablesAllocatesNothing) {
  const std::vector<RowsEntry> entries(kTablesPerRequestMax);

  const HeapWatch heap;
  const int64_t size = LookupResponseBytes(entries);

  EXPECT_EQ(heap.allocation_count(), 0);
  EXPECT_EQ(size, LayOutLookupResponse(entries).size());
}

TEST(CostTest, MillionsOfEmptyTablesAreRefusedAsBytes) {
  const std::string message = Repeat(Field(kTables, ""), 4'000'000);

  EXPECT_EQ(RefusalWithin(4 * kMiB, message), Reason::kTooLarge);
}

TEST(CostTest, MillionsOfUnknownFieldsAreRefusedAsBytes) {
  // Two bytes each, a hundred as objects: numbers, strings, groups.
  for (const std::string_view field :
       {"\x78\x01"sv, "\x7a\x00"sv, "\x7b\x7c"sv}) {
    EXPECT_EQ(RefusalWithin(kMiB, Repeat(field, 4'000'000)), Reason::kTooLarge);
  }
}

TEST(CostTest, NothingHidesTheFieldsBehindIt) {
  // Each is legal, and would end the count if it were read as `tables`.
  const std::string unknown = Repeat("\x78\x01", 4'000'000);

  for (const std::string_view screen :
       {"\x7b\x1a\x01\xff\x7c"sv, "\x18\x05"sv, "\x1d\xff\xff\xff\xff"sv}) {
    EXPECT_EQ(RefusalWithin(kMiB, std::string(screen) + unknown),
              Reason::kTooLarge);
  }
}

TEST(CostTest, MillionsOfDimsAreRefusedAsBytes) {
  const std::string dims = Repeat("\x01", 4'000'000);
  const std::string packed =
      Field(kTables, Field(kIds, Field(kShape, Field(1, dims))));
  const std::string unpacked =
      Field(kTables, Field(kIds, Field(kShape, Repeat("\x08\x01", 4'000'000))));

  EXPECT_EQ(RefusalWithin(kMiB, packed), Reason::kTooLarge);
  EXPECT_EQ(RefusalWithin(kMiB, unpacked), Reason::kTooLarge);
}

TEST(CostTest, TheMostFieldsThatAreAllowedStayWithinBounds) {
  const std::string fields = Repeat("\x7b\x7c", kFieldsPerMessageMax / 2);
  const Pieces pieces(fields);

  const HeapWatch heap;
  const auto parsed = LookupRequest::Parse(pieces);

  EXPECT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_LE(heap.bytes_max(), 128 * kFieldsPerMessageMax);
  EXPECT_GE(heap.bytes_max(), 8 * kFieldsPerMessageMax)
      << "the objects of the generated code are counted";
}

TEST(CostTest, UnpackedIdsAreReadAtASmallMultipleOfTheirBytes) {
  const int count = 1'000'000;
  const std::string ids = Repeat("\x11\x01\0\0\0\0\0\0\0"sv, count);
  const std::string message = Field(kTables, Field(kIds, ids));
  const Pieces pieces(message);

  const HeapWatch heap;
  const auto parsed = LookupRequest::Parse(pieces);

  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->id_count, count);
  EXPECT_LE(heap.bytes_max(), 4 * static_cast<int64_t>(message.size()));
}

TEST(CostTest, DeepNestingIsMalformed) {
  EXPECT_EQ(RefusalWithin(kMiB, Repeat("\x7b", 100'000)), Reason::kMalformed);
  EXPECT_EQ(
      RefusalWithin(kMiB, Repeat("\x7b", 100'000) + Repeat("\x7c", 100'000)),
      Reason::kMalformed);

  // Messages of unknown fields are mere bytes, however deep they go.
  std::string nested;
  for (int i = 0; i < 1000; ++i) {
    nested = Field(15, nested);
  }
  EXPECT_TRUE(LookupRequest::Parse(Pieces(nested)).ok());
}

TEST(CostTest, LengthsBeyondTheMessageAreMalformed) {
  for (const std::string_view length :
       {"\x7f", "\xff\xff\xff\x7f", "\xff\xff\xff\xff\x07",
        "\xff\xff\xff\xff\x0f", "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"}) {
    const std::string table = "\x1a" + std::string(length);
    const std::string ids = "\x12" + std::string(length);

    EXPECT_EQ(RefusalWithin(4096, table), Reason::kMalformed);
    EXPECT_EQ(RefusalWithin(4096, Field(kTables, Field(kIds, ids))),
              Reason::kMalformed);
  }
}

TEST(CostTest, AMessageOver2GiBIsRefusedUnread) {
  const std::string piece(kMiB, '\0');
  const std::vector<Bytes> pieces(2048, std::as_bytes(std::span(piece)));

  const HeapWatch heap;
  const absl::Status status = LookupRequest::Parse(pieces).status();

  EXPECT_EQ(ReasonOf(status), Reason::kTooLarge);
  EXPECT_EQ(status.message(),
            "a message of 2147483648 bytes; protobuf has no messages over 2 "
            "GiB");
  EXPECT_LE(heap.bytes_max(), 4096);
}

}  // namespace
}  // namespace quire::wire
