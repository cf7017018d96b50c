#include "table/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace quire {
namespace {

// What a label takes: its bytes in both maps, and their slots.
int64_t Cost(std::string_view label) {
  return label.empty() ? 0 : 2 * static_cast<int64_t>(label.size()) + 128;
}

absl::string_view Key(std::string_view label) {
  return {label.data(), label.size()};
}

}  // namespace

RowLabels::RowLabels(MemoryBudget& budget)
    : budget_(budget), charge_(budget.Nothing()) {}

absl::StatusOr<RowLabels::Room> RowLabels::Reserve(
    std::span<const std::string_view> labels) {
  int64_t cost = 0;
  for (std::string_view label : labels) {
    cost += Cost(label);
  }
  Room room;
  if (!budget_.TryCharge(cost, room)) {
    return Error(Reason::kMemoryFull,
                 fmt::format("{} labels take {} bytes, which the server's "
                             "memory limit does not leave; none was set",
                             labels.size(), cost),
                 "labels");
  }
  return room;
}

void RowLabels::Set(std::span<const int64_t> ids,
                    std::span<const std::string_view> labels, Room room) {
  QUIRE_CHECK(ids.size() == labels.size(), "a label for each id");
  WriterLock lock(mutex_);
  int64_t freed = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    freed += Remove(ids[i]);
    if (!labels[i].empty()) {
      label_of_[ids[i]] = std::string(labels[i]);
      std::vector<int64_t>& same = ids_of_[Key(labels[i])];
      same.insert(std::ranges::upper_bound(same, ids[i]), ids[i]);
    }
  }
  charge_.Add(std::move(room));
  QUIRE_CHECK(charge_.TryResize(charge_.bytes() - freed), "less always fits");
}

int64_t RowLabels::Remove(int64_t id) {
  const auto found = label_of_.find(id);
  if (found == label_of_.end()) {
    return 0;
  }
  const std::string label = std::move(found->second);
  label_of_.erase(found);
  const auto same = ids_of_.find(label);
  std::erase(same->second, id);
  if (same->second.empty()) {
    ids_of_.erase(same);
  }
  return Cost(label);
}

std::vector<std::string> RowLabels::Get(std::span<const int64_t> ids) const {
  std::vector<std::string> labels;
  labels.reserve(ids.size());
  ReaderLock lock(mutex_);
  for (const int64_t id : ids) {
    const auto found = label_of_.find(id);
    labels.push_back(found == label_of_.end() ? "" : found->second);
  }
  return labels;
}

int64_t RowLabels::Find(std::string_view label) const {
  ReaderLock lock(mutex_);
  const auto found = ids_of_.find(Key(label));
  return found == ids_of_.end() ? -1 : found->second.front();
}

int64_t RowLabels::count() const {
  ReaderLock lock(mutex_);
  return static_cast<int64_t>(label_of_.size());
}

int64_t RowLabels::bytes() const {
  ReaderLock lock(mutex_);
  return charge_.bytes();
}

}  // namespace quire
