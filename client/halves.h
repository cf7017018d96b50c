// Numbers of two bytes, at the client's end of the wire: the caller has floats.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "base/byte_range.h"
#include "quire/v1/admin.pb.h"
#include "tensor/element_type.h"

namespace quire {

// `numbers` of `type`, FLOAT32 included, as floats.
//   out  as many
void Widen(ElementType type, const ByteRange& numbers, float* out);

// `floats` to `type`, FLOAT16 or BFLOAT16: to the nearest, ties to even. The
// position of the first finite one that became infinite, or nullopt.
//   out  as many, aligned to nothing
std::optional<size_t> Round(ElementType type, std::span<const float> floats,
                            std::byte* out);

// The largest finite number of FLOAT16 or BFLOAT16.
float LargestOf(ElementType type);

// BAD_VALUE if `type` is none; NOT_BUILT if it takes two bytes, and the server
// does not have that among its features.
absl::Status CheckWireType(ElementType type, size_t item_index,
                           const v1::GetServerInfoResponse& server);

// The same of all items.
template <typename Item>
absl::Status CheckWireTypes(std::span<const Item> items,
                            const v1::GetServerInfoResponse& server) {
  for (size_t i = 0; i < items.size(); ++i) {
    absl::Status checked = CheckWireType(items[i].wire_dtype, i, server);
    if (!checked.ok()) {
      return checked;
    }
  }
  return absl::OkStatus();
}

}  // namespace quire
