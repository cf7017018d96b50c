#include "wire/encode.h"

#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "quire/v1/embedding.pb.h"
#include "wire/field_writer.h"
#include "wire/layout_sink.h"

namespace quire::wire {
namespace {

// Each Write function describes one message: its fields, in ascending order. A
// Writer is a FieldWriter, for any sink.

std::string_view AsText(const TableUid& uid) {
  return {reinterpret_cast<const char*>(uid.bytes.data()), uid.bytes.size()};
}

template <typename Writer>
void WriteShape(Writer to, int field, const Shape& shape) {
  to.Nested(field, [&](auto message) {
    if (shape.rank() == 0) {
      return;
    }
    message.Nested(v1::Shape::kDimsFieldNumber, [&](auto array) {
      for (int64_t dim : shape.dims()) {
        QUIRE_CHECK(dim <= std::numeric_limits<int32_t>::max(),
                    "the API has no larger dims");
        array.RawVarint(static_cast<uint64_t>(dim));
      }
    });
  });
}

template <typename Writer>
void WriteTensor(Writer to, int field, const Shape& shape, ElementType type) {
  using Tensor = v1::Tensor;
  to.Nested(field, [&](auto message) {
    WriteShape(message, Tensor::kShapeFieldNumber, shape);
    message.Varint(Tensor::kDtypeFieldNumber, static_cast<uint64_t>(type));
    message.Payload(
        IsHalf(type) ? Tensor::kPackedFieldNumber : Tensor::kValuesFieldNumber,
        SaturatingMultiply(shape.element_count(),
                           static_cast<int64_t>(ElementBytes(type))));
  });
}

template <typename Writer>
void WriteTableRef(Writer to, int field, std::string_view name,
                   const std::optional<TableUid>& uid) {
  to.Nested(field, [&](auto message) {
    if (!name.empty()) {
      message.String(v1::TableRef::kNameFieldNumber, name);
    }
    if (uid) {
      message.String(v1::TableRef::kUidFieldNumber, AsText(*uid));
    }
  });
}

template <typename Writer>
void WriteIds(Writer to, int field, const std::optional<Shape>& shape,
              std::span<const int64_t> ids) {
  to.Nested(field, [&](auto message) {
    if (shape) {
      WriteShape(message, v1::IdBatch::kShapeFieldNumber, *shape);
    }
    message.Payload(v1::IdBatch::kIdsFieldNumber,
                    static_cast<int64_t>(ids.size_bytes()));
  });
}

template <typename Writer>
void WritePosition(Writer to, int field,
                   const std::optional<Position>& position) {
  if (!position) {
    return;
  }
  to.Nested(field, [&](auto message) {
    if (position->epoch != 0) {
      message.Varint(v1::Position::kEpochFieldNumber, position->epoch);
    }
    if (position->lsn != 0) {
      message.Varint(v1::Position::kLsnFieldNumber, position->lsn);
    }
  });
}

v1::Bags::Pooling PoolingNumber(Pooling pooling) {
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
  QUIRE_CHECK(false, "every pooling has a number");
}

// Of ids of rank 1: where each bag starts. Of rank 2 the shape says it.
template <typename Entry>
std::span<const int64_t> OffsetsToSend(const Entry& entry) {
  const bool is_rank_2 = entry.ids_shape && entry.ids_shape->rank() == 2;
  return is_rank_2 ? std::span<const int64_t>()
                   : entry.bags->offsets.first(entry.bags->offsets.size() - 1);
}

// Bags, or none; `write_arrays` writes the payloads: a message has their places
// all the same.
template <typename Writer, typename Entry, typename WriteArrays>
void WriteBags(Writer to, int field, const Entry& entry, bool return_winners,
               WriteArrays write_arrays) {
  if (!entry.bags) {
    write_arrays(to);
    return;
  }
  to.Nested(field, [&](auto message) {
    message.Varint(v1::Bags::kPoolingFieldNumber,
                   PoolingNumber(entry.bags->pooling));
    if (return_winners) {
      message.Varint(v1::Bags::kReturnWinnersFieldNumber, 1);
    }
    if (const std::span<const int64_t> offsets = OffsetsToSend(entry);
        !offsets.empty()) {
      message.Nested(v1::Bags::kOffsetsFieldNumber, [&](auto array) {
        for (const int64_t offset : offsets) {
          array.RawVarint(static_cast<uint64_t>(offset));
        }
      });
    }
    write_arrays(message);
  });
}

template <typename Entry>
int64_t WeightBytes(const Entry& entry) {
  return entry.bags ? static_cast<int64_t>(entry.bags->weights.size_bytes())
                    : 0;
}

int64_t WinnerBytes(const GradientEntry& entry) {
  return entry.bags ? static_cast<int64_t>(entry.bags->winners.size_bytes())
                    : 0;
}

// The message of a hot method: Write(writer) describes its fields.

struct LookupRequestBody {
  std::span<const LookupEntry> entries;
  std::optional<int64_t> max_response_bytes;
  std::optional<Position> min_position;

