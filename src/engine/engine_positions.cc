// Where the rows of an engine are in the order of changes, and who waits for
// them to be further on.

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "base/limits.h"
#include "base/status.h"
#include "engine/engine.h"

namespace quire {
namespace {

// The answer is sent so long before the caller stops to listen; sooner if he
// has less than four times that.
constexpr std::chrono::nanoseconds kAnswerTime = std::chrono::milliseconds(50);

absl::Status PositionLost(const Position& position, std::string_view why) {
  return Error(Reason::kPositionLost,
               fmt::format("the position {}:{} is none of this server's: {}",
                           position.epoch, position.lsn, why),
               "min_position");
}

}  // namespace

std::optional<Position> Engine::PositionOf(
    std::span<const TableHandle> tables) const {
  if (log_ == nullptr) {
    return std::nullopt;
  }
  const uint64_t lsn = AppliedUpTo(*log_, tables);
  if (lsn == std::numeric_limits<uint64_t>::max()) {
    return std::nullopt;
  }
  return Position{.epoch = log_->epoch(), .lsn = lsn};
}

absl::Status Engine::CheckPosition(const Position& position) const {
  if (log_ == nullptr) {
    return PositionLost(position, "it has no data directory, and gives none");
  }
  if (position.epoch > log_->epoch()) {
    return PositionLost(
        position, fmt::format("it is in its epoch {}. Another server gave it, "
                              "or what this one has was put back from a copy",
                              log_->epoch()));
  }
  if (position.epoch == log_->epoch()) {
    return absl::OkStatus();
  }
  // One that changed nothing ended where the one before it did.
  const auto later = epoch_ends_.upper_bound(position.epoch);
  if (later == epoch_ends_.begin()) {
    return PositionLost(
        position, "it is so long ago that nothing is known of that epoch");
  }
  if (const uint64_t end = std::prev(later)->second; position.lsn > end) {
    return PositionLost(
        position, fmt::format("epoch {} ended with LSN {}. What came after it "
                              "was lost when the server went down",
                              position.epoch, end));
  }
  return absl::OkStatus();
}

void Engine::WhenApplied(
    std::vector<TableHandle> tables, const Position& position,
    std::optional<std::chrono::steady_clock::time_point> deadline,
    std::function<void(absl::Status)> done) {
  if (absl::Status refused = CheckPosition(position); !refused.ok()) {
    return done(std::move(refused));
  }
  // What earlier epochs kept was applied before this one began.
  if (position.epoch < log_->epoch() ||
      AppliedUpTo(*log_, tables) >= position.lsn) {
    return done(absl::OkStatus());
  }
  const auto now = std::chrono::steady_clock::now();
  std::chrono::nanoseconds wait =
      std::chrono::milliseconds(kPositionWaitMsDefault);
  if (deadline) {
    const std::chrono::nanoseconds left = *deadline - now;
    wait = std::min<std::chrono::nanoseconds>(
        left - std::min(kAnswerTime, left / 4),
        std::chrono::milliseconds(kPositionWaitMsMax));
  }
  position_queue_->Add(std::move(tables), position.lsn, now + wait,
                       std::move(done));
}

size_t Engine::waiting_lookup_count() const {
  return position_queue_ == nullptr ? 0 : position_queue_->size();
}

void Engine::GiveUpPositions() {
  if (position_queue_ != nullptr) {
    position_queue_->Stop();
  }
}

}  // namespace quire
