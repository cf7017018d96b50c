#include "client/formats/number_type.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "client/formats/numbers.h"

namespace quire::formats {
namespace {

static_assert(std::endian::native == std::endian::little,
              "files hold the bytes of memory");

struct TypeEntry {
  NumberType type;
  size_t bytes;
  std::string_view name;
};

constexpr auto kTypes = std::to_array<TypeEntry>({
    {NumberType::kFloat32, 4, "float32"},
    {NumberType::kFloat16, 2, "float16"},
    {NumberType::kBfloat16, 2, "bfloat16"},
    {NumberType::kFloat64, 8, "float64"},
    {NumberType::kInt64, 8, "int64"},
    {NumberType::kInt32, 4, "int32"},
    {NumberType::kInt16, 2, "int16"},
    {NumberType::kInt8, 1, "int8"},
    {NumberType::kUint8, 1, "uint8"},
    {NumberType::kBool, 1, "bool"},
});

const TypeEntry& EntryOf(NumberType type) {
  return *std::ranges::find(kTypes, type, &TypeEntry::type);
}

// Numbers that memory has as type S.
template <typename S, typename T>
void Cast(const char* source, std::span<T> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    S value;
    std::memcpy(&value, source + i * sizeof(S), sizeof(S));
    out[i] = static_cast<T>(value);
  }
}

// Numbers of 16 bits that `decode` turns into floats.
template <typename T, typename Decode>
void CastCoded(const char* source, std::span<T> out, Decode decode) {
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t code = 0;
    std::memcpy(&code, source + i * sizeof(code), sizeof(code));
    out[i] = static_cast<T>(decode(code));
  }
}

template <typename T>
void ConvertTo(NumberType type, const char* source, std::span<T> out) {
  switch (type) {
    case NumberType::kFloat32:
      return Cast<float>(source, out);
    case NumberType::kFloat16:
      return CastCoded(source, out, HalfToFloat);
    case NumberType::kBfloat16:
      return CastCoded(source, out, Bfloat16ToFloat);
    case NumberType::kFloat64:
      return Cast<double>(source, out);
    case NumberType::kInt64:
      return Cast<int64_t>(source, out);
    case NumberType::kInt32:
      return Cast<int32_t>(source, out);
    case NumberType::kInt16:
      return Cast<int16_t>(source, out);
    case NumberType::kInt8:
      return Cast<int8_t>(source, out);
    case NumberType::kUint8:
    case NumberType::kBool:
      return Cast<uint8_t>(source, out);
  }
}

}  // namespace

size_t NumberBytes(NumberType type) { return EntryOf(type).bytes; }

std::string_view NumberName(NumberType type) { return EntryOf(type).name; }

bool IsFloating(NumberType type) { return type <= NumberType::kFloat64; }

void Convert(NumberType type, const char* source, std::span<float> out) {
  ConvertTo(type, source, out);
}

void Convert(NumberType type, const char* source, std::span<int64_t> out) {
  ConvertTo(type, source, out);
}

}  // namespace quire::formats
