#include "client/terminal/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "client/formats/utf8.h"

namespace quire::terminal {
namespace {

using formats::NextUtf8;
using formats::Utf8Step;

struct Range {
  char32_t first;
  char32_t last;
};

// Control characters, and those that change the direction of text.
constexpr auto kUnprintable = std::to_array<Range>({
    {0x00, 0x1f},
    {0x7f, 0x9f},
    {0x200e, 0x200f},
    {0x2028, 0x202e},
    {0x2066, 0x2069},
});

// The blocks of Unicode that terminals draw two columns wide.
constexpr auto kWide = std::to_array<Range>({
    {0x1100, 0x115f},
    {0x2e80, 0x303e},
    {0x3041, 0x33ff},
    {0x3400, 0x4dbf},
    {0x4e00, 0x9fff},
    {0xa000, 0xa4cf},
    {0xac00, 0xd7a3},
    {0xf900, 0xfaff},
    {0xfe30, 0xfe6f},
    {0xff00, 0xff60},
    {0xffe0, 0xffe6},
    {0x1f300, 0x1f64f},
    {0x1f900, 0x1f9ff},
    {0x20000, 0x3fffd},
});

constexpr auto kCombining = std::to_array<Range>({
    {0x0300, 0x036f},
    {0x200b, 0x200d},
    {0x20d0, 0x20ff},
    {0xfe00, 0xfe0f},
});

template <size_t N>
bool IsIn(char32_t code_point, const std::array<Range, N>& ranges) {
  return std::ranges::any_of(ranges, [code_point](const Range& range) {
    return code_point >= range.first && code_point <= range.last;
  });
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    if (step.valid && !IsIn(step.code_point, kUnprintable)) {
      result += text.substr(0, step.size);
    } else {
      for (const char c : text.substr(0, step.size)) {
        fmt::format_to(std::back_inserter(result), "\\x{:02x}",
                       static_cast<unsigned char>(c));
      }
    }
    text.remove_prefix(step.size);
  }
  return result;
}

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    width += IsIn(step.code_point, kWide)        ? 2
             : IsIn(step.code_point, kCombining) ? 0
                                                 : 1;
    text.remove_prefix(step.size);
  }
  return width;
}

}  // namespace quire::terminal
