#include "tests/wire/says.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/wire/pieces.h"

namespace quire::wire::testing {
namespace {

template <typename Element>
std::vector<Element> ElementsOf(const ByteRange& range) {
  std::vector<Element> elements(range.size() / sizeof(Element));
  range.CopyTo(reinterpret_cast<std::byte*>(elements.data()));
  return elements;
}

// Floats as bits, so that NaN compares.
std::vector<uint32_t> BitsOf(
    const google::protobuf::RepeatedField<float>& values) {
  std::vector<uint32_t> bits;
  for (const float value : values) {
    bits.push_back(std::bit_cast<uint32_t>(value));
  }
  return bits;
}

std::string BytesOf(const std::optional<TableUid>& uid) {
  return uid ? std::string(uid->bytes.begin(), uid->bytes.end()) : "";
}

std::vector<int64_t> DimsOf(const Shape& shape) {
  return {shape.dims().begin(), shape.dims().end()};
}

// The dims of `holder.shape`, or [count] if there is none.
template <typename Holder>
std::vector<int64_t> DimsOf(const Holder& holder, int count) {
  return holder.has_shape()
             ? std::vector<int64_t>(holder.shape().dims().begin(),
                                    holder.shape().dims().end())
             : std::vector<int64_t>{count};
}

// The bags of a table whose ids number `id_count`: [bags + 1].
std::vector<int64_t> OffsetsOf(const v1::Bags& bags, const v1::IdBatch& ids) {
  std::vector<int64_t> offsets(bags.offsets().begin(), bags.offsets().end());
  if (ids.has_shape() && ids.shape().dims_size() == 2) {
    for (int64_t bag = 0; bag < ids.shape().dims(0); ++bag) {
      offsets.push_back(bag * ids.shape().dims(1));
    }
  }
  offsets.push_back(ids.ids_size());
  return offsets;
}

int NumberOf(Pooling pooling) {
  switch (pooling) {
    case Pooling::kSum:
      return v1::Bags::POOLING_SUM;
    case Pooling::kMean:
      return v1::Bags::POOLING_MEAN;
    case Pooling::kMax:
      return v1::Bags::POOLING_MAX;
    case Pooling::kSqrtn:
      return v1::Bags::POOLING_SQRTN;
  }
  return -1;
}

template <typename Parsed, typename Message>
void ExpectBags(const Parsed& parsed, const Message& message) {
  ASSERT_EQ(parsed.bags.has_value(), message.has_bags());
  if (!parsed.bags) {
    return;
  }
  const v1::Bags& bags = message.bags();
  EXPECT_EQ(NumberOf(parsed.bags->pooling), bags.pooling());
  EXPECT_EQ(parsed.bags->offsets, OffsetsOf(bags, message.ids()));
  EXPECT_EQ(ElementsOf<uint32_t>(parsed.bags->weights), BitsOf(bags.weights()));
  EXPECT_EQ(ElementsOf<int32_t>(parsed.bags->winners),
            std::vector<int32_t>(bags.winners().begin(), bags.winners().end()));
  EXPECT_EQ(parsed.bags->return_winners, bags.return_winners());
}

template <typename Parsed, typename Message>
void ExpectTableAndIds(const Parsed& parsed, const Message& message) {
  const v1::IdBatch& ids = message.ids();
  EXPECT_EQ(parsed.table_name, message.table().name());
  EXPECT_EQ(BytesOf(parsed.table_uid), message.table().uid());
  EXPECT_EQ(DimsOf(parsed.ids_shape), DimsOf(ids, ids.ids_size()));
  EXPECT_EQ(parsed.id_count(), ids.ids_size());
  EXPECT_EQ(ElementsOf<int64_t>(parsed.ids),
            std::vector<int64_t>(ids.ids().begin(), ids.ids().end()));
}

int NumberOf(ElementType type) { return static_cast<int>(type); }

// As it is read: unspecified is FLOAT32.
int NumberOf(v1::ElementType type) {
  return type == v1::ELEMENT_TYPE_UNSPECIFIED ? v1::ELEMENT_TYPE_FLOAT32 : type;
}

void ExpectTensor(ElementType type, const Shape& shape,
                  const ByteRange& elements, const v1::Tensor& message) {
  EXPECT_EQ(NumberOf(type), NumberOf(message.dtype()));
  if (IsHalf(type)) {
    EXPECT_EQ(DimsOf(shape),
              DimsOf(message, static_cast<int>(message.packed().size() / 2)));
    EXPECT_EQ(ToString(elements), message.packed());
    return;
  }
  EXPECT_EQ(DimsOf(shape), DimsOf(message, message.values_size()));
  EXPECT_EQ(ElementsOf<uint32_t>(elements), BitsOf(message.values()));
}

template <typename Parsed, typename Message>
void ExpectTablesAndIds(const Parsed& parsed, const Message& message) {
  int64_t id_count = 0;
  int64_t bag_count = 0;
  EXPECT_EQ(parsed.tables.size(), static_cast<size_t>(message.tables_size()));
  for (int i = 0; i < message.tables_size(); ++i) {
    ExpectTableAndIds(parsed.tables.at(static_cast<size_t>(i)),
                      message.tables(i));
    const auto& table = parsed.tables.at(static_cast<size_t>(i));
    ExpectBags(table, message.tables(i));
    bag_count += table.bags ? table.bags->bag_count() : 0;
    id_count += message.tables(i).ids().ids_size();
  }
  EXPECT_EQ(parsed.bag_count, bag_count);
  EXPECT_EQ(parsed.id_count, id_count);
}

void ExpectPosition(const std::optional<Position>& parsed, bool is_there,
                    const v1::Position& message) {
  EXPECT_EQ(parsed.has_value(), is_there);
  EXPECT_EQ(parsed.value_or(Position{}).epoch, message.epoch());
  EXPECT_EQ(parsed.value_or(Position{}).lsn, message.lsn());
}

}  // namespace

void ExpectSays(const LookupRequest& parsed, const v1::LookupRequest& message) {
  ExpectPosition(parsed.min_position, message.has_min_position(),
                 message.min_position());
  ExpectTablesAndIds(parsed, message);
  for (int i = 0; i < message.tables_size(); ++i) {
    EXPECT_EQ(NumberOf(parsed.tables.at(static_cast<size_t>(i)).output_dtype),
              NumberOf(message.tables(i).output_dtype()));
  }
  EXPECT_EQ(parsed.max_response_bytes,
            message.has_max_response_bytes()
                ? std::optional(message.max_response_bytes())
                : std::nullopt);
}

void ExpectSays(const ApplyGradientRequest& parsed,
                const v1::ApplyGradientRequest& message) {
  ExpectTablesAndIds(parsed, message);
  EXPECT_EQ(parsed.min_durability, message.min_durability());
  EXPECT_EQ(parsed.name.has_value(), message.has_push_id());
  if (parsed.name) {
    EXPECT_EQ(std::string(parsed.name->session.bytes.begin(),
                          parsed.name->session.bytes.end()),
              message.push_id().session_id());
    EXPECT_EQ(parsed.name->sequence, message.push_id().sequence());
  }
  for (int i = 0; i < message.tables_size(); ++i) {
    const TableGradient& table = parsed.tables.at(static_cast<size_t>(i));
    const v1::TableGradient& expected = message.tables(i);
    EXPECT_EQ(table.learning_rate, expected.has_learning_rate()
                                       ? std::optional(expected.learning_rate())
                                       : std::nullopt);
    EXPECT_EQ(table.gradient_scale,
              expected.has_gradient_scale()
                  ? std::optional(expected.gradient_scale())
                  : std::nullopt);
    EXPECT_EQ(table.return_weight_gradients,
              expected.return_weight_gradients());
    EXPECT_EQ(table.duplicates_summed, expected.duplicates_summed());
    ExpectTensor(table.gradient_dtype, table.gradient_shape, table.gradient,
                 expected.gradient());
  }
}

void ExpectSays(const LookupResponse& parsed,
                const v1::LookupResponse& message) {
  ExpectPosition(parsed.position, message.has_position(), message.position());
  ASSERT_EQ(parsed.tables.size(), static_cast<size_t>(message.tables_size()));
  for (int i = 0; i < message.tables_size(); ++i) {
    const TableRows& table = parsed.tables[static_cast<size_t>(i)];
    EXPECT_EQ(BytesOf(table.table_uid), message.tables(i).table_uid());
    ExpectTensor(table.dtype, table.shape, table.values,
                 message.tables(i).embeddings());
    const auto& winners = message.tables(i).winners();
    EXPECT_EQ(ElementsOf<int32_t>(table.winners),
              std::vector<int32_t>(winners.begin(), winners.end()));
  }
}

}  // namespace quire::wire::testing
