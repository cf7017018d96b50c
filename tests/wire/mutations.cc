#include "tests/wire/mutations.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace quire::wire::testing {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

using WireType = WireFormatLite::WireType;

// A varint, with bytes that say nothing appended now and then.
std::string Varint(uint64_t value, Random& random) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(value | 0x80);
  }
  bytes += static_cast<char>(value);
  if (random.OneIn(40)) {
    for (int64_t left = random.Between(1, 4); left > 0; --left) {
      bytes.back() = static_cast<char>(bytes.back() | 0x80);
      bytes += '\0';
    }
  }
  return bytes;
}

std::string Tag(int number, WireType type, Random& random) {
  return Varint(WireFormatLite::MakeTag(number, type), random);
}

std::string WithLength(std::string_view value, Random& random) {
  return Varint(value.size(), random).append(value);
}

// A field of a random number and type, known or not.
std::string RandomField(Random& random) {
  const int number = static_cast<int>(
      random.OneIn(2) ? random.Between(1, 9) : random.Between(10, 5000));
  const auto type = static_cast<WireType>(random.OneOf(std::to_array<int>(
      {WireFormatLite::WIRETYPE_VARINT, WireFormatLite::WIRETYPE_FIXED32,
       WireFormatLite::WIRETYPE_FIXED64,
       WireFormatLite::WIRETYPE_LENGTH_DELIMITED,
       WireFormatLite::WIRETYPE_START_GROUP})));
  std::string field = Tag(number, type, random);
  switch (type) {
    case WireFormatLite::WIRETYPE_VARINT:
      return field + Varint(random.Bits() >> random.Index(64), random);
    case WireFormatLite::WIRETYPE_FIXED32:
      return field + "1234";
    case WireFormatLite::WIRETYPE_FIXED64:
      return field + "12345678";
    case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
      return field + WithLength("\x08\x01", random);
    default:
      return field + (random.OneIn(2) ? RandomField(random) : "") +
             Tag(number, WireFormatLite::WIRETYPE_END_GROUP, random);
  }
}

// A field as it was read, and how it might be written.
class Field {
 public:
  Field(const FieldDescriptor& descriptor, WireType type, CodedInputStream& in)
      : descriptor_(descriptor), type_(type) {
    uint32_t size = 0;
    switch (type) {
      case WireFormatLite::WIRETYPE_VARINT:
        in.ReadVarint64(&number_);
        break;
      case WireFormatLite::WIRETYPE_FIXED64:
        in.ReadString(&bytes_, 8);
        break;
      default:
        in.ReadVarint32(&size);
        in.ReadString(&bytes_, static_cast<int>(size));
    }
  }

  // In one or more parts.
  std::vector<std::string> Encode(Random& random) const {
    if (type_ == WireFormatLite::WIRETYPE_VARINT) {
      return {Tagged(random) + Varint(number_, random)};
    }
    if (type_ == WireFormatLite::WIRETYPE_FIXED64) {
      return {Tagged(random) + bytes_};
    }
    if (descriptor_.message_type() != nullptr) {
      return EncodeMessage(random);
    }
    return descriptor_.is_packable() ? EncodeArray(random)
                                     : std::vector{Whole(bytes_, random)};
  }

 private:
  std::string Tagged(Random& random) const {
    return Tag(descriptor_.number(), type_, random);
  }

  std::string Whole(std::string_view value, Random& random) const {
    return Tagged(random) + WithLength(value, random);
  }

  std::vector<std::string> EncodeMessage(Random& random) const {
    const std::string message =
        Reencode(bytes_, *descriptor_.message_type(), random);
    if (random.OneIn(20)) {
      // Protobuf merges the parts of a message that is not repeated.
      return {Whole(message, random), Whole(message, random)};
    }
    return {Whole(message, random)};
  }

  std::vector<std::string> EncodeArray(Random& random) const {
    const auto element_type = WireFormatLite::WireTypeForFieldType(
        static_cast<WireFormatLite::FieldType>(descriptor_.type()));
    if (random.OneIn(20)) {
      const size_t half = Boundary(element_type, bytes_.size() / 2);
      return {Whole(bytes_.substr(0, half), random),
              Whole(bytes_.substr(half), random)};
    }
    if (random.OneIn(20)) {
      return Unpacked(element_type, random);
    }
    if (random.OneIn(20)) {
      // Of numbers of any size this is one more; of fixed ones, a part of one.
      return {Whole(bytes_ + Varint(random.Bits() >> random.Index(64), random),
                    random)};
    }
    return {Whole(bytes_, random)};
  }

  // The end of the element that begins at or after `offset`.
  size_t Boundary(WireType element_type, size_t offset) const {
    switch (element_type) {
      case WireFormatLite::WIRETYPE_FIXED64:
        return offset / 8 * 8;
      case WireFormatLite::WIRETYPE_FIXED32:
        return offset / 4 * 4;
      default:
        while (offset > 0 && (bytes_[offset - 1] & 0x80) != 0) {
          --offset;
        }
        return offset;
    }
  }

  std::vector<std::string> Unpacked(WireType element_type,
                                    Random& random) const {
    std::vector<std::string> parts;
    for (size_t begin = 0; begin < bytes_.size();) {
      size_t end = begin + 1;
      while (Boundary(element_type, end) != end) {
        ++end;
      }
      parts.push_back(Tag(descriptor_.number(), element_type, random) +
                      bytes_.substr(begin, end - begin));
      begin = end;
    }
    return parts;
  }

  const FieldDescriptor& descriptor_;
  const WireType type_;
  uint64_t number_ = 0;
  std::string bytes_;
};

}  // namespace

std::string Reencode(std::string_view bytes, const Descriptor& message,
                     Random& random) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  std::vector<std::string> parts;
  while (const uint32_t tag = in.ReadTag()) {
    const Field field(
        *message.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag)),
        WireFormatLite::GetTagWireType(tag), in);
    for (std::string& part : field.Encode(random)) {
      parts.push_back(std::move(part));
    }
  }
  if (!parts.empty() && random.OneIn(20)) {
    parts.push_back(random.OneOf(parts));
  }
  if (random.OneIn(20)) {
    parts.push_back(RandomField(random));
  }
  if (random.OneIn(20)) {
    std::ranges::shuffle(parts, random.engine());
  }
  std::string reencoded;
  for (const std::string& part : parts) {
    reencoded += part;
  }
  return reencoded;
}

std::string Damage(std::string bytes, Random& random) {
  if (bytes.empty()) {
    return std::string(1, static_cast<char>(random.Bits()));
  }
  const size_t at = random.Index(bytes.size());
  switch (random.Between(0, 3)) {
    case 0:
      bytes.resize(at);
      break;
    case 1:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Between(0, 7)));
      break;
    case 2:
      bytes.insert(at, 1, static_cast<char>(random.Bits()));
      break;
    default:
      bytes.erase(at, 1);
  }
  return bytes;
}

}  // namespace quire::wire::testing
