#include "server/clock_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/status.h"
#include "engine/table_spec.h"
#include "quire/v1/admin.pb.h"
#include "server/errors.h"

namespace quire {
namespace {

// A request that names all workers of the largest clock.
constexpr int64_t kRequestBytesMax = int64_t{1} << 20;

// How long a worker waits: if its call has no deadline; and at most.
constexpr std::chrono::seconds kWaitDefault{30};
constexpr std::chrono::seconds kWaitMax{300};

// The answer is sent so long before the caller stops to listen; sooner if he
// has less than four times that.
constexpr std::chrono::nanoseconds kAnswerTime = std::chrono::milliseconds(200);

std::chrono::steady_clock::time_point EndOfWait(const Deadline& deadline) {
  const auto now = std::chrono::steady_clock::now();
  if (!deadline) {
    return now + kWaitDefault;
  }
  const std::chrono::nanoseconds left = *deadline - now;
  return now + std::min<std::chrono::nanoseconds>(
                   left - std::min(kAnswerTime, left / 4), kWaitMax);
}

absl::Status OutOfRange(std::string_view field, int64_t value,
                        std::string_view range) {
  return Error(Reason::kBadValue,
               fmt::format("{} is {}; it is {}", field, value, range), field);
}

absl::Status CheckLeft(const v1::AdvanceClockRequest& request) {
  if (request.left_size() > request.workers()) {
    return Error(Reason::kBadValue,
                 fmt::format("left has {} entries, and the clock {} workers",
                             request.left_size(), request.workers()),
                 "left");
  }
  for (int i = 0; i < request.left_size(); ++i) {
    if (request.left(i) < 0 || request.left(i) >= request.workers()) {
      return OutOfRange(fmt::format("left[{}]", i), request.left(i),
                        fmt::format("in [0, {})", request.workers()));
    }
  }
  return absl::OkStatus();
}

absl::Status Check(const v1::AdvanceClockRequest& request) {
  if (!IsTableName(request.clock())) {
    return Error(Reason::kBadName,
                 fmt::format("a clock's name, {}, is not "
                             "[A-Za-z0-9][A-Za-z0-9._-]{{0,127}}",
                             Shown(request.clock())),
                 "clock");
  }
  if (request.workers() < 1 || request.workers() > kWorkersPerClockMax) {
    return OutOfRange("workers", request.workers(),
                      fmt::format("in [1, {}]", kWorkersPerClockMax));
  }
  if (request.worker() < 0 || request.worker() >= request.workers()) {
    return OutOfRange("worker", request.worker(),
                      fmt::format("in [0, {}): `workers` is {}",
                                  request.workers(), request.workers()));
  }
  if (request.step() < 0) {
    return OutOfRange("step", request.step(), "0 or more");
  }
  if (request.max_ahead() < 0) {
    return OutOfRange("max_ahead", request.max_ahead(), "0 or more");
  }
  return CheckLeft(request);
}

absl::StatusOr<ClockStep> Parse(const ReceivedMessage& message) {
  v1::AdvanceClockRequest request;
  QUIRE_RETURN_IF_ERROR(ParseInto(message, request, kRequestBytesMax));
  QUIRE_RETURN_IF_ERROR(Check(request));
  return ClockStep{.clock = request.clock(),
                   .workers = request.workers(),
                   .worker = request.worker(),
                   .step = request.step(),
                   .max_ahead = request.max_ahead(),
                   .leave = request.leave(),
                   .left = {request.left().begin(), request.left().end()}};
}

Reply ReplyOf(const ClockState& state) {
  v1::AdvanceClockResponse response;
  if (state.slowest_step) {
    response.set_slowest_step(*state.slowest_step);
    response.set_slowest_worker(*state.slowest_worker);
  }
  response.mutable_left()->Add(state.left.begin(), state.left.end());
  return Reply{.message = Serialize(response)};
}

}  // namespace

void ClockService::AdvanceClock(const ReceivedMessage& message,
                                const Caller& caller, Answer answer) {
  absl::StatusOr<ClockStep> step = Parse(message);
  if (!step.ok()) {
    return answer(step.status());
  }
  clocks_.Advance(
      *step,
      {.end = EndOfWait(caller.deadline), .is_cancelled = caller.is_cancelled},
      [answer = std::move(answer)](const absl::StatusOr<ClockState>& state) {
        answer(state.ok() ? absl::StatusOr<Reply>(ReplyOf(*state))
                          : state.status());
      });
}

}  // namespace quire
