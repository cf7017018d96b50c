#include "client/push.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "base/limits.h"
#include "base/status.h"
#include "client/bags.h"
#include "client/halves.h"
#include "client/message.h"
#include "client/uid.h"
#include "client/unique.h"
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
      .gradient = item.gradient,
      .gradient_dtype = item.wire_dtype};
}

// No protobuf message and no dim is larger, whatever a server takes.
constexpr int64_t kMessageMax = std::numeric_limits<int32_t>::max();

int64_t PushBytesMax(const v1::ServerLimits& limits) {
  return std::min<int64_t>(limits.push_bytes(), kMessageMax);
}

int64_t PushIdsMax(const v1::ServerLimits& limits) {
  return std::min<int64_t>(limits.ids_per_request(), kMessageMax);
}

absl::Status DoesNotFitItsType(const wire::GradientEntry& entry, size_t index,
                               size_t position) {
  const auto dim = static_cast<size_t>(entry.gradient_shape.dim(1));
  const size_t row = position / dim;
  const std::string whose =
      entry.bags ? fmt::format("bag {}", row)
                 : fmt::format("id {} (row {})", entry.ids[row], row);
  return Error(
      Reason::kNonFinite,
      fmt::format("table '{}': the gradient for {}, column {} is {}{}, and {} "
                  "ends at {}; nothing was sent. Send it as another type, or "
                  "scale it down",
                  entry.table_name, whose, position % dim,
                  entry.gradient[position],
                  entry.duplicates_summed ? ", duplicates summed" : "",
                  ElementTypeName(entry.gradient_dtype),
                  LargestOf(entry.gradient_dtype)),
      fmt::format("items[{}].gradient", index));
}

absl::StatusOr<grpc::ByteBuffer> Encode(
    std::span<const wire::GradientEntry> entries,
    const wire::MessageLayout& layout) {
  const MessageMemory memory(layout);
  wire::Encode(entries, layout, memory.data);
  for (size_t i = 0; i < entries.size(); ++i) {
    const wire::GradientEntry& entry = entries[i];
    if (!IsHalf(entry.gradient_dtype)) {
      continue;
    }
    if (const auto too_large =
            Round(entry.gradient_dtype, entry.gradient,
                  memory.data + layout.payload_offset(4 * i + 3))) {
      return DoesNotFitItsType(entry, i, *too_large);
    }
  }
  return memory.buffer;
}

// The request, or nullopt if it is over a limit.
absl::StatusOr<std::optional<grpc::ByteBuffer>> EncodeIfItFits(
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
  return Encode(entries, layout);
}

// Sums the duplicates of an entry that can be summed here, and is not yet; the
// sums are kept there, and the entry views them.
void SumEntry(wire::GradientEntry& entry, std::deque<SummedGradient>& sums) {
  if (entry.bags || entry.duplicates_summed) {
    return;  // in bags each occurrence has a scale of its own
  }
  // A scale is for each occurrence too. Of a sum that is to be rounded it is
  // the server's: a gradient may have been scaled up so that it can be.
  std::optional<float> scale;
  if (entry.gradient_scale && std::isfinite(*entry.gradient_scale) &&
      !IsHalf(entry.gradient_dtype)) {
    scale = static_cast<float>(*entry.gradient_scale);
    entry.gradient_scale.reset();
  }
  const int64_t dim = entry.gradient_shape.dim(1);
  const SummedGradient& summed =
      sums.emplace_back(SumDuplicates(entry.ids, entry.gradient, dim, scale));
  entry.ids = summed.ids;
  entry.gradient = summed.gradient;
  entry.gradient_shape = Shape{std::ssize(entry.ids), dim};
  entry.duplicates_summed = true;
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
                             std::span<const float> gradient, int64_t dim,
                             std::optional<float> scale) {
  const auto width = static_cast<size_t>(dim);
  UniqueIds unique(ids);
  SummedGradient summed;
  summed.gradient.reserve(unique.ids.size() * width);
  // The server adds to zeros: -0 becomes 0 wherever something is computed.
  const auto scaled = [scale](float x) {
    return scale ? x * *scale + 0.0f : x;
  };
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto row = gradient.subspan(i * width, width);
    const size_t index = unique.index[i];
    if (unique.first[index] == i) {
      std::ranges::transform(row, std::back_inserter(summed.gradient), scaled);
      continue;
    }
    float* const sum = summed.gradient.data() + index * width;
    std::transform(row.begin(), row.end(), sum, sum,
                   [scaled](float added, float sum_so_far) {
                     return (sum_so_far + 0.0f) + scaled(added);
                   });
  }
  summed.ids = std::move(unique.ids);
  return summed;
}

absl::StatusOr<grpc::ByteBuffer> EncodePush(
    std::span<const GradientItem> items, const PushOptions& push,
    const v1::GetServerInfoResponse& server) {
  QUIRE_RETURN_IF_ERROR(CheckWireTypes(items, server));
  const v1::ServerLimits& limits = server.limits();
  std::vector<wire::GradientEntry> entries;
  entries.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    QUIRE_ASSIGN_OR_RETURN(wire::GradientEntry entry, EntryOf(items[i], i));
    entries.push_back(entry);
  }
  std::deque<SummedGradient> sums;
  for (const bool sum_all : {false, true}) {
    for (size_t i = 0; i < entries.size(); ++i) {
      if (sum_all || items[i].unique_ids) {
        SumEntry(entries[i], sums);
      }
    }
    QUIRE_ASSIGN_OR_RETURN(
        std::optional<grpc::ByteBuffer> message,
        EncodeIfItFits(entries, push.min_durability, limits));
    if (message) {
      return *std::move(message);
    }
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
