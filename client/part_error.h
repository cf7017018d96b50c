// Errors of a part of a lookup, told in terms of the whole.

#pragma once

#include "absl/status/status.h"
#include "routing/split.h"

namespace quire {

// The server names fields of the request that it got: item 0, id 7 of a part
// may be item 2, id 4194311 of the lookup. The field is put right; positions
// in the sentence stay, and it is said from where they count.
absl::Status InWholeLookup(const absl::Status& error, const Part& part);

}  // namespace quire
