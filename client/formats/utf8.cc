#include "client/formats/utf8.h"

namespace quire::formats {
namespace {

// Bytes of a code point by its first byte, and the least code point that
// needs so many; size 0 for a byte that starts none.
struct Lead {
  size_t size;
  char32_t bits;
  char32_t least;
};

Lead LeadOf(unsigned char byte) {
  if (byte < 0x80) return {1, byte, 0};
  if ((byte & 0xe0) == 0xc0) return {2, byte & 0x1fu, 0x80};
  if ((byte & 0xf0) == 0xe0) return {3, byte & 0x0fu, 0x800};
  if ((byte & 0xf8) == 0xf0) return {4, byte & 0x07u, 0x10000};
  return {0, 0, 0};
}

}  // namespace

Utf8Step NextUtf8(std::string_view text) {
  const Lead lead = LeadOf(static_cast<unsigned char>(text[0]));
  if (lead.size == 0 || lead.size > text.size()) {
    return {};
  }
  char32_t code_point = lead.bits;
  for (size_t i = 1; i < lead.size; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xc0) != 0x80) {
      return {};
    }
    code_point = code_point << 6 | (byte & 0x3fu);
  }
  const bool surrogate = code_point >= 0xd800 && code_point < 0xe000;
  if (code_point < lead.least || surrogate || code_point > 0x10ffff) {
    return {};
  }
  return {.size = lead.size, .code_point = code_point, .valid = true};
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    if (!step.valid) {
      return false;
    }
    text.remove_prefix(step.size);
  }
  return true;
}

}  // namespace quire::formats
