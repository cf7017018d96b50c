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

constexpr std::string_view kPushInDoubt =
    " Should the push have reached the server, it may have been applied.";

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
                           "quire-server run there, and is this its address?{}",
                           call.method, call.server, status.error_message(),
                           call.is_push ? kPushInDoubt : ""));
}

absl::Status DeadlinePassed(const CallSite& call) {
  return Error(
      Reason::kDeadline,
      fmt::format("{}: {} did not answer within {}. A later deadline may "
                  "help, or a smaller request.{}",
                  call.method, call.server, Told(call.deadline - call.start),
                  call.is_push ? kPushInDoubt : ""));
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

}  // namespace

absl::Status FromGrpc(const grpc::Status& status, const CallSite& call) {
  const Details details = ReadDetails(status.error_details());
  if (details.info) {
    return FromDetails(status, details);
  }
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return CannotConnect(status, call);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return DeadlinePassed(call);
    case grpc::StatusCode::CANCELLED:
      return Error(Reason::kCancelled,
                   fmt::format("{}: the call was cancelled.{}", call.method,
                               call.is_push ? kPushInDoubt : ""));
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

std::optional<absl::Duration> RetryDelay(const absl::Status& error,
                                         const CallSite& call) {
  const std::optional<int64_t> advised_ms = RetryAfterMsOf(error);
  if (!advised_ms) {
    return std::nullopt;
  }
  thread_local std::minstd_rand random{std::random_device()()};
  const absl::Duration advised = std::clamp(absl::Milliseconds(*advised_ms),
                                            kRetryDelayMin, kRetryDelayMax);
  const absl::Duration delay =
      advised * std::uniform_real_distribution<>(1.0, 1.5)(random);
  if (absl::Now() + delay >= call.deadline) {
    return std::nullopt;
  }
  return delay;
}

}  // namespace quire
