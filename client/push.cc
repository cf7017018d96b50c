#include "client/push.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/limits.h"
#include "base/status.h"
#include "client/bags.h"
#include "client/message.h"
#include "client/uid.h"
#include "wire/encode.h"

namespace quire {
namespace {

int64_t IdCount(std::span<const wire::GradientEntry> entries) {
  int64_t count = 0;
  for (const wire::GradientEntry& entry : entries) {
    count += std::ssize(entry.ids);
  }
  return count;
}

absl::StatusOr<wire::GradientEntry> EntryOf(const GradientItem& item,
                                            size_t item_index) {
  if (item.bags) {
    QUIRE_RETURN_IF_ERROR(CheckBags(*item.bags, item.ids.size(),
                                    fmt::format("items[{}].bags", item_index)));
  }
  const int64_t row_count =
      item.bags ? item.bags->bag_count() : std::ssize(item.ids);
  const int64_t floats = std::ssize(item.gradient);
  const int64_t dim = row_count == 0 ? 0 : floats / row_count;
  if (dim * row_count != floats || (dim == 0 && row_count > 0) ||
      dim > kDimMax) {
    const char* const rows = item.bags ? "bag" : "id";
    return Error(
        Reason::kBadShape,
        fmt::format("table '{0}': {1} gradient floats for {2} {3}s; there must "
                    "be as many for each {3} as the table's dim",
                    item.table, floats, row_count, rows),
        fmt::format("items[{}].gradient", item_index));
  }
  QUIRE_ASSIGN_OR_RETURN(const Shape shape,
                         Shape::Make(std::vector<int64_t>{row_count, dim}));
  return wire::GradientEntry{
      .table_name = item.table,
      .table_uid = item.uid,
      .learning_rate = item.learning_rate,
      .gradient_scale = item.gradient_scale,
      .return_weight_gradients = item.return_weight_gradients,
      .ids = item.ids,
      .bags = item.bags,
      .gradient_shape = shape,
      .gradient = item.gradient};
}

// No protobuf message and no dim is larger, whatever a server takes.
constexpr int64_t kMessageMax = std::numeric_limits<int32_t>::max();

int64_t PushBytesMax(const v1::ServerLimits& limits) {
  return std::min<int64_t>(limits.push_bytes(), kMessageMax);
}

int64_t PushIdsMax(const v1::ServerLimits& limits) {
  return std::min<int64_t>(limits.ids_per_request(), kMessageMax);
}

// The request, or nullopt if it is over a limit.
std::optional<grpc::ByteBuffer> EncodeIfItFits(
    std::span<const wire::GradientEntry> entries, v1::Durability min_durability,
    const v1::ServerLimits& limits) {
  if (IdCount(entries) > PushIdsMax(limits)) {
    return std::nullopt;
  }
  const wire::MessageLayout layout =
      wire::LayOutApplyGradientRequest(entries, min_durability);
  if (layout.size() > PushBytesMax(limits) - wire::kPushIdBytesMax) {
    return std::nullopt;
  }
  return EncodeMessage(entries, layout);
}

absl::Status TooLarge(std::span<const wire::GradientEntry> summed,
                      const v1::ServerLimits& limits) {
  int64_t floats = 0;
  for (const wire::GradientEntry& entry : summed) {
    floats += std::ssize(entry.gradient);
  }
  return Error(
      Reason::kTooLarge,
      fmt::format("a push of {} ids and {} gradient floats, duplicates summed; "
                  "this server takes {} ids and {} bytes in one. Push fewer "
                  "rows at a time (each push is one step), or raise the "
                  "server's limit.",
                  IdCount(summed), floats, PushIdsMax(limits),
                  PushBytesMax(limits)));
}

}  // namespace

SummedGradient SumDuplicates(std::span<const int64_t> ids,
                             std::span<const float> gradient, int64_t dim) {
  const auto width = static_cast<size_t>(dim);
  SummedGradient summed;
  absl::flat_hash_map<int64_t, size_t> row_of_id;
  for (size_t i = 0; i < ids.size(); ++i) {
    const float* const row = gradient.data() + i * width;
    const auto [entry, is_new] =
        row_of_id.try_emplace(ids[i], summed.ids.size());
    if (is_new) {
      summed.ids.push_back(ids[i]);
      summed.gradient.insert(summed.gradient.end(), row, row + width);
      continue;
    }
    float* const sum = summed.gradient.data() + entry->second * width;
    std::transform(
        row, row + width, sum, sum,
        [](float added, float sum_so_far) { return sum_so_far + added; });
  }
  return summed;
}

absl::StatusOr<grpc::ByteBuffer> EncodePush(std::span<const GradientItem> items,
                                            v1::Durability min_durability,
                                            const v1::ServerLimits& limits) {
  std::vector<wire::GradientEntry> entries;
  entries.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    QUIRE_ASSIGN_OR_RETURN(wire::GradientEntry entry, EntryOf(items[i], i));
    entries.push_back(entry);
  }
  if (auto message = EncodeIfItFits(entries, min_durability, limits)) {
    return *std::move(message);
  }
  std::vector<SummedGradient> sums;
  sums.reserve(entries.size());
  for (wire::GradientEntry& entry : entries) {
    if (entry.bags || entry.gradient_scale) {
      continue;  // each occurrence has a scale of its own, or is rounded
    }
    const int64_t dim = entry.gradient_shape.dim(1);
    sums.push_back(SumDuplicates(entry.ids, entry.gradient, dim));
    entry.ids = sums.back().ids;
    entry.gradient = sums.back().gradient;
    entry.gradient_shape = Shape{std::ssize(entry.ids), dim};
    entry.duplicates_summed = true;
  }
  if (auto message = EncodeIfItFits(entries, min_durability, limits)) {
    return *std::move(message);
  }
  return TooLarge(entries, limits);
}

grpc::ByteBuffer WithPushId(const grpc::ByteBuffer& request,
                            std::string_view session_id, uint64_t sequence) {
  std::vector<grpc::Slice> slices;
  request.Dump(&slices);
  slices.insert(slices.begin(),
                grpc::Slice(wire::EncodePushId(session_id, sequence)));
  return {slices.data(), slices.size()};
}

absl::StatusOr<Pushed> ReadPushReply(const v1::ApplyGradientResponse& response,
                                     size_t item_count) {
  if (static_cast<size_t>(response.tables_size()) != item_count) {
    return Error(Reason::kBug,
                 fmt::format("the server answered a push of {} tables with {}. "
                             "The push was applied.",
                             item_count, response.tables_size()));
  }
  Pushed pushed = {.position = response.has_position()
                                   ? std::optional(response.position())
                                   : std::nullopt,
                   .reached = response.reached(),
                   .duplicate = response.duplicate(),
                   .exactly_once = response.exactly_once()};
  pushed.tables.reserve(item_count);
  for (const v1::TableGradientResult& table : response.tables()) {
    QUIRE_ASSIGN_OR_RETURN(const TableUid uid, ReadUid(table.table_uid()));
    pushed.tables.push_back(
        {.uid = uid,
         .rows_changed = table.rows_changed(),
         .padding_dropped = table.padding_dropped(),
         .rows_skipped = table.rows_skipped(),
         .step = table.step(),
         .weight_gradients = {table.weight_gradients().begin(),
                              table.weight_gradients().end()}});
  }
  return pushed;
}

}  // namespace quire
