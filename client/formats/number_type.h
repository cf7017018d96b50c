// The types of numbers that files of tensors hold, and their way to ours.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace quire::formats {

// Little-endian. Quire writes float32, and for labels int64 and uint8.
enum class NumberType {
  kFloat32,
  kFloat16,
  kBfloat16,
  kFloat64,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUint8,
  kBool,
};

size_t NumberBytes(NumberType type);
std::string_view NumberName(NumberType type);  // "float32"
bool IsFloating(NumberType type);

// Reads out.size() numbers of `type`.
//   float    exact, but float64 and int64 are rounded to nearest
//   int64_t  of integer types; what is after a point is dropped
void Convert(NumberType type, const char* source, std::span<float> out);
void Convert(NumberType type, const char* source, std::span<int64_t> out);

}  // namespace quire::formats
