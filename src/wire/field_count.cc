#include "wire/field_count.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/wire_format_lite.h>

#include "base/limits.h"
#include "base/status.h"
#include "wire/piece_reader.h"

namespace quire::wire {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;

// The wire type of one value of `field`, not packed.
WireType ElementWireType(const FieldDescriptor& field) {
  return static_cast<WireType>(WireFormatLite::WireTypeForFieldType(
      static_cast<WireFormatLite::FieldType>(field.type())));
}

bool IsFixed(WireType type) {
  return type == WireType::kFixed32 || type == WireType::kFixed64;
}

// Arrays of int64 are offsets of bags: as many as there may be ids, not as
// there may be fields.
bool IsOffsets(const FieldDescriptor& field) {
  return field.is_repeated() && field.type() == FieldDescriptor::TYPE_INT64;
}

class FieldCounter {
 public:
  explicit FieldCounter(std::span<const Bytes> pieces) : in_(pieces) {}

  // One message, to its end. Groups, which this API has none of, are unknown
  // fields, and so is all that they contain.
  void Count(const Descriptor& message) {
    int group_depth = 0;
    while (!in_.AtEnd()) {
      const uint32_t tag = static_cast<uint32_t>(in_.Varint());
      CountField(
          group_depth > 0 ? nullptr : message.FindFieldByNumber(FieldOf(tag)),
          TypeOf(tag));
      group_depth += TypeOf(tag) == WireType::kStartGroup ? 1 : 0;
      group_depth -= TypeOf(tag) == WireType::kEndGroup ? 1 : 0;
    }
  }

  bool too_many_fields() const { return field_count_ > kFieldsPerMessageMax; }
  bool too_many_offsets() const { return offset_count_ > kIdsPerRequestMax; }
  bool too_many_tables() const { return table_count_ > kTablesPerRequestMax; }

 private:
  // One field, null if it is unknown, whose tag has been read.
  void CountField(const FieldDescriptor* field, WireType type) {
    const bool known = field != nullptr && type == ElementWireType(*field);
    if (known && IsOffsets(*field)) {
      AddOffset();
    } else if (!known || !field->is_repeated() || !IsFixed(type)) {
      Add(1);
    }
    if (type == WireType::kLength) {
      CountLength(field, known);
    } else {
      in_.Skip(type);
    }
  }

  // A field of WireType::kLength: a message, a packed array, or mere bytes.
  void CountLength(const FieldDescriptor* field, bool known) {
    if (known && field->message_type() != nullptr) {
      table_count_ += field->is_repeated() ? 1 : 0;
      if (too_many_tables()) {
        in_.Fail();
      }
      in_.Nested([&] { Count(*field->message_type()); });
    } else if (field != nullptr && field->is_packable() &&
               !IsFixed(ElementWireType(*field))) {
      in_.Nested([&] {
        while (!in_.AtEnd()) {
          in_.Varint();
          if (IsOffsets(*field)) {
            AddOffset();
          } else {
            Add(1);
          }
        }
      });
    } else {
      in_.Take(in_.Length());
    }
  }

  void AddOffset() {
    ++offset_count_;
    if (too_many_offsets()) {
      in_.Fail();
    }
  }

  void Add(int64_t count) {
    field_count_ += count;
    if (too_many_fields()) {
      in_.Fail();
    }
  }

  PieceReader in_;
  int64_t field_count_ = 0;
  int64_t offset_count_ = 0;
  int64_t table_count_ = 0;
};

}  // namespace

absl::Status CheckFieldCount(std::span<const Bytes> pieces,
                             const Descriptor& message) {
  FieldCounter counter(pieces);
  counter.Count(message);
  if (counter.too_many_tables()) {
    return Error(Reason::kTooLarge,
                 fmt::format("more than {} tables in one request; send several",
                             kTablesPerRequestMax),
                 "tables");
  }
  if (counter.too_many_offsets()) {
    return Error(Reason::kTooLarge,
                 fmt::format("more than {} bags in one request; send several",
                             kIdsPerRequestMax),
                 "tables");
  }
  if (counter.too_many_fields()) {
    return Error(
        Reason::kTooLarge,
        fmt::format("more than {} fields and dims in one message; send several",
                    kFieldsPerMessageMax));
  }
  return absl::OkStatus();
}

}  // namespace quire::wire
