#include "routing/split.h"

#include <algorithm>

#include "base/check.h"

namespace quire {
namespace {

// How many more ids of an item `part` can take; -1: not even the item itself.
int64_t RoomIn(const Part& part, const SplitItem& item,
               const PartLimits& limits) {
  const int64_t bytes =
      limits.reply_bytes - part.reply_bytes - limits.item_bytes;
  if (bytes < 0 || std::ssize(part.ranges) == limits.items) {
    return -1;
  }
  const int64_t ids = limits.ids - part.id_count;
  return item.row_bytes == 0 ? ids : std::min(ids, bytes / item.row_bytes);
}

void Append(const ItemRange& range, const SplitItem& item,
            const PartLimits& limits, Part& part) {
  part.ranges.push_back(range);
  part.id_count += range.count;
  part.reply_bytes += limits.item_bytes + range.count * item.row_bytes;
}

}  // namespace

std::vector<Part> SplitLookup(std::span<const SplitItem> items,
                              const PartLimits& limits) {
  QUIRE_CHECK(limits.reply_bytes > 0 && limits.ids > 0 && limits.items > 0,
              "a part may hold something");
  std::vector<Part> parts(1);
  for (size_t i = 0; i < items.size(); ++i) {
    const SplitItem& item = items[i];
    int64_t begin = 0;
    do {
      const int64_t left = item.id_count - begin;
      const int64_t wanted = std::min<int64_t>(left, 1);
      if (RoomIn(parts.back(), item, limits) < wanted &&
          !parts.back().ranges.empty()) {
        parts.emplace_back();
      }
      const int64_t room = RoomIn(parts.back(), item, limits);
      const int64_t count = std::min(left, std::max(room, wanted));
      Append({i, begin, count}, item, limits, parts.back());
      begin += count;
    } while (begin < item.id_count);
  }
  return parts;
}

}  // namespace quire
