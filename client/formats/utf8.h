// Is this UTF-8?

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quire::formats {

// One code point of a text, or one byte that belongs to none.
struct Utf8Step {
  size_t size = 1;
  char32_t code_point = 0;
  bool valid = false;
};

// The code point at the front of `text`, which is not empty. Overlong forms,
// surrogates and what is above U+10FFFF are not valid (RFC 3629).
Utf8Step NextUtf8(std::string_view text);

// True if all of `text` is valid UTF-8.
bool IsUtf8(std::string_view text);

}  // namespace quire::formats
