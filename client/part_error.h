// Errors of a part of a lookup, told in terms of the whole.

#pragma once

#include <optional>
#include <span>

#include "absl/status/status.h"
#include "client/unique.h"
#include "routing/split.h"

namespace quire {

// The server names fields of the request that it got: item 0, id 7 of a part
// may be item 2, id 4194311 of the lookup. The field is put right; positions
// in the sentence stay, and it is said from where they count.
//   is_cut  the part is not all of the lookup
//   unique  of each item, the ids that travelled, if not all did
absl::Status InWholeLookup(const absl::Status& error, const Part& part,
                           bool is_cut,
                           std::span<const std::optional<UniqueIds>> unique);

}  // namespace quire
