// What gRPC says about a call, in Quire's words.

#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quire {

// A call, as sentences about it need it. The views outlive the call.
struct CallSite {
  // "Lookup".
  std::string_view method;
  // host:port, or unix:path.
  std::string_view server;
  // Empty until the server has told.
  std::string_view server_version;
  // An answer that was lost leaves it open whether the call took effect.
  bool is_push = false;
  // To do it twice is the same as once: a call that only reads, or a push with
  // a number. It is tried again while no server answers.
  bool is_repeatable = false;
  // An earlier try of it was not answered.
  bool was_unanswered = false;
  absl::Time start;
  absl::Time deadline;
};

// `status` is not OK. The server's own errors keep their sentence, reason,
// field and advice to come back (google.rpc.Status in error_details()); those
// that gRPC makes up get a sentence that says what to do:
//   UNAVAILABLE          CANNOT_CONNECT
//   DEADLINE_EXCEEDED    DEADLINE
//   CANCELLED            CANCELLED
//   RESOURCE_EXHAUSTED   TOO_LARGE, if a message was over a limit of gRPC's
//   UNIMPLEMENTED        NO_SUCH_METHOD
// Other codes stay, with no reason. Of a push that may have been applied, the
// sentence says so.
absl::Status FromGrpc(const grpc::Status& status, const CallSite& call);

// `status` is no server's of ours: none is there, or the connection broke, or
// the call was cut off: also by a server of ours that took the client of a push
// for gone. A deadline that passed is not meant.
bool IsUnanswered(const grpc::Status& status, const CallSite& call);

// `error`, and one more sentence; reason, field and advice stay.
absl::Status WithSentence(const absl::Status& error, std::string_view sentence);

// How long to wait before the call is tried again. Any number of milliseconds,
// so that clients do not come back together, up to a bound that doubles from
// 50 ms to 2 s; but no less than a server advised, nor than 5 ms. nullopt if it
// is not tried again: nobody gave such advice, and the call is not repeatable
// or was answered; or the deadline comes first.
//   error        that of `status`
//   retry_count  of this call, so far
std::optional<absl::Duration> RetryDelay(const grpc::Status& status,
                                         const absl::Status& error,
                                         const CallSite& call, int retry_count);

}  // namespace quire
