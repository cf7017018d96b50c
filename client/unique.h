// Ids, each once.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quire {

struct UniqueIds {
  // [unique]: in the order in which they first appear.
  std::vector<int64_t> ids;
  // [unique]: where each appears first, ascending.
  std::vector<size_t> first;
  // [n]: of each id, its index in `ids`.
  std::vector<size_t> index;

  explicit UniqueIds(std::span<const int64_t> given);

  bool has_duplicates() const { return ids.size() < index.size(); }
};

}  // namespace quire
