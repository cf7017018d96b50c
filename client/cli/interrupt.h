// Ctrl-C (SIGINT), and SIGTERM, which counts as the same.

#pragma once

#include <atomic>

namespace quire::cli {

// From now on, either signal ends the program with a line on standard error
// and the status that shells expect: 130, or 143 for SIGTERM. Called once.
void CatchInterrupts();

// While one lives, the first signal only sets interrupted(), so that what was
// begun can be taken back; the second ends the program at once.
class OrderlyEnd {
 public:
  OrderlyEnd();
  ~OrderlyEnd();
  OrderlyEnd(const OrderlyEnd&) = delete;
  OrderlyEnd& operator=(const OrderlyEnd&) = delete;
};

const std::atomic<bool>& interrupted();

// 130 or 143, if interrupted().
int InterruptExitCode();

}  // namespace quire::cli