  template <typename Writer>
  void Write(Writer to) const {
    using Request = v1::LookupRequest;
    using Table = v1::TableLookup;
    WritePosition(to, Request::kMinPositionFieldNumber, min_position);
    if (max_response_bytes) {
      to.Varint(Request::kMaxResponseBytesFieldNumber,
                static_cast<uint64_t>(*max_response_bytes));
    }
    for (const LookupEntry& entry : entries) {
      to.Nested(Request::kTablesFieldNumber, [&](auto table) {
        WriteTableRef(table, Table::kTableFieldNumber, entry.table_name,
                      entry.table_uid);
        if (IsHalf(entry.output_dtype)) {
          table.Varint(Table::kOutputDtypeFieldNumber,
                       static_cast<uint64_t>(entry.output_dtype));
        }
        WriteBags(table, Table::kBagsFieldNumber, entry, entry.return_winners,
                  [&](auto bags) {
                    bags.Payload(v1::Bags::kWeightsFieldNumber,
                                 WeightBytes(entry));
                  });
        WriteIds(table, Table::kIdsFieldNumber, entry.ids_shape, entry.ids);
      });
    }
  }
};

struct ApplyGradientRequestBody {
  std::span<const GradientEntry> entries;
  int min_durability;

  template <typename Writer>
  void Write(Writer to) const {
    using Request = v1::ApplyGradientRequest;
    using Table = v1::TableGradient;
    if (min_durability != 0) {
      to.Varint(Request::kMinDurabilityFieldNumber,
                static_cast<uint64_t>(min_durability));
    }
    for (const GradientEntry& entry : entries) {
      to.Nested(Request::kTablesFieldNumber, [&](auto table) {
        WriteTableRef(table, Table::kTableFieldNumber, entry.table_name,
                      entry.table_uid);
        if (entry.learning_rate) {
          table.Double(Table::kLearningRateFieldNumber, *entry.learning_rate);
        }
        if (entry.gradient_scale) {
          table.Double(Table::kGradientScaleFieldNumber, *entry.gradient_scale);
        }
        if (entry.return_weight_gradients) {
          table.Varint(Table::kReturnWeightGradientsFieldNumber, 1);
        }
        WriteBags(
            table, Table::kBagsFieldNumber, entry, /*return_winners=*/false,
            [&](auto bags) {
              bags.Payload(v1::Bags::kWeightsFieldNumber, WeightBytes(entry));
              bags.Payload(v1::Bags::kWinnersFieldNumber, WinnerBytes(entry));
            });
        WriteIds(table, Table::kIdsFieldNumber, entry.ids_shape, entry.ids);
        WriteTensor(table, Table::kGradientFieldNumber, entry.gradient_shape,
                    entry.gradient_dtype);
        if (entry.duplicates_summed) {
          table.Varint(Table::kDuplicatesSummedFieldNumber, 1);
        }
      });
    }
  }
};

struct LookupResponseBody {
  std::span<const RowsEntry> entries;
  std::optional<Position> position;

