// Bags that a caller brings: checked before anything is cut along them.

#pragma once

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "tensor/bags.h"

namespace quire {

// INVALID_ARGUMENT unless the offsets ascend from 0 to the number of ids, and
// there is a weight for each id or none. The rest is for the server to say.
//   field  of the bags, for the error: "items[1].bags"
absl::Status CheckBags(const Bags& bags, size_t id_count,
                       std::string_view field);

}  // namespace quire
