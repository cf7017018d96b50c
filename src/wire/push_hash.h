// What a push is, in one number.

#pragma once

#include <cstdint>

#include "wire/requests.h"

namespace quire::wire {

// XXH3-64 of all that a push says but for its name and how safe it is to be:
// the same for the same tables, ids and gradients, however the message was
// written. Never changes: logs keep it.
uint64_t HashOf(const ApplyGradientRequest& request);

}  // namespace quire::wire
