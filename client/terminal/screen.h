// What standard output and standard error are connected to.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quire::terminal {

enum class ColorChoice { kAuto, kAlways, kNever };

struct Stream {
  bool is_terminal = false;
  bool is_colored = false;
};

struct Screen {
  Stream out;
  Stream error;
  size_t columns = 80;  // of standard error
};

// Looks at both streams and at NO_COLOR (https://no-color.org), which counts
// for kAuto.
Screen FindScreen(ColorChoice color);

// `text` as it is, or within the codes of an ANSI terminal.
std::string Bold(std::string_view text, const Stream& stream);
std::string Red(std::string_view text, const Stream& stream);

}  // namespace quire::terminal
