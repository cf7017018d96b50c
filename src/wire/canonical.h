// The short way to read a message: what serialisers emit, where it lies.

#pragma once

#include <span>

#include "base/byte_range.h"
#include "wire/draft.h"

namespace quire::wire {

// Reads `pieces` if they hold a `Message` as protobuf's serialisers write it:
// fields in order, each once, arrays packed, none that this version has not
// built. Then `draft` is what the generated code would have read, without a
// copy. Else returns false, and the draft is unspecified: nothing is known of
// the message, it may even be fine.
//   Message  v1::LookupRequest, v1::LookupStreamRequest,
//            v1::ApplyGradientRequest, v1::ApplyGradientStreamRequest,
//            v1::LookupResponse
template <typename Message>
[[nodiscard]] bool ReadCanonical(std::span<const Bytes> pieces, Draft& draft);

}  // namespace quire::wire
