// Text that came from elsewhere, as it may go to a terminal.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quire::terminal {

// `text` with what could move the cursor, ring, or change what is on the
// screen written as \x1b; bytes that are no UTF-8 too.
std::string Printable(std::string_view text);

// Columns that a printable text takes: wide East Asian characters and emoji
// take two, combining marks none.
size_t DisplayWidth(std::string_view text);

}  // namespace quire::terminal