  template <typename Writer>
  void Write(Writer to) const {
    using Table = v1::TableLookupResult;
    WritePosition(to, v1::LookupResponse::kPositionFieldNumber, position);
    for (const RowsEntry& entry : entries) {
      to.Nested(v1::LookupResponse::kTablesFieldNumber, [&](auto table) {
        table.String(Table::kTableUidFieldNumber, AsText(entry.table_uid));
        table.Payload(Table::kWinnersFieldNumber,
                      entry.has_winners
                          ? SaturatingMultiply(entry.shape.element_count(),
                                               sizeof(int32_t))
                          : 0);
        WriteTensor(table, Table::kEmbeddingsFieldNumber, entry.shape,
                    entry.dtype);
      });
    }
  }
};

// The numbers of the two fields of a message on a stream.
struct StreamFields {
  int request_id;
  int body;
};
constexpr StreamFields kStreamRequest = {
    v1::LookupStreamRequest::kRequestIdFieldNumber,
    v1::LookupStreamRequest::kRequestFieldNumber};
static_assert(kStreamRequest.request_id ==
                  v1::ApplyGradientStreamRequest::kRequestIdFieldNumber &&
              kStreamRequest.body ==
                  v1::ApplyGradientStreamRequest::kRequestFieldNumber);
constexpr StreamFields kStreamResponse = {
    v1::LookupStreamResponse::kRequestIdFieldNumber,
    v1::LookupStreamResponse::kResponseFieldNumber};

// A message, or with a request_id the one around it on a stream.
template <typename Sink, typename Body>
void WriteMessage(Sink& sink, const Body& body, StreamFields fields,
                  std::optional<uint64_t> request_id) {
  FieldWriter<Sink> to(sink);
  if (!request_id) {
    body.Write(to);
    return;
  }
  if (*request_id != 0) {
    to.Varint(fields.request_id, *request_id);
  }
  to.Nested(fields.body, [&](auto message) { body.Write(message); });
}

template <typename Body>
MessageLayout LayOut(const Body& body, StreamFields fields,
                     std::optional<uint64_t> request_id) {
  SizeSink size;
  WriteMessage(size, body, fields, request_id);
  MessageLayout layout;
  LayoutSink sink(size, layout);
  WriteMessage(sink, body, fields, request_id);
  return layout;
}

// Keeps what is written; of a field without payloads.
struct StringSink {
  void Byte(uint8_t byte) { bytes += static_cast<char>(byte); }
  void Write(std::string_view part) { bytes += part; }

  std::string bytes;
};

template <typename Element>
void CopyPayload(std::span<const Element> elements, const MessageLayout& layout,
                 size_t index, std::byte* buffer) {
  if (!elements.empty()) {
    QUIRE_CHECK(static_cast<int64_t>(elements.size_bytes()) ==
                    layout.payload_size(index),
                "the layout is that of these entries");
    std::memcpy(buffer + layout.payload_offset(index), elements.data(),
                elements.size_bytes());
  }
}

}  // namespace

MessageLayout LayOutLookupRequest(std::span<const LookupEntry> entries,
                                  std::optional<int64_t> max_response_bytes,
                                  std::optional<uint64_t> request_id,
                                  std::optional<Position> min_position) {
  return LayOut(LookupRequestBody{entries, max_response_bytes, min_position},
                kStreamRequest, request_id);
}

MessageLayout LayOutApplyGradientRequest(std::span<const GradientEntry> entries,
                                         int min_durability,
                                         std::optional<uint64_t> request_id) {
  return LayOut(ApplyGradientRequestBody{entries, min_durability},
                kStreamRequest, request_id);
}

std::string EncodePushId(std::string_view session_id, uint64_t sequence) {
  StringSink sink;
  FieldWriter<StringSink>(sink).Nested(
      v1::ApplyGradientRequest::kPushIdFieldNumber, [&](auto message) {
        if (!session_id.empty()) {
          message.String(v1::PushId::kSessionIdFieldNumber, session_id);
        }
        if (sequence != 0) {
          message.Varint(v1::PushId::kSequenceFieldNumber, sequence);
        }
      });
  return std::move(sink.bytes);
}

MessageLayout LayOutLookupResponse(std::span<const RowsEntry> entries,
                                   std::optional<uint64_t> request_id,
                                   std::optional<Position> position) {
  return LayOut(LookupResponseBody{entries, position}, kStreamResponse,
                request_id);
}

int64_t LookupResponseBytes(std::span<const RowsEntry> entries,
                            std::optional<uint64_t> request_id,
                            std::optional<Position> position) {
  SizeSink sink;
  WriteMessage(sink, LookupResponseBody{entries, position}, kStreamResponse,
               request_id);
  return sink.size();
}

void Encode(std::span<const LookupEntry> entries, const MessageLayout& layout,
            std::byte* buffer) {
  layout.WriteHeaders(buffer);
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].bags) {
      CopyPayload(entries[i].bags->weights, layout, 2 * i, buffer);
    }
    CopyPayload(entries[i].ids, layout, 2 * i + 1, buffer);
  }
}

void Encode(std::span<const GradientEntry> entries, const MessageLayout& layout,
            std::byte* buffer) {
  layout.WriteHeaders(buffer);
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].bags) {
      CopyPayload(entries[i].bags->weights, layout, 4 * i, buffer);
      CopyPayload(entries[i].bags->winners, layout, 4 * i + 1, buffer);
    }
    CopyPayload(entries[i].ids, layout, 4 * i + 2, buffer);
    if (!IsHalf(entries[i].gradient_dtype)) {
      CopyPayload(entries[i].gradient, layout, 4 * i + 3, buffer);
    }
  }
}

}  // namespace quire::wire
