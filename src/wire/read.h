// Reads a hot message, the shorter of two ways.

#pragma once

#include <span>

#include "absl/status/status.h"
#include "base/byte_range.h"
#include "wire/canonical.h"
#include "wire/draft.h"
#include "wire/generated.h"

namespace quire::wire {

// Reads a message the short way if that is possible, else the long way. Errors
// are those of ReadGenerated.
template <typename Message>
absl::Status ReadMessage(std::span<const Bytes> pieces, Draft& draft) {
  if (ReadCanonical<Message>(pieces, draft)) {
    return absl::OkStatus();
  }
  draft = Draft();
  return ReadGenerated<Message>(pieces, draft);
}

}  // namespace quire::wire
