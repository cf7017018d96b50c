#include "tests/wire/messages.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "base/limits.h"

namespace quire::wire::testing {
namespace {

constexpr auto kEdgeIds =
    std::to_array<int64_t>({0, 1, -1, std::numeric_limits<int64_t>::min(),
                            std::numeric_limits<int64_t>::max()});

std::string RandomBytes(Random& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(random.Bits());
  }
  return bytes;
}

std::string RandomName(Random& random, Legality legality) {
  if (legality == Legality::kAnything && random.OneIn(10)) {
    return "Wörterbuch";
  }
  const int64_t size = random.OneOf(
      std::to_array<int64_t>({0, 1, random.Between(2, 20), 127, 128, 300}));
  std::string name;
  for (int64_t i = 0; i < size; ++i) {
    name += static_cast<char>(random.Between(0, 127));
  }
  return name;
}

std::string RandomUid(Random& random, Legality legality) {
  if (legality == Legality::kAnything && random.OneIn(10)) {
    return RandomBytes(random, 15);
  }
  return random.OneIn(2) ? "" : RandomBytes(random, 16);
}

// Whether to do something that is refused.
bool Misbehave(Random& random, Legality legality) {
  return legality == Legality::kAnything && random.OneIn(12);
}

// Up to rank_max dims, or one too many, with few elements; returns how many.
int64_t FillShape(Random& random, Legality legality, int64_t rank_max,
                  v1::Shape& shape) {
  const int64_t rank =
      Misbehave(random, legality) ? rank_max + 1 : random.Between(0, rank_max);
  int64_t count = 1;
  for (int64_t i = 0; i < rank; ++i) {
    const int64_t dim = count > 8 ? 1 : random.Between(1, 4);
    count *= dim;
    shape.add_dims(static_cast<int32_t>(dim));
  }
  if (rank >= 2 && random.OneIn(6)) {
    shape.set_dims(0, std::numeric_limits<int32_t>::max());
    shape.set_dims(static_cast<int>(random.Between(1, rank - 1)), 0);
    count = 0;
  }
  if (rank >= 1 && Misbehave(random, legality)) {
    shape.set_dims(0, static_cast<int32_t>(random.Bits()));
  }
  return Misbehave(random, legality) ? count + 1 : count;
}

void FillRef(Random& random, Legality legality, v1::TableRef& table) {
  table.set_name(RandomName(random, legality));
  table.set_uid(RandomUid(random, legality));
}

void FillIds(Random& random, Legality legality, v1::IdBatch& ids) {
  const int64_t count = random.OneIn(3) ? random.Between(0, 40)
                                        : FillShape(random, legality, kRankMax,
                                                    *ids.mutable_shape());
  for (int64_t i = 0; i < count; ++i) {
    ids.add_ids(random.OneIn(4) ? random.OneOf(kEdgeIds)
                                : static_cast<int64_t>(random.Bits()));
  }
}

// One that there may be, or another number.
v1::ElementType RandomElementType(Random& random) {
  return static_cast<v1::ElementType>(
      random.OneOf(std::to_array<int64_t>({0, 1, 2, 3, 4, 200, -1})));
}

void FillTensor(Random& random, Legality legality, v1::Tensor& tensor) {
  const int64_t count =
      random.OneIn(3)
          ? random.Between(0, 40)
          : FillShape(random, legality, kRankMax + 1, *tensor.mutable_shape());
  tensor.set_dtype(static_cast<v1::ElementType>(random.Between(0, 3)));
  const bool is_half = tensor.dtype() == v1::ELEMENT_TYPE_FLOAT16 ||
                       tensor.dtype() == v1::ELEMENT_TYPE_BFLOAT16;
  if (is_half) {
    tensor.set_packed(RandomBytes(random, static_cast<size_t>(2 * count)));
  }
  for (int64_t i = 0; i < count && !is_half; ++i) {
    tensor.add_values(
        std::bit_cast<float>(static_cast<uint32_t>(random.Bits())));
  }
  if (Misbehave(random, legality)) {
    tensor.set_dtype(RandomElementType(random));
  }
  if (Misbehave(random, legality)) {
    tensor.set_packed(
        RandomBytes(random, static_cast<size_t>(random.Between(1, 9))));
  }
  if (Misbehave(random, legality)) {
    tensor.add_values(0.5f);
  }
}

// Elements of a tensor, of either kind.
int ElementCount(const v1::Tensor& tensor) {
  return tensor.values_size() + static_cast<int>(tensor.packed().size() / 2);
}

// Bags that fit ids of rank 1 or 2; without winners.
void FillBags(Random& random, Legality legality, const v1::IdBatch& ids,
              v1::Bags& bags) {
  const auto& dims = ids.shape().dims();
  bags.set_pooling(static_cast<v1::Bags::Pooling>(random.Between(1, 4)));
  if (bags.pooling() == v1::Bags::POOLING_SUM && random.OneIn(2)) {
    for (int i = 0; i < ids.ids_size(); ++i) {
      bags.add_weights(
          std::bit_cast<float>(static_cast<uint32_t>(random.Bits())));
    }
  }
  const bool has_offsets = !ids.has_shape() || dims.size() == 1;
  if (has_offsets && (ids.ids_size() > 0 || random.OneIn(2))) {
    int64_t offset = 0;
    do {
      bags.add_offsets(offset);
      offset = random.Between(offset, ids.ids_size());
    } while (!random.OneIn(5));
  }
  if (Misbehave(random, legality)) {
    bags.set_pooling(static_cast<v1::Bags::Pooling>(
        random.OneOf(std::to_array<int64_t>({0, 5, -1}))));
  }
  if (Misbehave(random, legality)) {
    bags.add_offsets(static_cast<int64_t>(random.Bits() >> random.Index(64)));
  }
  if (Misbehave(random, legality)) {
    bags.add_weights(0.5f);
  }
  if (Misbehave(random, legality)) {
    bags.add_winners(static_cast<int32_t>(random.Bits()));
  }
}

// Whether bags can be made of ids like these, or are to be anyway. A dim of
// INT32_MAX would be too many bags.
bool WantsBags(Random& random, Legality legality, const v1::IdBatch& ids) {
  const auto& dims = ids.shape().dims();
  const bool fits = !ids.has_shape() ||
                    ((dims.size() == 1 || dims.size() == 2) && dims[0] < 1000);
  return fits ? random.OneIn(2) : Misbehave(random, legality);
}

void FillTable(Random& random, Legality legality, v1::TableLookup& table) {
  if (random.OneIn(8)) {
    return;
  }
  FillRef(random, legality, *table.mutable_table());
  FillIds(random, legality, *table.mutable_ids());
  table.set_output_dtype(static_cast<v1::ElementType>(random.Between(0, 3)));
  if (Misbehave(random, legality)) {
    table.set_output_dtype(RandomElementType(random));
  }
  if (WantsBags(random, legality, table.ids())) {
    v1::Bags& bags = *table.mutable_bags();
    FillBags(random, legality, table.ids(), bags);
    bags.set_return_winners(bags.pooling() == v1::Bags::POOLING_MAX
                                ? random.OneIn(2)
                                : Misbehave(random, legality));
  }
}

void FillTable(Random& random, Legality legality, v1::TableGradient& table) {
  if (random.OneIn(8)) {
    return;
  }
  FillRef(random, legality, *table.mutable_table());
  FillIds(random, legality, *table.mutable_ids());
  FillTensor(random, legality, *table.mutable_gradient());
  if (random.OneIn(2)) {
    table.set_learning_rate(
        random.OneOf(std::to_array({0.0, -0.0, 0.01, 5e-324, 1e308})));
  }
  if (Misbehave(random, legality)) {
    table.set_learning_rate(random.OneOf(std::to_array(
        {-1.0, std::numeric_limits<double>::infinity(), std::nan("")})));
  }
  if (random.OneIn(3)) {
    table.set_gradient_scale(
        random.OneOf(std::to_array({0.0, -0.0, -0.5, 5e-324, 1e308})));
  }
  if (Misbehave(random, legality)) {
    table.set_gradient_scale(std::nan(""));
  }
  if (WantsBags(random, legality, table.ids())) {
    v1::Bags& bags = *table.mutable_bags();
    FillBags(random, legality, table.ids(), bags);
    if (bags.pooling() == v1::Bags::POOLING_MAX) {
      for (int i = 0; i < ElementCount(table.gradient()); ++i) {
        bags.add_winners(static_cast<int32_t>(random.Between(-1, 40)));
      }
    }
    bags.set_return_winners(Misbehave(random, legality));
    table.set_return_weight_gradients(bags.weights_size() > 0 &&
                                      random.OneIn(2));
  }
  if (Misbehave(random, legality)) {
    table.set_return_weight_gradients(random.OneIn(2));
  }
  table.set_duplicates_summed(random.OneIn(3));
}

void FillTable(Random& random, Legality legality,
               v1::TableLookupResult& table) {
  table.set_table_uid(RandomBytes(random, 16));
  FillTensor(random, legality, *table.mutable_embeddings());
  const int winner_count =
      random.OneIn(2) ? ElementCount(table.embeddings()) : 0;
  for (int i = 0; i < winner_count; ++i) {
    table.add_winners(static_cast<int32_t>(random.Bits()));
  }
  if (Misbehave(random, legality)) {
    table.add_winners(7);
  }
  if (Misbehave(random, legality)) {
    table.set_table_uid(RandomBytes(random, 17));
  }
  if (Misbehave(random, legality)) {
    table.set_found("found");
  }
}

void FillPosition(Random& random, v1::Position& position) {
  position.set_epoch(1 + (random.Bits() >> random.Between(1, 63)));
  position.set_lsn(random.OneIn(4) ? 0 : random.Bits() >> random.Index(64));
}

template <typename Message>
void FillTables(Random& random, Legality legality, Message& message) {
  for (int64_t left = random.Between(0, 4); left > 0; --left) {
    FillTable(random, legality, *message.add_tables());
  }
}

template <typename StreamRequest>
void FillStream(Random& random, Legality legality, StreamRequest& message) {
  message.set_request_id(random.OneIn(4) ? random.Between(0, 1)
                                         : random.Bits() >> random.Index(64));
  if (!random.OneIn(8)) {
    Fill(random, legality, *message.mutable_request());
  }
}

}  // namespace

