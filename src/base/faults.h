// Planted mistakes, to see that the tests catch them.
//
// In the preset `faults`, QUIRE_FAULT("name") is true where the environment
// variable QUIRE_FAULT says this name; tests/parity/faults.py lists the names
// and the test that must fail. Everywhere else it is the constant false, and
// neither the mistakes nor their names are in the program.

#pragma once

#if defined(QUIRE_FAULTS)

#include <string_view>

namespace quire {

// Whether `name` is the mistake that this process makes.
bool FaultIs(std::string_view name);

}  // namespace quire

#define QUIRE_FAULT(name) (::quire::FaultIs(name))

#else

#define QUIRE_FAULT(name) (false)

#endif
