#include "client/unique.h"

#include "absl/container/flat_hash_map.h"

namespace quire {

UniqueIds::UniqueIds(std::span<const int64_t> given) {
  absl::flat_hash_map<int64_t, size_t> index_of_id;
  index_of_id.reserve(given.size());
  index.reserve(given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const auto [entry, is_new] = index_of_id.try_emplace(given[i], ids.size());
    if (is_new) {
      ids.push_back(given[i]);
      first.push_back(i);
    }
    index.push_back(entry->second);
  }
}

}  // namespace quire
