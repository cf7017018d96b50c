// Judges the bags of one table of a request.

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "tensor/shape.h"
#include "wire/draft.h"
#include "wire/requests.h"

namespace quire::wire {

// Everything that does not depend on the ids: the pooling, and which fields go
// with it. Fields of errors begin with "bags.".
absl::Status CheckLookupBags(const BagsDraft& bags);
absl::Status CheckGradientBags(const BagsDraft& bags, int64_t gradient_count);

// Whether gradients of weights may be asked for.
absl::Status CheckWeightGradients(const TableDraft& table);

// The bags that ids of this shape fall into; moves the offsets out of `draft`.
//   bag_count  of the tables before this one; this one's are added
absl::Status ResolveBags(BagsDraft& draft, const Shape& ids_shape,
                         int64_t& bag_count, BagsRequest& bags);

}  // namespace quire::wire
