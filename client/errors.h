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
  // An answer that was lost leaves it open whether the call took effect, and
  // to repeat it would not be the same as once.
  bool is_push = false;
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
// Other codes stay, with no reason.
absl::Status FromGrpc(const grpc::Status& status, const CallSite& call);

// How long to wait before the call is tried again: what the server advised, up
// to half as much more so that clients do not come back together. nullopt if
// it gave no such advice, or if the deadline comes first.
std::optional<absl::Duration> RetryDelay(const absl::Status& error,
                                         const CallSite& call);

}  // namespace quire
