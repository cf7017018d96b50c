// Numbers as text, both ways, fast and independent of the locale.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace quire::formats {

// Reads `text`, all of it, as the float32 nearest to a decimal number, "nan"
// or "inf" included; what is over the range becomes infinite. False, and
// `value` is unspecified, if the text is something else.
bool ParseFloat(std::string_view text, float& value);

// Appends the shortest decimal number that reads back as the same float32.
void AppendFloat(float value, std::string& out);

// The float32 that an IEEE 754 binary16 stands for, exactly.
float HalfToFloat(uint16_t half);

// The float32 of which a bfloat16 is the upper half.
float Bfloat16ToFloat(uint16_t bits);

}  // namespace quire::formats
