#include "client/c/arguments.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "absl/time/clock.h"

namespace quire::c {
namespace {

std::optional<TableUid> UidOf(const uint8_t* uid) {
  if (uid == nullptr) {
    return std::nullopt;
  }
  TableUid copy;
  std::copy_n(uid, copy.bytes.size(), copy.bytes.begin());
  return copy;
}

absl::StatusOr<Pooling> PoolingOf(int32_t pooling, const std::string& field) {
  switch (pooling) {
    case QUIRE_POOLING_SUM:
      return Pooling::kSum;
    case QUIRE_POOLING_MEAN:
      return Pooling::kMean;
    case QUIRE_POOLING_MAX:
      return Pooling::kMax;
    case QUIRE_POOLING_SQRTN:
      return Pooling::kSqrtn;
    default:
      return Error(Reason::kBadValue,
                   fmt::format("pooling is {}; it is one of QUIRE_POOLING_…, "
                               "1 to 4",
                               pooling),
                   field + ".pooling");
  }
}

// Of `winner_count` winners, if it has any.
absl::StatusOr<std::optional<Bags>> BagsOf(const quire_bags* bags,
                                           int64_t id_count,
                                           int64_t winner_count,
                                           const std::string& field) {
  if (bags == nullptr) {
    return std::nullopt;
  }
  QUIRE_ASSIGN_OR_RETURN(const Pooling pooling,
                         PoolingOf(bags->pooling, field));
  if (bags->bag_count < 0) {
    return BadArgument(field + ".bag_count", "a count is below 0");
  }
  QUIRE_ASSIGN_OR_RETURN(
      const std::span<const int64_t> offsets,
      SpanOf(bags->offsets, bags->bag_count + 1, field + ".offsets"));
  return Bags{
      .pooling = pooling,
      .offsets = offsets,
      .weights = {bags->weights, bags->weights == nullptr
                                     ? size_t{0}
                                     : static_cast<size_t>(id_count)},
      .winners = {bags->winners, bags->winners == nullptr
                                     ? size_t{0}
                                     : static_cast<size_t>(winner_count)}};
}

absl::StatusOr<ElementType> WireType(const int32_t* types, size_t index) {
  if (types == nullptr) {
    return ElementType::kFloat32;
  }
  if (types[index] < QUIRE_TYPE_FLOAT32 || types[index] > QUIRE_TYPE_BFLOAT16) {
    return Error(Reason::kBadValue,
                 fmt::format("the wire type is {}; it is one of QUIRE_TYPE_…, "
                             "1 to 3",
                             types[index]),
                 fmt::format("options.wire_types[{}]", index));
  }
  return static_cast<ElementType>(types[index]);
}

bool IsSet(const int32_t* flags, size_t index) {
  return flags != nullptr && flags[index] != 0;
}

template <typename T>
std::optional<T> Optional(const T* value) {
  return value == nullptr ? std::nullopt : std::optional<T>(*value);
}

}  // namespace

std::optional<absl::Time> DeadlineIn(int64_t timeout_ms) {
  return timeout_ms < 0
             ? std::nullopt
             : std::optional(absl::Now() + absl::Milliseconds(timeout_ms));
}

absl::StatusOr<std::vector<LookupItem>> LookupItems(
    const quire_lookup_item* items, int64_t item_count,
    const quire_lookup_options& options) {
  QUIRE_ASSIGN_OR_RETURN(const std::span<const quire_lookup_item> given,
                         SpanOf(items, item_count, "items"));
  std::vector<LookupItem> result;
  result.reserve(given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const quire_lookup_item& item = given[i];
    const std::string field = fmt::format("items[{}].", i);
    QUIRE_RETURN_IF_ERROR(CheckThere(item.table, field + "table"));
    QUIRE_ASSIGN_OR_RETURN(const std::span<const int64_t> ids,
                           SpanOf(item.ids, item.id_count, field + "ids"));
    QUIRE_ASSIGN_OR_RETURN(const std::span<float> out,
                           SpanOf(item.out, item.out_count, field + "out"));
    QUIRE_ASSIGN_OR_RETURN(
        const std::optional<Bags> bags,
        BagsOf(item.bags, item.id_count, item.out_count, field + "bags"));
    QUIRE_ASSIGN_OR_RETURN(const ElementType wire_dtype,
                           WireType(options.wire_types, i));
    result.push_back(
        {.table = item.table,
         .uid = UidOf(item.uid),
         .ids = ids,
         .out = out,
         .bags = bags,
         .winners = {item.winners, item.winners == nullptr ? 0 : out.size()},
         .wire_dtype = wire_dtype,
         .unique_ids = IsSet(options.unique_ids, i)});
  }
  return result;
}

absl::StatusOr<std::vector<GradientItem>> GradientItems(
    const quire_gradient_item* items, int64_t item_count,
    const quire_push_options& options) {
  QUIRE_ASSIGN_OR_RETURN(const std::span<const quire_gradient_item> given,
                         SpanOf(items, item_count, "items"));
  std::vector<GradientItem> result;
  result.reserve(given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const quire_gradient_item& item = given[i];
    const std::string field = fmt::format("items[{}].", i);
    QUIRE_RETURN_IF_ERROR(CheckThere(item.table, field + "table"));
    QUIRE_ASSIGN_OR_RETURN(const std::span<const int64_t> ids,
                           SpanOf(item.ids, item.id_count, field + "ids"));
    QUIRE_ASSIGN_OR_RETURN(
        const std::span<const float> gradient,
        SpanOf(item.gradient, item.gradient_count, field + "gradient"));
    QUIRE_ASSIGN_OR_RETURN(
        const std::optional<Bags> bags,
        BagsOf(item.bags, item.id_count, item.gradient_count, field + "bags"));
    QUIRE_ASSIGN_OR_RETURN(const ElementType wire_dtype,
                           WireType(options.wire_types, i));
    result.push_back(
        {.table = item.table,
         .uid = UidOf(item.uid),
         .ids = ids,
         .gradient = gradient,
         .learning_rate = Optional(item.learning_rate),
         .bags = bags,
         .gradient_scale = Optional(item.gradient_scale),
         .return_weight_gradients = item.weight_gradients != nullptr,
         .wire_dtype = wire_dtype,
         .unique_ids = IsSet(options.unique_ids, i)});
  }
  return result;
}

absl::StatusOr<Labels> LabelsOf(const quire_labels* labels, int64_t count) {
  QUIRE_RETURN_IF_ERROR(CheckThere(labels, "labels"));
  if (labels->count != count) {
    return Error(Reason::kBadShape,
                 fmt::format("{} labels for {} rows", labels->count, count),
                 "labels");
  }
  QUIRE_ASSIGN_OR_RETURN(const std::span<const int64_t> offsets,
                         SpanOf(labels->offsets, count + 1, "labels.offsets"));
  if (!std::ranges::is_sorted(offsets) || offsets.front() != 0) {
    return Error(Reason::kBadValue, "offsets of labels must ascend from 0",
                 "labels.offsets");
  }
  QUIRE_ASSIGN_OR_RETURN(const std::span<const char> text,
                         SpanOf(labels->text, offsets.back(), "labels.text"));
  Labels result;
  result.reserve(static_cast<size_t>(count));
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const auto begin = static_cast<size_t>(offsets[i]);
    const auto end = static_cast<size_t>(offsets[i + 1]);
    result.emplace_back(text.data() + begin, end - begin);
  }
  return result;
}

absl::Status ReadJson(const char* json, std::string_view name,
                      google::protobuf::Message& message) {
  QUIRE_RETURN_IF_ERROR(CheckThere(json, name));
  const auto read = google::protobuf::util::JsonStringToMessage(json, &message);
  if (!read.ok()) {
    return Error(Reason::kMalformed,
                 fmt::format("{} is no JSON of a {}: {}", name,
                             message.GetDescriptor()->name(),
                             std::string(read.message())),
                 name);
  }
  return absl::OkStatus();
}

}  // namespace quire::c
