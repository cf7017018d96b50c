#include "base/faults.h"

#if defined(QUIRE_FAULTS)

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace quire {
namespace {

// What QUIRE_KILL_POINT says.
struct KillPoint {
  KillPoint() {
    const char* const text = std::getenv("QUIRE_KILL_POINT");
    if (text == nullptr) {
      return;
    }
    name = text;
    const size_t colon = name.find(':');
    if (colon != std::string::npos) {
      left = std::atoll(name.c_str() + colon + 1);
      name.resize(colon);
    }
  }

  std::string name;
  // Passes until the kill.
  std::atomic<int64_t> left = 1;
};

}  // namespace

bool FaultIs(std::string_view name) {
  static const char* const kFault = std::getenv("QUIRE_FAULT");
  return kFault != nullptr && name == kFault;
}

void PassKillPoint(std::string_view name) {
  static KillPoint kPoint;
  if (name == kPoint.name && kPoint.left.fetch_sub(1) == 1) {
    kill(getpid(), SIGKILL);
    pause();
  }
}

}  // namespace quire

#endif
