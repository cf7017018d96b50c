// What is wrong with what a person typed or with what a file holds.
//
// Such an error is INVALID_ARGUMENT without a Reason: reasons are the
// server's. The `quire` command tells by this whose fault a failure is
// (client/cli/exit_code.h).

#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace quire::formats {

// `sentence` says what was found, what was needed, and where.
inline absl::Status InputError(std::string_view sentence) {
  return absl::InvalidArgumentError({sentence.data(), sentence.size()});
}

}  // namespace quire::formats
