#include "client/formats/numbers.h"

#include <bit>
#include <charconv>
#include <cstdlib>

namespace quire::formats {

bool ParseFloat(std::string_view text, float& value) {
  if (text.starts_with('+') && !text.starts_with("+-")) {
    text.remove_prefix(1);  // from_chars takes no plus sign
  }
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (end != last || error == std::errc::invalid_argument) {
    return false;
  }
  if (error == std::errc::result_out_of_range) {
    // Too large or too small: rare, and from_chars does not say which.
    value = std::strtof(std::string(text).c_str(), nullptr);
  }
  return true;
}

void AppendFloat(float value, std::string& out) {
  char digits[32];  // "-1.17549435e-38" has 15
  const auto [end, error] =
      std::to_chars(std::begin(digits), std::end(digits), value);
  out.append(digits, end);
}

float HalfToFloat(uint16_t half) {
  // Sign and magnitude in the places of a float32; the exponent is then off
  // by the difference of the biases, 127 - 15, which a multiplication mends:
  // exactly, subnormal numbers included.
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t magnitude = uint32_t{half & 0x7fffu} << 13;
  if ((half & 0x7c00u) == 0x7c00u) {  // infinity, or NaN with its payload
    return std::bit_cast<float>(sign | 0x7f800000u | magnitude);
  }
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

float Bfloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

}  // namespace quire::formats
