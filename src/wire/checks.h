// Judges what a message says, whichever way it was read.

#pragma once

#include "absl/status/statusor.h"
#include "wire/draft.h"
#include "wire/lookup_response.h"
#include "wire/requests.h"

namespace quire::wire {

// The request, or the first thing that is wrong with it: wire/requests.h says
// what is checked.
absl::StatusOr<LookupRequest> CheckLookupRequest(Draft draft);
absl::StatusOr<ApplyGradientRequest> CheckApplyGradientRequest(Draft draft);

// Errors have the reasons of requests; whose fault they are is for the caller.
absl::StatusOr<LookupResponse> CheckLookupResponse(Draft draft);

}  // namespace quire::wire
