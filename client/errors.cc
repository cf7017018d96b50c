#include "client/errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <string>

#include "absl/time/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quire {
namespace {

constexpr std::string_view kDomain = "quire";

// Bounds on the server's advice: neither a busy loop nor a stall.
constexpr absl::Duration kRetryDelayMin = absl::Milliseconds(5);
constexpr absl::Duration kRetryDelayMax = absl::Seconds(5);

// Of what a try waits for at random: doubled with each, up to the largest.
constexpr absl::Duration kBackOffMin = absl::Milliseconds(50);
constexpr absl::Duration kBackOffMax = absl::Seconds(2);

constexpr std::string_view kPushInDoubt =
    "Should the push have reached the server, it may have been applied.";
constexpr std::string_view kPushWasInDoubt =
    "An earlier try of this push was not answered: it may have been applied.";

absl::StatusCode CodeOfGrpc(const grpc::Status& status) {
  return static_cast<absl::StatusCode>(status.error_code());
}

absl::Status WithCode(absl::StatusCode code, const std::string& message) {
  return absl::Status(code, message);
}

// What google.rpc.Status carries, as far as Quire sends it.
struct Details {
  std::optional<google::rpc::ErrorInfo> info;
  std::string field;
  std::optional<int64_t> retry_after_ms;
};

Details ReadDetails(const std::string& bytes) {
  Details details;
  google::rpc::Status status;
  if (!status.ParseFromString(bytes)) {
    return details;
  }
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad;
  google::rpc::RetryInfo retry;
  for (const google::protobuf::Any& detail : status.details()) {
    if (detail.UnpackTo(&info) && info.domain() == kDomain) {
      details.info = info;
    } else if (detail.UnpackTo(&bad) && bad.field_violations_size() > 0) {
      details.field = bad.field_violations(0).field();
    } else if (detail.UnpackTo(&retry)) {
      const auto& delay = retry.retry_delay();
      details.retry_after_ms = absl::ToInt64Milliseconds(
          absl::Seconds(delay.seconds()) + absl::Nanoseconds(delay.nanos()));
    }
  }
  return details;
}

// The server's own error.
absl::Status FromDetails(const grpc::Status& status, const Details& details) {
  const std::optional<Reason> reason = ReasonFromName(details.info->reason());
  absl::Status error =
      reason ? Error(*reason, status.error_message(), details.field)
             : WithCode(CodeOfGrpc(status), status.error_message());
  return details.retry_after_ms
             ? WithRetryAfterMs(std::move(error), *details.retry_after_ms)
             : error;
}

std::string Told(absl::Duration duration) {
  return absl::FormatDuration(absl::Trunc(
      duration, duration < absl::Seconds(1) ? absl::Microseconds(100)
                                            : absl::Milliseconds(1)));
}

absl::Status CannotConnect(const grpc::Status& status, const CallSite& call) {
  return Error(Reason::kCannotConnect,
               fmt::format("{}: no answer from a Quire server at {} ({}). Does "
                           "quire-server run there, and is this its address?",
                           call.method, call.server, status.error_message()));
}

absl::Status DeadlinePassed(const CallSite& call) {
  return Error(
      Reason::kDeadline,
      fmt::format("{}: {} did not answer within {}. A later deadline may "
                  "help, or a smaller request.",
                  call.method, call.server, Told(call.deadline - call.start)));
}

absl::Status MessageTooLarge(const grpc::Status& status, const CallSite& call) {
  return Error(
      Reason::kTooLarge,
      fmt::format("{}: a message between this client and {} is over the limit "
                  "that its receiver has set ({}); this client receives up to "
                  "{} bytes. Ask for less, or send less, in one call.",
                  call.method, call.server, status.error_message(),
                  kLookupReplyBytesMax + kMessageBytesSlack));
}

absl::Status NoSuchMethod(const CallSite& call) {
  const std::string version =
      call.server_version.empty()
          ? ""
          : fmt::format(" (version {})", call.server_version);
  return Error(Reason::kNoSuchMethod,
               fmt::format("the server at {}{} does not have {}", call.server,
                           version, call.method));
}

// gRPC's code for a message over a limit is also that of a busy server.
bool SaysTooLarge(const grpc::Status& status) {
  return status.error_message().find("message larger than max") !=
         std::string::npos;
}

// An error that gRPC made up.
absl::Status WithoutDetails(const grpc::Status& status, const CallSite& call) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return CannotConnect(status, call);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return DeadlinePassed(call);
    case grpc::StatusCode::CANCELLED:
      return Error(Reason::kCancelled,
                   fmt::format("{}: the call was cancelled.", call.method));
    case grpc::StatusCode::UNIMPLEMENTED:
      return NoSuchMethod(call);
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      if (SaysTooLarge(status)) {
        return MessageTooLarge(status, call);
      }
      break;
    default:
      break;
  }
  return WithCode(CodeOfGrpc(status),
                  fmt::format("{}: {} answered: {}", call.method, call.server,
                              status.error_message()));
}

double RandomBetween(double low, double high) {
  thread_local std::minstd_rand random{std::random_device()()};
  return std::uniform_real_distribution<>(low, high)(random);
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status, const CallSite& call) {
  const Details details = ReadDetails(status.error_details());
  absl::Status error = details.info ? FromDetails(status, details)
                                    : WithoutDetails(status, call);
  if (!call.is_push) {
    return error;
  }
  if (IsUnanswered(status, call) ||
      (!details.info && ReasonOf(error) != Reason::kNoSuchMethod)) {
    return WithSentence(error, kPushInDoubt);
  }
  return call.was_unanswered ? WithSentence(error, kPushWasInDoubt) : error;
}

bool IsUnanswered(const grpc::Status& status, const CallSite& call) {
  const bool is_cancelled = status.error_code() == grpc::StatusCode::CANCELLED;
  if (is_cancelled && call.is_push) {
    return true;
  }
  return (is_cancelled ||
          status.error_code() == grpc::StatusCode::UNAVAILABLE) &&
         !ReadDetails(status.error_details()).info;
}

absl::Status WithSentence(const absl::Status& error,
                          std::string_view sentence) {
  const std::string_view message(error.message().data(),
                                 error.message().size());
  const bool ended =
      message.empty() || message.ends_with('.') || message.ends_with('?');
  absl::Status longer =
      WithCode(error.code(),
               fmt::format("{}{} {}", message, ended ? "" : ".", sentence));
  error.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    longer.SetPayload(url, payload);
  });
  return longer;
}

std::optional<absl::Duration> RetryDelay(const grpc::Status& status,
                                         const absl::Status& error,
                                         const CallSite& call,
                                         int retry_count) {
  const std::optional<int64_t> advised_ms = RetryAfterMsOf(error);
  if (!advised_ms && !(call.is_repeatable && IsUnanswered(status, call))) {
    return std::nullopt;
  }
  const absl::Duration left = call.deadline - absl::Now();
  const absl::Duration least =
      std::clamp(absl::Milliseconds(advised_ms.value_or(0)), kRetryDelayMin,
                 kRetryDelayMax) *
      RandomBetween(1.0, 1.5);
  const absl::Duration most =
      std::min({kBackOffMin * (1 << std::min(retry_count, 10)), kBackOffMax,
                std::max(left, absl::ZeroDuration())});
  const absl::Duration delay = std::max(least, most * RandomBetween(0, 1));
  return delay < left ? std::optional(delay) : std::nullopt;
}

}  // namespace quire
