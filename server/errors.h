// Errors on the wire: the one place where a Status becomes gRPC's.

#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace quire {

// The code, the sentence and, packed, ErrorInfo (domain "quire"), BadRequest
// if a field is at fault, RetryInfo if a retry can help.
google::rpc::Status ToRpcStatus(const absl::Status& status);

// The same as gRPC carries it, details in grpc-status-details-bin.
grpc::Status ToGrpcStatus(const absl::Status& status);

// A name of the caller's as a sentence shows it: quoted, and cut, since errors
// travel in trailers, which have little room.
std::string Shown(std::string_view name);

}  // namespace quire
