#include "server/readiness.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace quire {
namespace {

// Between these a client comes back in a quarter of the time that is left.
constexpr double kRetryMsMin = 50;
constexpr double kRetryMsMax = 1000;

}  // namespace

absl::Status Readiness::Check() const {
  if (is_ready()) {
    return absl::OkStatus();
  }
  const RecoveryProgress::Figures now = progress_.figures();
  const double wait_ms = now.seconds_left * 1000 / 4;
  return WithRetryAfterMs(
      Error(Reason::kRecovering,
            fmt::format("the server has started and reads what it has on disk: "
                        "{:.0f} % done, about {:.0f} s left. Nothing was done; "
                        "try again",
                        std::floor(100 * now.share_done),
                        std::ceil(now.seconds_left))),
      std::llround(std::clamp(wait_ms, kRetryMsMin, kRetryMsMax)));
}

v1::RecoveryStats Readiness::Stats() const {
  const RecoveryProgress::Figures now = progress_.figures();
  v1::RecoveryStats stats;
  stats.set_phase(now.phase == RecoveryProgress::Phase::kSnapshot
                      ? v1::RECOVERY_PHASE_SNAPSHOT
                      : v1::RECOVERY_PHASE_LOG);
  stats.set_share_done(now.share_done);
  stats.set_seconds_left(now.seconds_left);
  stats.set_bytes_done(now.bytes_done);
  stats.set_bytes_total(now.bytes_total);
  return stats;
}

}  // namespace quire