void Fill(Random& random, Legality legality, v1::LookupRequest& message) {
  if (random.OneIn(2)) {
    message.set_max_response_bytes(
        static_cast<int64_t>(1 + (random.Bits() >> random.Between(2, 63))));
  }
  if (Misbehave(random, legality)) {
    message.set_max_response_bytes(random.Between(-2, 0));
  }
  if (random.OneIn(2)) {
    FillPosition(random, *message.mutable_min_position());
  }
  if (Misbehave(random, legality)) {
    message.mutable_min_position()->clear_epoch();
  }
  FillTables(random, legality, message);
}

void Fill(Random& random, Legality legality,
          v1::ApplyGradientRequest& message) {
  message.set_min_durability(static_cast<v1::Durability>(random.Between(0, 4)));
  if (random.OneIn(8)) {
    message.set_min_durability(static_cast<v1::Durability>(random.Bits()));
  }
  if (random.OneIn(2)) {
    v1::PushId& id = *message.mutable_push_id();
    id.set_session_id(std::string(16, static_cast<char>(random.Bits())));
    id.set_sequence(1 + (random.Bits() >> random.Between(1, 63)));
  }
  if (Misbehave(random, legality)) {
    message.mutable_push_id()->set_session_id("too short");
  }
  if (Misbehave(random, legality)) {
    message.mutable_push_id()->set_sequence(0);
  }
  FillTables(random, legality, message);
}

void Fill(Random& random, Legality legality, v1::LookupResponse& message) {
  FillTables(random, legality, message);
  if (random.OneIn(2)) {
    FillPosition(random, *message.mutable_position());
  }
}

void Fill(Random& random, Legality legality, v1::LookupStreamRequest& message) {
  FillStream(random, legality, message);
}

void Fill(Random& random, Legality legality,
          v1::ApplyGradientStreamRequest& message) {
  FillStream(random, legality, message);
}

std::string Serialise(const google::protobuf::MessageLite& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace quire::wire::testing
