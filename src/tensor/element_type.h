// Element types of tensors. The numbers are those of quire.v1.ElementType.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quire {

enum class ElementType : uint8_t {
  kUnspecified = 0,  // on the wire: FLOAT32
  kFloat32 = 1,
  kFloat16 = 2,
  kBfloat16 = 3,
};

// Bytes of one element; 0 for a number that is no element type.
constexpr size_t ElementBytes(ElementType type) {
  switch (type) {
    case ElementType::kUnspecified:
    case ElementType::kFloat32:
      return 4;
    case ElementType::kFloat16:
    case ElementType::kBfloat16:
      return 2;
  }
  return 0;
}

// Whether its numbers take two bytes.
constexpr bool IsHalf(ElementType type) {
  return type == ElementType::kFloat16 || type == ElementType::kBfloat16;
}

// "FLOAT32"; "?" for a number that is no element type.
constexpr std::string_view ElementTypeName(ElementType type) {
  switch (type) {
    case ElementType::kUnspecified:
    case ElementType::kFloat32:
      return "FLOAT32";
    case ElementType::kFloat16:
      return "FLOAT16";
    case ElementType::kBfloat16:
      return "BFLOAT16";
  }
  return "?";
}

}  // namespace quire
