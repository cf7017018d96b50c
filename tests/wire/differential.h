// The two ways to read a message, held against each other. Shared by the unit
// tests and the fuzz target.

#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/status.h"
#include "tests/wire/pieces.h"
#include "wire/canonical.h"
#include "wire/draft.h"
#include "wire/generated.h"

namespace quire::wire::testing {

// All that a draft says: equal texts, equal drafts.
std::string Describe(const Draft& draft);

// Reads `pieces` both ways. "" if they agree: a message that the short way
// takes means the same to the generated code. Else what each of them read.
template <typename Message>
std::string Difference(std::span<const Bytes> pieces) {
  Draft canonical;
  if (!ReadCanonical<Message>(pieces, canonical)) {
    return "";
  }
  Draft generated;
  const absl::Status status = ReadGenerated<Message>(pieces, generated);
  if (!status.ok()) {
    return "generated: " + status.ToString() +
           "\ncanonical: " + Describe(canonical);
  }
  return Describe(generated) == Describe(canonical)
             ? ""
             : "generated: " + Describe(generated) +
                   "\ncanonical: " + Describe(canonical);
}

}  // namespace quire::wire::testing
