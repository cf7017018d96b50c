// What is wrong with what a person typed or with what a file holds.
//
// The `quire` command tells by this whose fault a failure is: a server's
// refusal is an error of another kind, even if it has the same code.

#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace quire::formats {

// INVALID_ARGUMENT. `sentence` says what was found, what was needed, and where.
inline absl::Status InputError(std::string_view sentence) {
  absl::Status status =
      absl::InvalidArgumentError({sentence.data(), sentence.size()});
  status.SetPayload("quire/input", absl::Cord());
  return status;
}

inline bool IsInputError(const absl::Status& status) {
  return status.GetPayload("quire/input").has_value();
}

// The sentence of an error.
inline std::string_view SentenceOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace quire::formats
