// Planted mistakes, to see that the tests catch them, and places to crash at.
//
// In the preset `faults`, QUIRE_FAULT("name") is true where the environment
// variable QUIRE_FAULT says this name; tests/parity/faults.py and
// tests/mutants list the names and the tests that must fail. Everywhere else it
// is the constant false, and neither the mistakes nor their names are in the
// program.

// QUIRE_KILL_POINT("name") is a place where a crash may come: the environment
// variable QUIRE_KILL_POINT says "name:3" for a SIGKILL when it is passed for
// the third time. Elsewhere it is nothing.

#pragma once

#if defined(QUIRE_FAULTS)

#include <string_view>

namespace quire {

// Whether `name` is the mistake that this process makes.
bool FaultIs(std::string_view name);

// The process is at that place.
void PassKillPoint(std::string_view name);

}  // namespace quire

#define QUIRE_FAULT(name) (::quire::FaultIs(name))
#define QUIRE_KILL_POINT(name) ::quire::PassKillPoint(name)

#else

#define QUIRE_FAULT(name) (false)
#define QUIRE_KILL_POINT(name) static_cast<void>(0)

#endif
