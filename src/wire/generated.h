// The long way to read a message: with the generated code, into objects.

#pragma once

#include <span>

#include "absl/status/status.h"
#include "base/byte_range.h"
#include "wire/draft.h"

namespace quire::wire {

// Reads any message that protobuf accepts; `draft` is empty before and shows
// the generated object, which its storage holds, after. What cannot be shown is
// refused, here and nowhere else:
//   MALFORMED  the generated code does not take the bytes
//   TOO_LARGE  as an object, it would be many times its bytes
// A refused message on a stream still has its request_id in the draft, if that
// could be read.
//   Message  as in ReadCanonical
template <typename Message>
absl::Status ReadGenerated(std::span<const Bytes> pieces, Draft& draft);

}  // namespace quire::wire
