#include "client/cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <string_view>

#include "base/check.h"

namespace quire::cli {
namespace {

// Shared with a signal handler: lock-free, and nothing else is ordered by
// them.
std::atomic<bool> interrupted_flag = false;
std::atomic<int> signal_seen = 0;
std::atomic<int> orderly_ends = 0;
static_assert(std::atomic<bool>::is_always_lock_free &&
              std::atomic<int>::is_always_lock_free);

// Only what may be called from a signal handler.
void Handle(int signal) {
  signal_seen = signal;
  if (orderly_ends > 0 && !interrupted_flag.exchange(true)) {
    return;
  }
  constexpr std::string_view kLine = "\nquire: interrupted\n";
  [[maybe_unused]] const ssize_t ignored =
      write(STDERR_FILENO, kLine.data(), kLine.size());
  _exit(128 + signal);
}

}  // namespace

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = Handle;
  action.sa_flags = SA_RESTART;
  QUIRE_CHECK(sigaction(SIGINT, &action, nullptr) == 0 &&
                  sigaction(SIGTERM, &action, nullptr) == 0,
              "both signals can be caught");
}

OrderlyEnd::OrderlyEnd() { ++orderly_ends; }

OrderlyEnd::~OrderlyEnd() { --orderly_ends; }

const std::atomic<bool>& interrupted() { return interrupted_flag; }

int InterruptExitCode() { return 128 + signal_seen; }

}  // namespace quire::cli
