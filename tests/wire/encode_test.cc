// What we write against what the generated code would.

#include "wire/encode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "main/seed.h"
#include "quire/v1/embedding.pb.h"
#include "tests/wire/messages.h"
#include "tests/wire/random.h"

namespace quire::wire {
namespace {

using namespace quire::wire::testing;
using quire::testing::Seed;

std::optional<TableUid> UidOf(std::string_view bytes) {
  TableUid uid;
  if (bytes.size() != uid.bytes.size()) {
    return std::nullopt;
  }
  std::memcpy(uid.bytes.data(), bytes.data(), bytes.size());
  return uid;
}

Shape ShapeOf(const v1::Shape& message) {
  const std::vector<int64_t> dims(message.dims().begin(), message.dims().end());
  return Shape::Make(dims, kRankMax + 1).value();
}

// A tensor as we send it: with its shape and type.
Shape Normalise(v1::Tensor& tensor) {
  if (!tensor.has_shape()) {
    tensor.mutable_shape()->add_dims(
        tensor.values_size() + static_cast<int>(tensor.packed().size() / 2));
  }
  if (tensor.dtype() == v1::ELEMENT_TYPE_UNSPECIFIED) {
    tensor.set_dtype(v1::ELEMENT_TYPE_FLOAT32);
  }
  return ShapeOf(tensor.shape());
}

// Where resolved offsets are kept, for as long as entries point to them.
using Offsets = std::deque<std::vector<int64_t>>;

// The bags of `ids`, with offsets as the reader would resolve them.
std::optional<Bags> BagsOf(const v1::Bags& bags, const v1::IdBatch& ids,
                           Offsets& kept) {
  std::vector<int64_t>& offsets =
      kept.emplace_back(bags.offsets().begin(), bags.offsets().end());
  if (ids.shape().dims_size() == 2) {
    for (int64_t row = 0; row < ids.shape().dims(0); ++row) {
      offsets.push_back(row * ids.shape().dims(1));
    }
  }
  offsets.push_back(ids.ids_size());
  constexpr Pooling kPoolings[] = {Pooling::kSum, Pooling::kSum, Pooling::kMean,
                                   Pooling::kMax, Pooling::kSqrtn};
  return Bags{
      .pooling = kPoolings[bags.pooling()],
      .offsets = offsets,
      .weights = std::span(bags.weights().data(), bags.weights().size()),
      .winners = std::span(bags.winners().data(), bags.winners().size())};
}

template <typename Table>
std::optional<Bags> BagsOf(const Table& table, Offsets& kept) {
  return table.has_bags() ? BagsOf(table.bags(), table.ids(), kept)
                          : std::nullopt;
}

// FLOAT32 is left out, which means it too; the parts are always there.
LookupEntry EntryOf(v1::TableLookup& table, Offsets& kept) {
  if (table.output_dtype() == v1::ELEMENT_TYPE_FLOAT32) {
    table.clear_output_dtype();
  }
  const v1::TableRef& ref = *table.mutable_table();
  const v1::IdBatch& ids = *table.mutable_ids();
  return {.table_name = ref.name(),
          .table_uid = UidOf(ref.uid()),
          .ids_shape = ids.has_shape() ? std::optional(ShapeOf(ids.shape()))
                                       : std::nullopt,
          .ids = std::span(ids.ids().data(), ids.ids().size()),
          .bags = BagsOf(table, kept),
          .return_winners = table.bags().return_winners(),
          .output_dtype = static_cast<ElementType>(table.output_dtype())};
}

GradientEntry EntryOf(v1::TableGradient& table, Offsets& kept) {
  const v1::TableRef& ref = *table.mutable_table();
  const v1::IdBatch& ids = *table.mutable_ids();
  v1::Tensor& gradient = *table.mutable_gradient();
  const Shape shape = Normalise(gradient);
  return {
      .table_name = ref.name(),
      .table_uid = UidOf(ref.uid()),
      .learning_rate = table.has_learning_rate()
                           ? std::optional(table.learning_rate())
                           : std::nullopt,
      .gradient_scale = table.has_gradient_scale()
                            ? std::optional(table.gradient_scale())
                            : std::nullopt,
      .return_weight_gradients = table.return_weight_gradients(),
      .duplicates_summed = table.duplicates_summed(),
      .ids_shape =
          ids.has_shape() ? std::optional(ShapeOf(ids.shape())) : std::nullopt,
      .ids = std::span(ids.ids().data(), ids.ids().size()),
      .bags = BagsOf(table, kept),
      .gradient_shape = shape,
      .gradient = std::span(gradient.values().data(), gradient.values().size()),
      .gradient_dtype = static_cast<ElementType>(gradient.dtype())};
}

RowsEntry EntryOf(v1::TableLookupResult& table, Offsets&) {
  const Shape shape = Normalise(*table.mutable_embeddings());
  return {.table_uid = UidOf(table.table_uid()).value(),
          .shape = shape,
          .has_winners = table.winners_size() > 0,
          .dtype = static_cast<ElementType>(table.embeddings().dtype())};
}

// Normalises the tables of a message; what they become as entries.
template <typename Entry, typename Message>
std::vector<Entry> EntriesOf(Message& message, Offsets& kept) {
  std::vector<Entry> entries;
  for (auto& table : *message.mutable_tables()) {
    entries.push_back(EntryOf(table, kept));
  }
  return entries;
}

// What we send for a message, into a buffer full of something else.

std::string Buffer(const MessageLayout& layout) {
  return std::string(static_cast<size_t>(layout.size()), '\xaa');
}

std::byte* Begin(std::string& buffer) {
  return reinterpret_cast<std::byte*>(buffer.data());
}

// A payload that is the caller's to write.
template <typename Elements>
void WritePayload(const MessageLayout& layout, size_t index,
                  const Elements& elements, std::string& buffer) {
  const auto bytes = std::as_bytes(
      std::span(elements.data(), static_cast<size_t>(elements.size())));
  EXPECT_EQ(layout.payload_size(index), std::ssize(bytes));
  std::ranges::copy(bytes, Begin(buffer) + layout.payload_offset(index));
}

using RequestId = std::optional<uint64_t>;

Position PositionOf(const v1::Position& message) {
  return {.epoch = message.epoch(), .lsn = message.lsn()};
}

std::string Ours(v1::LookupRequest& message, RequestId request_id) {
  Offsets kept;
  const auto entries = EntriesOf<LookupEntry>(message, kept);
  const MessageLayout layout = LayOutLookupRequest(
      entries,
      message.has_max_response_bytes()
          ? std::optional<int64_t>(message.max_response_bytes())
          : std::nullopt,
      request_id,
      message.has_min_position()
          ? std::optional(PositionOf(message.min_position()))
          : std::nullopt);
  std::string buffer = Buffer(layout);
  Encode(entries, layout, Begin(buffer));
  return buffer;
}

std::string Ours(v1::ApplyGradientRequest& message, RequestId request_id) {
  // Is written apart: EncodePushId.
  message.clear_push_id();
  Offsets kept;
  const auto entries = EntriesOf<GradientEntry>(message, kept);
  const MessageLayout layout =
      LayOutApplyGradientRequest(entries, message.min_durability(), request_id);
  std::string buffer = Buffer(layout);
  Encode(entries, layout, Begin(buffer));
  for (int i = 0; i < message.tables_size(); ++i) {
    if (IsHalf(entries[static_cast<size_t>(i)].gradient_dtype)) {
      WritePayload(layout, 4 * static_cast<size_t>(i) + 3,
                   message.tables(i).gradient().packed(), buffer);
    }
  }
  return buffer;
}

std::string Ours(v1::LookupResponse& message, RequestId request_id) {
  Offsets kept;
  const auto entries = EntriesOf<RowsEntry>(message, kept);
  const std::optional<Position> position =
      message.has_position() ? std::optional(PositionOf(message.position()))
                             : std::nullopt;
  const MessageLayout layout =
      LayOutLookupResponse(entries, request_id, position);
  EXPECT_EQ(LookupResponseBytes(entries, request_id, position), layout.size());
  std::string buffer = Buffer(layout);
  for (int i = 0; i < message.tables_size(); ++i) {
    const size_t payload = 2 * static_cast<size_t>(i);
    const v1::Tensor& rows = message.tables(i).embeddings();
    WritePayload(layout, payload, message.tables(i).winners(), buffer);
    if (rows.packed().empty()) {
      WritePayload(layout, payload + 1, rows.values(), buffer);
    } else {
      WritePayload(layout, payload + 1, rows.packed(), buffer);
    }
  }
  layout.WriteHeaders(Begin(buffer));
  return buffer;
}

// A message, and the one around it on a stream.
template <typename InnerMessage, typename StreamMessage>
struct Pair {
  using Message = InnerMessage;
  using Stream = StreamMessage;
};

v1::LookupRequest& Inner(v1::LookupStreamRequest& stream) {
  return *stream.mutable_request();
}
v1::ApplyGradientRequest& Inner(v1::ApplyGradientStreamRequest& stream) {
  return *stream.mutable_request();
}
v1::LookupResponse& Inner(v1::LookupStreamResponse& stream) {
  return *stream.mutable_response();
}

template <typename Pair>
class EncodeTest : public ::testing::Test {
 protected:
  Random random_{Seed()};
};
using Messages = ::testing::Types<
    Pair<v1::LookupRequest, v1::LookupStreamRequest>,
    Pair<v1::ApplyGradientRequest, v1::ApplyGradientStreamRequest>,
    Pair<v1::LookupResponse, v1::LookupStreamResponse>>;
TYPED_TEST_SUITE(EncodeTest, Messages);

TYPED_TEST(EncodeTest, WritesWhatTheGeneratedCodeWould) {
  for (int i = 0; i < 3000; ++i) {
    auto message = RandomMessage<typename TypeParam::Message>(this->random_,
                                                              Legality::kLegal);

    const std::string ours = Ours(message, std::nullopt);

    ASSERT_EQ(ours, Serialise(message)) << message.DebugString();
  }
}

TYPED_TEST(EncodeTest, WritesWhatTheGeneratedCodeWouldOnStreams) {
  for (int i = 0; i < 3000; ++i) {
    typename TypeParam::Stream stream;
    stream.set_request_id(this->random_.OneIn(8) ? 0 : this->random_.Bits());
    Fill(this->random_, Legality::kLegal, Inner(stream));

    const std::string ours = Ours(Inner(stream), stream.request_id());

    ASSERT_EQ(ours, Serialise(stream)) << stream.DebugString();
  }
}

// Numbers of every length, and the longest.
TEST(EncodePushIdTest, InFrontOfAPushItIsWhatTheGeneratedCodeWouldWrite) {
  Random random(Seed());
  for (int i = 0; i < 3000; ++i) {
    auto message =
        RandomMessage<v1::ApplyGradientRequest>(random, Legality::kLegal);
    message.clear_push_id();
    std::string session_id(random.OneIn(8) ? 0 : 16, ' ');
    std::ranges::generate(session_id,
                          [&] { return static_cast<char>(random.Bits()); });
    const uint64_t sequence =
        random.OneIn(8) ? 0 : ~uint64_t{0} >> random.Index(64);

    const std::string push_id = EncodePushId(session_id, sequence);

    EXPECT_LE(std::ssize(push_id), kPushIdBytesMax);
    const std::string ours = push_id + Ours(message, std::nullopt);
    message.mutable_push_id()->set_session_id(session_id);
    message.mutable_push_id()->set_sequence(sequence);
    ASSERT_EQ(ours, Serialise(message)) << message.DebugString();
  }
  EXPECT_EQ(std::ssize(EncodePushId(std::string(16, 's'), ~uint64_t{0})),
            kPushIdBytesMax);
}

TEST(MessageLayoutTest, GradientsMayBeWrittenLater) {
  const std::vector<int64_t> ids = {3, 1};
  const std::vector<float> gradient = {1, 2, 3, 4};
  GradientEntry entry = {.table_name = "words",
                         .ids = ids,
                         .gradient_shape = {2, 2},
                         .gradient = gradient};
  const MessageLayout layout = LayOutApplyGradientRequest({{entry}});
  std::string at_once = Buffer(layout);
  Encode(std::span(&entry, 1), layout, Begin(at_once));

  entry.gradient = {};
  std::string later = Buffer(layout);
  Encode(std::span(&entry, 1), layout, Begin(later));
  EXPECT_NE(later, at_once);
  std::memcpy(Begin(later) + layout.payload_offset(3), gradient.data(),
              static_cast<size_t>(layout.payload_size(3)));

  EXPECT_EQ(layout.payload_count(), 4);
  EXPECT_EQ(later, at_once);
}

TEST(MessageLayoutTest, AnEmptyPayloadHasAPlace) {
  const RowsEntry entries[] = {{.shape = {0, 5}}, {.shape = {1, 5}}};

  const MessageLayout layout = LayOutLookupResponse(entries);

  EXPECT_EQ(layout.payload_count(), 4);
  EXPECT_EQ(layout.payload_size(1), 0);
  EXPECT_EQ(layout.payload_size(3), 20);
  EXPECT_LE(layout.payload_offset(3) + 20, layout.size());
}

TEST(MessageLayoutTest, TheShiftAlignsTheFirstPayloadThatIsNotEmpty) {
  Random random(Seed());
  for (int i = 0; i < 200; ++i) {
    const RowsEntry entry = {.shape = {random.Between(1, 500), 7},
                             .has_winners = random.OneIn(2)};
    const MessageLayout layout = LayOutLookupResponse({{entry}}, random.Bits());

    const int64_t shift = layout.alignment_shift();

    EXPECT_GE(shift, 0);
    EXPECT_LT(shift, 64);
    const size_t first = entry.has_winners ? 0 : 1;
    EXPECT_EQ((shift + layout.payload_offset(first)) % 64, 0);
  }
  EXPECT_EQ(MessageLayout().alignment_shift(), 0);
}

TEST(MessageLayoutTest, SizesThatCannotBeDoNotOverflow) {
  constexpr int64_t kDimMax = std::numeric_limits<int32_t>::max();
  constexpr int64_t kSizeMax = std::numeric_limits<int64_t>::max();
  const RowsEntry large = {.shape = {kDimMax, kDimMax, 2}};
  const RowsEntry entries[] = {large, large, {.shape = {2}}};

  const MessageLayout layout = LayOutLookupResponse(entries);

  EXPECT_EQ(layout.size(), kSizeMax);
  EXPECT_EQ(LookupResponseBytes(entries), kSizeMax);
}

TEST(MessageLayoutTest, AnEmptyMessageIsNoBytes) {
  EXPECT_EQ(LayOutLookupResponse({}).size(), 0);
  EXPECT_EQ(LookupResponseBytes({}), 0);
  EXPECT_EQ(MessageLayout().size(), 0);
}

TEST(MessageLayoutDeathTest, TheApiHasNoDimOverInt32) {
  const RowsEntry entry = {.shape = {0, int64_t{1} << 31}};
  EXPECT_DEATH(LayOutLookupResponse({{entry}}), "no larger dims");
}

TEST(MessageLayoutDeathTest, AMessageOver2GiBIsNotWritten) {
  const RowsEntry entry = {.shape = {int64_t{1} << 29}};
  const MessageLayout layout = LayOutLookupResponse({{entry}});
  std::byte buffer[64];
  EXPECT_DEATH(layout.WriteHeaders(buffer), "no messages over 2 GiB");
}

}  // namespace
}  // namespace quire::wire
