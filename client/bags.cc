#include "client/bags.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"

namespace quire {

absl::Status CheckBags(const Bags& bags, size_t id_count,
                       std::string_view field) {
  const std::span<const int64_t> offsets = bags.offsets;
  if (offsets.empty() || offsets.front() != 0 ||
      offsets.back() != static_cast<int64_t>(id_count)) {
    return Error(
        Reason::kBadShape,
        fmt::format("{} offsets{} for {} ids; there must be one more than "
                    "bags, the first 0 and the last the number of ids",
                    offsets.size(),
                    offsets.empty()
                        ? ""
                        : fmt::format(", from {} to {},", offsets.front(),
                                      offsets.back()),
                    id_count),
        fmt::format("{}.offsets", field));
  }
  if (const auto descent = std::ranges::is_sorted_until(offsets);
      descent != offsets.end()) {
    const auto i = descent - offsets.begin();
    return Error(Reason::kBadValue,
                 fmt::format("offsets[{}] is {}, less than offsets[{}], which "
                             "is {}; offsets ascend",
                             i, *descent, i - 1, descent[-1]),
                 fmt::format("{}.offsets[{}]", field, i));
  }
  if (!bags.weights.empty() && bags.weights.size() != id_count) {
    return Error(Reason::kBadShape,
                 fmt::format("{} weights for {} ids; bring one for each, or "
                             "none for all 1",
                             bags.weights.size(), id_count),
                 fmt::format("{}.weights", field));
  }
  return absl::OkStatus();
}

}  // namespace quire
