#include "base/faults.h"

#if defined(QUIRE_FAULTS)

#include <cstdlib>

namespace quire {

bool FaultIs(std::string_view name) {
  static const char* const kFault = std::getenv("QUIRE_FAULT");
  return kFault != nullptr && name == kFault;
}

}  // namespace quire

#endif
