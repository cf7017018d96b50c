#include "client/terminal/screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

namespace quire::terminal {
namespace {

Stream FindStream(int descriptor, ColorChoice color) {
  const char* no_color = std::getenv("NO_COLOR");
  const bool is_terminal = isatty(descriptor) == 1;
  const bool allowed = no_color == nullptr || *no_color == '\0';
  return {
      .is_terminal = is_terminal,
      .is_colored = color == ColorChoice::kAlways ||
                    (color == ColorChoice::kAuto && is_terminal && allowed)};
}

std::string WithCode(std::string_view text, const Stream& stream, int code) {
  return stream.is_colored ? fmt::format("\x1b[{}m{}\x1b[0m", code, text)
                           : std::string(text);
}

}  // namespace

Screen FindScreen(ColorChoice color) {
  Screen screen = {.out = FindStream(STDOUT_FILENO, color),
                   .error = FindStream(STDERR_FILENO, color)};
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    screen.columns = size.ws_col;
  }
  return screen;
}

std::string Bold(std::string_view text, const Stream& stream) {
  return WithCode(text, stream, 1);
}

std::string Red(std::string_view text, const Stream& stream) {
  return WithCode(text, stream, 31);
}

}  // namespace quire::terminal
