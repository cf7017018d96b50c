// Expectations that what was parsed says what the generated object says.

#pragma once

#include "quire/v1/embedding.pb.h"
#include "wire/lookup_response.h"
#include "wire/requests.h"

namespace quire::wire::testing {

void ExpectSays(const LookupRequest& parsed, const v1::LookupRequest& message);
void ExpectSays(const ApplyGradientRequest& parsed,
                const v1::ApplyGradientRequest& message);
void ExpectSays(const LookupResponse& parsed,
                const v1::LookupResponse& message);

}  // namespace quire::wire::testing
