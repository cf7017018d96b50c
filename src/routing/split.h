// How a lookup that is too large for one message is cut into parts, and where
// the rows of each part belong.
//
//   item 0  a b c d e          part 0: item 0 [0, 4)     (at most 4 ids each)
//   item 1  f g h        ──►   part 1: item 0 [4, 5), item 1 [0, 3)
//   item 2                             item 2 [0, 0)
//
// A part takes contiguous ranges of items, in order, so that joining is
// copying: the rows of range [begin, begin + count) of an item are rows
// [begin, begin + count) of its output. A row is that of one id, or of a bag of
// them, which is never cut.
//
// Thread safety: pure functions and plain values.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quire {

// What is wanted of one table.
struct SplitItem {
  // Of its output.
  int64_t row_count = 0;
  // What each row adds to the reply.
  int64_t row_bytes = 0;
  // Of bags: row i is that of ids [offsets[i], offsets[i + 1]); ascending, 0
  // first. Empty: each row is that of one id.
  std::span<const int64_t> offsets = {};

  // Ids before row `row`.
  int64_t IdsBefore(int64_t row) const {
    return offsets.empty() ? row : offsets[static_cast<size_t>(row)];
  }
};

// What one request may hold; each is 1 or more.
struct PartLimits {
  int64_t reply_bytes = 0;
  // Over all items; as many bags.
  int64_t ids = 0;
  int64_t items = 0;
  // What each item adds to a reply besides its rows.
  int64_t item_bytes = 0;
};

// Rows [begin, begin + count) of one item, and their ids.
struct ItemRange {
  size_t item_index = 0;
  int64_t begin = 0;
  int64_t count = 0;
  int64_t id_begin = 0;
  int64_t id_count = 0;

  friend bool operator==(const ItemRange&, const ItemRange&) = default;
};

// One request.
struct Part {
  std::vector<ItemRange> ranges;
  int64_t row_count = 0;
  int64_t id_count = 0;
  // Of its reply.
  int64_t reply_bytes = 0;
};

// Cuts `items` into parts, each as full as the limits allow. An item without
// rows is in one part, with an empty range, so that its table is still asked
// for. There is at least one part, and none is empty unless `items` is. A row
// that alone is over a limit has a part to itself: the server knows the
// sentence for it.
std::vector<Part> SplitLookup(std::span<const SplitItem> items,
                              const PartLimits& limits);

// The piece of an item's array that belongs to `range`: rows of its
// [rows, dim].
template <typename T>
std::span<T> RowsOf(const ItemRange& range, std::span<T> rows, int64_t dim) {
  return rows.subspan(static_cast<size_t>(range.begin * dim),
                      static_cast<size_t>(range.count * dim));
}

// The same of an array that has an element for each id.
template <typename T>
std::span<T> IdsOf(const ItemRange& range, std::span<T> ids) {
  return ids.subspan(static_cast<size_t>(range.id_begin),
                     static_cast<size_t>(range.id_count));
}

}  // namespace quire
