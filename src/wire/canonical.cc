#include "wire/canonical.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "quire/v1/embedding.pb.h"
#include "wire/piece_reader.h"

namespace quire::wire {
namespace {

// Lengths up to here mean the same to us and to the generated code, which has
// its own ideas close to 2 GiB.
constexpr size_t kCanonicalBytesMax = size_t{1} << 30;

// Reads the fields of one Message, named in ascending order. A field that is
// not there is passed over. One that is there but is not named next is left,
// and fails the message (PieceReader::Nested).
template <typename Message, typename Part>
void ReadFields(PieceReader& in, Part& part);

template <typename Message, typename Part>
void ReadMessage(PieceReader& in, int field, Part& part) {
  if (in.TakeTag(field, WireType::kLength)) {
    in.Nested([&] { ReadFields<Message>(in, part); });
  }
}

// A packed array of `element_bytes` each.
void ReadArray(PieceReader& in, int field, size_t element_bytes,
               ByteRange& array) {
  if (in.TakeTag(field, WireType::kLength)) {
    array = in.Take(in.Length());
    if (array.size() % element_bytes != 0) {
      in.Fail();
    }
  }
}

// As the generated code: the low 32 bits, whatever they say.
void ReadEnum(PieceReader& in, int field, int& value) {
  if (in.TakeTag(field, WireType::kVarint)) {
    value = static_cast<int>(in.Varint());
  }
}

// Names are UTF-8, and protobuf checks that. Tables are named in ASCII; the
// rest of UTF-8 is left to the generated code.
void ReadName(PieceReader& in, int field, std::string& name) {
  if (!in.TakeTag(field, WireType::kLength)) {
    return;
  }
  const ByteRange bytes = in.Take(in.Length());
  name.resize(bytes.size());
  bytes.CopyTo(reinterpret_cast<std::byte*>(name.data()));
  if (std::ranges::any_of(name, [](char c) { return (c & 0x80) != 0; })) {
    in.Fail();
  }
}

void ReadDims(PieceReader& in, int field, ShapeDraft& shape) {
  if (!in.TakeTag(field, WireType::kLength)) {
    return;
  }
  in.Nested([&] {
    while (!in.AtEnd()) {
      const uint64_t dim = in.Varint();
      if (dim > std::numeric_limits<int32_t>::max() ||
          shape.dims.size() > kRankMax) {
        in.Fail();
      }
      shape.dims.push_back(static_cast<int64_t>(dim));
    }
  });
}

// As protobuf reads it: whatever is not 0.
void ReadBool(PieceReader& in, int field, bool& value) {
  if (in.TakeTag(field, WireType::kVarint)) {
    value = in.Varint() != 0;
  }
}

void ReadDouble(PieceReader& in, int field, std::optional<double>& value) {
  if (in.TakeTag(field, WireType::kFixed64)) {
    value = std::bit_cast<double>(in.Fixed64());
  }
}

// A packed array, counted in the draft's offset_count.
void ReadOffsets(PieceReader& in, int field, Draft& draft,
                 std::vector<int64_t>& offsets) {
  if (!in.TakeTag(field, WireType::kLength)) {
    return;
  }
  in.Nested([&] {
    while (!in.AtEnd()) {
      if (++draft.offset_count > kIdsPerRequestMax) {
        in.Fail();  // counted and refused by the generated code's way
        return;
      }
      offsets.push_back(static_cast<int64_t>(in.Varint()));
    }
  });
}

void ReadBags(PieceReader& in, int field, Draft& draft, TableDraft& table) {
  using Message = v1::Bags;
  if (!in.TakeTag(field, WireType::kLength)) {
    return;
  }
  BagsDraft& bags = table.bags.emplace();
  in.Nested([&] {
    ReadEnum(in, Message::kPoolingFieldNumber, bags.pooling);
    ReadBool(in, Message::kReturnWinnersFieldNumber, bags.return_winners);
    ReadOffsets(in, Message::kOffsetsFieldNumber, draft, bags.offsets);
    ReadArray(in, Message::kWeightsFieldNumber, sizeof(float), bags.weights);
    ReadArray(in, Message::kWinnersFieldNumber, sizeof(int32_t), bags.winners);
  });
}

// One entry of `tables`.
template <typename Table>
void ReadTable(PieceReader& in, Draft& draft, TableDraft& table);

// `tables`, each a message Table.
template <typename Table>
void ReadTables(PieceReader& in, int field, Draft& draft) {
  while (in.TakeTag(field, WireType::kLength)) {
    if (draft.tables.size() == kTablesPerRequestMax) {
      in.Fail();
      return;
    }
    TableDraft& table = draft.tables.emplace_back();
    in.Nested([&] { ReadTable<Table>(in, draft, table); });
  }
}

template <>
void ReadFields<v1::Shape>(PieceReader& in, ShapeDraft& shape) {
  shape.present = true;
  ReadDims(in, v1::Shape::kDimsFieldNumber, shape);
}

template <>
void ReadFields<v1::TableRef>(PieceReader& in, TableDraft& table) {
  ReadName(in, v1::TableRef::kNameFieldNumber, table.name);
  ReadArray(in, v1::TableRef::kUidFieldNumber, 1, table.uid);
}

template <>
void ReadFields<v1::IdBatch>(PieceReader& in, TableDraft& table) {
  using Ids = v1::IdBatch;
  ReadMessage<v1::Shape>(in, Ids::kShapeFieldNumber, table.ids_shape);
  ReadArray(in, Ids::kIdsFieldNumber, sizeof(int64_t), table.ids);
}

template <>
void ReadFields<v1::Tensor>(PieceReader& in, TableDraft& table) {
  using Tensor = v1::Tensor;
  ReadMessage<v1::Shape>(in, Tensor::kShapeFieldNumber, table.values_shape);
  ReadEnum(in, Tensor::kDtypeFieldNumber, table.element_type);
  ReadArray(in, Tensor::kValuesFieldNumber, sizeof(float), table.values);
  ReadArray(in, Tensor::kPackedFieldNumber, 1, table.packed);
}

template <>
void ReadTable<v1::TableLookup>(PieceReader& in, Draft& draft,
                                TableDraft& table) {
  using Table = v1::TableLookup;
  ReadMessage<v1::TableRef>(in, Table::kTableFieldNumber, table);
  ReadEnum(in, Table::kOutputDtypeFieldNumber, table.element_type);
  ReadBags(in, Table::kBagsFieldNumber, draft, table);
  ReadMessage<v1::IdBatch>(in, Table::kIdsFieldNumber, table);
}

template <>
void ReadTable<v1::TableGradient>(PieceReader& in, Draft& draft,
                                  TableDraft& table) {
  using Table = v1::TableGradient;
  ReadMessage<v1::TableRef>(in, Table::kTableFieldNumber, table);
  ReadDouble(in, Table::kLearningRateFieldNumber, table.learning_rate);
  ReadDouble(in, Table::kGradientScaleFieldNumber, table.gradient_scale);
  ReadBool(in, Table::kReturnWeightGradientsFieldNumber,
           table.return_weight_gradients);
  ReadBags(in, Table::kBagsFieldNumber, draft, table);
  ReadMessage<v1::IdBatch>(in, Table::kIdsFieldNumber, table);
  ReadMessage<v1::Tensor>(in, Table::kGradientFieldNumber, table);
  ReadBool(in, Table::kDuplicatesSummedFieldNumber, table.duplicates_summed);
}

template <>
void ReadTable<v1::TableLookupResult>(PieceReader& in, Draft& /*draft*/,
                                      TableDraft& table) {
  using Table = v1::TableLookupResult;
  ReadArray(in, Table::kTableUidFieldNumber, 1, table.uid);
  ReadArray(in, Table::kWinnersFieldNumber, sizeof(int32_t), table.winners);
  ReadMessage<v1::Tensor>(in, Table::kEmbeddingsFieldNumber, table);
}

template <>
void ReadFields<v1::Position>(PieceReader& in, Draft& draft) {
  Position& position = draft.position.emplace();
  if (in.TakeTag(v1::Position::kEpochFieldNumber, WireType::kVarint)) {
    position.epoch = in.Varint();
  }
  if (in.TakeTag(v1::Position::kLsnFieldNumber, WireType::kVarint)) {
    position.lsn = in.Varint();
  }
}

template <>
void ReadFields<v1::LookupRequest>(PieceReader& in, Draft& draft) {
  using Request = v1::LookupRequest;
  ReadMessage<v1::Position>(in, Request::kMinPositionFieldNumber, draft);
  if (in.TakeTag(Request::kMaxResponseBytesFieldNumber, WireType::kVarint)) {
    draft.max_response_bytes = static_cast<int64_t>(in.Varint());
  }
  ReadTables<v1::TableLookup>(in, Request::kTablesFieldNumber, draft);
}

template <>
void ReadFields<v1::PushId>(PieceReader& in, Draft& draft) {
  PushIdDraft& id = draft.push_id.emplace();
  ReadArray(in, v1::PushId::kSessionIdFieldNumber, 1, id.session);
  if (in.TakeTag(v1::PushId::kSequenceFieldNumber, WireType::kVarint)) {
    id.sequence = in.Varint();
  }
}

template <>
void ReadFields<v1::ApplyGradientRequest>(PieceReader& in, Draft& draft) {
  using Request = v1::ApplyGradientRequest;
  ReadMessage<v1::PushId>(in, Request::kPushIdFieldNumber, draft);
  ReadEnum(in, Request::kMinDurabilityFieldNumber, draft.min_durability);
  ReadTables<v1::TableGradient>(in, Request::kTablesFieldNumber, draft);
}

template <>
void ReadFields<v1::LookupResponse>(PieceReader& in, Draft& draft) {
  using Response = v1::LookupResponse;
  ReadMessage<v1::Position>(in, Response::kPositionFieldNumber, draft);
  ReadTables<v1::TableLookupResult>(in, Response::kTablesFieldNumber, draft);
}

template <typename StreamRequest, typename Request>
void ReadStreamFields(PieceReader& in, Draft& draft) {
  draft.request_id = 0;
  if (in.TakeTag(StreamRequest::kRequestIdFieldNumber, WireType::kVarint)) {
    draft.request_id = in.Varint();
  }
  ReadMessage<Request>(in, StreamRequest::kRequestFieldNumber, draft);
}

template <>
void ReadFields<v1::LookupStreamRequest>(PieceReader& in, Draft& draft) {
  ReadStreamFields<v1::LookupStreamRequest, v1::LookupRequest>(in, draft);
}

template <>
void ReadFields<v1::ApplyGradientStreamRequest>(PieceReader& in, Draft& draft) {
  ReadStreamFields<v1::ApplyGradientStreamRequest, v1::ApplyGradientRequest>(
      in, draft);
}

}  // namespace

template <typename Message>
bool ReadCanonical(std::span<const Bytes> pieces, Draft& draft) {
  PieceReader in(pieces);
  if (in.left() > kCanonicalBytesMax) {
    return false;
  }
  ReadFields<Message>(in, draft);
  return in.ok() && in.AtEnd();
}

template bool ReadCanonical<v1::LookupRequest>(std::span<const Bytes>, Draft&);
template bool ReadCanonical<v1::LookupStreamRequest>(std::span<const Bytes>,
                                                     Draft&);
template bool ReadCanonical<v1::ApplyGradientRequest>(std::span<const Bytes>,
                                                      Draft&);
template bool ReadCanonical<v1::ApplyGradientStreamRequest>(
    std::span<const Bytes>, Draft&);
template bool ReadCanonical<v1::LookupResponse>(std::span<const Bytes>, Draft&);

}  // namespace quire::wire
