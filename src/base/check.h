// Checks of our own invariants. Bad input is never a CHECK: it gets a Status.

#pragma once

#include <string_view>

namespace quire {

// Prints the sentence and where it was broken to stderr, then aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              std::string_view message);

}  // namespace quire

// Always on.
#define QUIRE_CHECK(condition, message)                 \
  (__builtin_expect(static_cast<bool>(condition), true) \
       ? static_cast<void>(0)                           \
       : ::quire::CheckFailed(__FILE__, __LINE__, #condition, message))

// Inner loops: on unless NDEBUG.
#ifdef NDEBUG
#define QUIRE_DCHECK(condition, message) static_cast<void>(0)
#else
#define QUIRE_DCHECK(condition, message) QUIRE_CHECK(condition, message)
#endif
