#include "routing/split.h"

#include <algorithm>

#include "base/check.h"

namespace quire {
namespace {

// How many rows of an item, from `begin` on, have at most `ids` ids together.
int64_t RowsWithin(const SplitItem& item, int64_t begin, int64_t ids) {
  if (item.offsets.empty()) {
    return ids;
  }
  const auto from = item.offsets.begin() + begin;
  return std::upper_bound(from, item.offsets.end(), *from + ids) - from - 1;
}

// How many rows of an item, from `begin` on, `part` can take; -1: not even the
// item itself.
int64_t RoomIn(const Part& part, const SplitItem& item, int64_t begin,
               const PartLimits& limits) {
  const int64_t bytes =
      limits.reply_bytes - part.reply_bytes - limits.item_bytes;
  if (bytes < 0 || std::ssize(part.ranges) == limits.items) {
    return -1;
  }
  const int64_t rows =
      std::min(limits.ids - part.row_count,
               RowsWithin(item, begin, limits.ids - part.id_count));
  return item.row_bytes == 0 ? rows : std::min(rows, bytes / item.row_bytes);
}

void Append(const ItemRange& range, const SplitItem& item,
            const PartLimits& limits, Part& part) {
  part.ranges.push_back(range);
  part.row_count += range.count;
  part.id_count += range.id_count;
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
      const int64_t left = item.row_count - begin;
      const int64_t wanted = std::min<int64_t>(left, 1);
      if (RoomIn(parts.back(), item, begin, limits) < wanted &&
          !parts.back().ranges.empty()) {
        parts.emplace_back();
      }
      const int64_t room = RoomIn(parts.back(), item, begin, limits);
      const int64_t count = std::min(left, std::max(room, wanted));
      const int64_t id_begin = item.IdsBefore(begin);
      Append({.item_index = i,
              .begin = begin,
              .count = count,
              .id_begin = id_begin,
              .id_count = item.IdsBefore(begin + count) - id_begin},
             item, limits, parts.back());
      begin += count;
    } while (begin < item.row_count);
  }
  return parts;
}

}  // namespace quire
