#include "wire/checks.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "base/status.h"
#include "quire/v1/table.pb.h"
#include "wire/bag_checks.h"

namespace quire::wire {
namespace {

constexpr size_t kUidBytes = sizeof(TableUid::bytes);

absl::Status CheckUid(const ByteRange& bytes, std::string_view field,
                      TableUid& uid) {
  if (bytes.size() != kUidBytes) {
    return Error(Reason::kBadValue,
                 fmt::format("a table's uid has {} bytes, but this one has {}",
                             kUidBytes, bytes.size()),
                 field);
  }
  bytes.CopyTo(reinterpret_cast<std::byte*>(uid.bytes.data()));
  return absl::OkStatus();
}

// The uid of a request, which may leave it out.
absl::Status CheckUid(const ByteRange& bytes, std::string_view field,
                      std::optional<TableUid>& uid) {
  return bytes.empty() ? absl::OkStatus()
                       : CheckUid(bytes, field, uid.emplace());
}

// The shape of a payload of `count` elements, which are called `elements`.
absl::Status CheckShape(const ShapeDraft& draft, int rank_max, size_t count,
                        std::string_view elements, std::string_view field,
                        Shape& shape) {
  if (!draft.present) {
    shape = {static_cast<int64_t>(count)};
    return absl::OkStatus();
  }
  absl::StatusOr<Shape> legal = Shape::Make(draft.dims, rank_max);
  if (!legal.ok()) {
    return WithFieldPrefix(legal.status(), field);
  }
  if (static_cast<size_t>(legal->element_count()) != count) {
    return Error(
        Reason::kBadShape,
        fmt::format("a shape of {} has {} {}, but {} came", legal->ToString(),
                    legal->element_count(), elements, count),
        field);
  }
  shape = *legal;
  return absl::OkStatus();
}

size_t IdCount(const TableDraft& draft) {
  return draft.ids.size() / sizeof(int64_t);
}

absl::Status CheckIds(const TableDraft& draft, Shape& shape) {
  return CheckShape(draft.ids_shape, kRankMax, IdCount(draft), "ids",
                    "ids.shape", shape);
}

// FLOAT32 if nothing is said.
absl::Status CheckElementType(int number, std::string_view field,
                              ElementType& type) {
  if (!v1::ElementType_IsValid(number)) {
    return Error(Reason::kNotBuilt,
                 fmt::format("this version has no element type {}; it has "
                             "ELEMENT_TYPE_FLOAT32, ELEMENT_TYPE_FLOAT16 and "
                             "ELEMENT_TYPE_BFLOAT16",
                             number),
                 field);
  }
  type = number == v1::ELEMENT_TYPE_UNSPECIFIED
             ? ElementType::kFloat32
             : static_cast<ElementType>(number);
  return absl::OkStatus();
}

// A tensor, checked.
struct Numbers {
  ElementType type = ElementType::kFloat32;
  Shape shape;
  ByteRange elements;
};

// Fields of errors are those of the tensor: "dtype".
absl::Status CheckTensor(const TableDraft& draft, Numbers& numbers) {
  QUIRE_RETURN_IF_ERROR(
      CheckElementType(draft.element_type, "dtype", numbers.type));
  if (!draft.values.empty() && !draft.packed.empty()) {
    return Error(Reason::kBadValue,
                 "a tensor has both values and packed; set one of them",
                 "packed");
  }
  const bool is_half = IsHalf(numbers.type);
  if (const ByteRange& wrong = is_half ? draft.values : draft.packed;
      !wrong.empty()) {
    return Error(Reason::kBadValue,
                 fmt::format("elements of ELEMENT_TYPE_{} go into {}, not {}",
                             ElementTypeName(numbers.type),
                             is_half ? "packed" : "values",
                             is_half ? "values" : "packed"),
                 is_half ? "values" : "packed");
  }
  numbers.elements = is_half ? draft.packed : draft.values;
  const size_t bytes = numbers.elements.size();
  if (bytes % ElementBytes(numbers.type) != 0) {
    return Error(Reason::kBadShape,
                 fmt::format("packed has {} bytes; an element of "
                             "ELEMENT_TYPE_{} takes {}",
                             bytes, ElementTypeName(numbers.type),
                             ElementBytes(numbers.type)),
                 "packed");
  }
  return CheckShape(draft.values_shape, kRankMax + 1,
                    bytes / ElementBytes(numbers.type), "floats", "shape",
                    numbers.shape);
}

absl::Status CheckLearningRate(const std::optional<double>& learning_rate) {
  constexpr std::string_view kField = "learning_rate";
  if (learning_rate && !std::isfinite(*learning_rate)) {
    return Error(Reason::kNonFinite,
                 fmt::format("a learning rate is finite, but this one is {}",
                             *learning_rate),
                 kField);
  }
  if (learning_rate && *learning_rate < 0) {
    return Error(Reason::kBadValue,
                 fmt::format("a learning rate is 0 or more, but this one is {}",
                             *learning_rate),
                 kField);
  }
  return absl::OkStatus();
}

absl::Status CheckGradientScale(const std::optional<double>& scale) {
  if (scale && !std::isfinite(*scale)) {
    return Error(Reason::kNonFinite,
                 fmt::format("a gradient_scale is finite, but this one is {}; "
                             "leave it out for 1",
                             *scale),
                 "gradient_scale");
  }
  return absl::OkStatus();
}

// Each moves what it can out of the draft, and adds to `bag_count`, which is
// that of the whole request.

absl::Status CheckTable(TableDraft& draft, TableLookup& table,
                        int64_t& bag_count) {
  QUIRE_RETURN_IF_ERROR(CheckUid(draft.uid, "table.uid", table.table_uid));
  QUIRE_RETURN_IF_ERROR(
      CheckElementType(draft.element_type, "output_dtype", table.output_dtype));
  QUIRE_RETURN_IF_ERROR(CheckIds(draft, table.ids_shape));
  if (draft.bags) {
    QUIRE_RETURN_IF_ERROR(CheckLookupBags(*draft.bags));
    QUIRE_RETURN_IF_ERROR(ResolveBags(*draft.bags, table.ids_shape, bag_count,
                                      table.bags.emplace()));
  }
  table.table_name = std::move(draft.name);
  table.ids = draft.ids;
  return absl::OkStatus();
}

absl::Status CheckTable(TableDraft& draft, TableGradient& table,
                        int64_t& bag_count) {
  QUIRE_RETURN_IF_ERROR(CheckUid(draft.uid, "table.uid", table.table_uid));
  QUIRE_RETURN_IF_ERROR(CheckLearningRate(draft.learning_rate));
  QUIRE_RETURN_IF_ERROR(CheckIds(draft, table.ids_shape));
  Numbers gradient;
  QUIRE_RETURN_IF_ERROR(
      WithFieldPrefix(CheckTensor(draft, gradient), "gradient."));
  QUIRE_RETURN_IF_ERROR(CheckGradientScale(draft.gradient_scale));
  QUIRE_RETURN_IF_ERROR(CheckWeightGradients(draft));
  if (draft.bags) {
    QUIRE_RETURN_IF_ERROR(
        CheckGradientBags(*draft.bags, gradient.shape.element_count()));
    QUIRE_RETURN_IF_ERROR(ResolveBags(*draft.bags, table.ids_shape, bag_count,
                                      table.bags.emplace()));
  }
  table.gradient_scale = draft.gradient_scale;
  table.return_weight_gradients = draft.return_weight_gradients;
  table.duplicates_summed = draft.duplicates_summed;
  table.table_name = std::move(draft.name);
  table.learning_rate = draft.learning_rate;
  table.ids = draft.ids;
  table.gradient_dtype = gradient.type;
  table.gradient_shape = gradient.shape;
  table.gradient = gradient.elements;
  return absl::OkStatus();
}

absl::Status CheckTable(TableDraft& draft, TableRows& table,
                        int64_t& /*bag_count*/) {
  QUIRE_RETURN_IF_ERROR(CheckUid(draft.uid, "table_uid", table.table_uid));
  Numbers rows;
  QUIRE_RETURN_IF_ERROR(
      WithFieldPrefix(CheckTensor(draft, rows), "embeddings."));
  const size_t winner_count = draft.winners.size() / sizeof(int32_t);
  const auto element_count = static_cast<size_t>(rows.shape.element_count());
  if (winner_count != 0 && winner_count != element_count) {
    return Error(Reason::kBadShape,
                 fmt::format("{} winners came with {} floats; there is one for "
                             "each",
                             winner_count, element_count),
                 "winners");
  }
  table.dtype = rows.type;
  table.shape = rows.shape;
  table.winners = draft.winners;
  table.values = rows.elements;
  return absl::OkStatus();
}

template <typename Table>
absl::Status CheckTables(Draft& draft, std::vector<Table>& tables,
                         int64_t& bag_count) {
  tables.reserve(draft.tables.size());
  for (TableDraft& table : draft.tables) {
    absl::Status checked = CheckTable(table, tables.emplace_back(), bag_count);
    if (!checked.ok()) {
      return WithFieldPrefix(std::move(checked),
                             fmt::format("tables[{}].", tables.size() - 1));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckIdCount(const Draft& draft, int64_t& id_count) {
  for (const TableDraft& table : draft.tables) {
    id_count += static_cast<int64_t>(IdCount(table));
  }
  if (id_count > kIdsPerRequestMax) {
    return Error(Reason::kTooLarge,
                 fmt::format("{} ids in one request; at most {} are allowed, "
                             "send several requests",
                             id_count, kIdsPerRequestMax),
                 "tables");
  }
  return absl::OkStatus();
}

absl::Status CheckPushId(const PushIdDraft& draft, PushName& name) {
  if (draft.session.size() != name.session.bytes.size()) {
    return Error(Reason::kBadValue,
                 fmt::format("a session's id has {} bytes, but this one has {}",
                             name.session.bytes.size(), draft.session.size()),
                 "push_id.session_id");
  }
  draft.session.CopyTo(reinterpret_cast<std::byte*>(name.session.bytes.data()));
  if (draft.sequence == 0) {
    return Error(Reason::kBadValue, "pushes of a session count from 1",
                 "push_id.sequence");
  }
  name.sequence = draft.sequence;
  return absl::OkStatus();
}

absl::Status CheckMinPosition(const std::optional<Position>& position) {
  if (position && position->epoch == 0) {
    return Error(Reason::kBadValue,
                 "a position has the epoch that it was given with, which is 1 "
                 "or more",
                 "min_position.epoch");
  }
  return absl::OkStatus();
}

absl::Status CheckMaxResponseBytes(const std::optional<int64_t>& bytes) {
  if (bytes && *bytes <= 0) {
    return Error(Reason::kBadValue,
                 fmt::format("max_response_bytes is more than 0 or absent, but "
                             "here it is {}",
                             *bytes),
                 "max_response_bytes");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LookupRequest> CheckLookupRequest(Draft draft) {
  LookupRequest request;
  QUIRE_RETURN_IF_ERROR(CheckMinPosition(draft.position));
  QUIRE_RETURN_IF_ERROR(CheckMaxResponseBytes(draft.max_response_bytes));
  QUIRE_RETURN_IF_ERROR(CheckIdCount(draft, request.id_count));
  QUIRE_RETURN_IF_ERROR(CheckTables(draft, request.tables, request.bag_count));
  request.max_response_bytes = draft.max_response_bytes;
  request.min_position = draft.position;
  request.storage = std::move(draft.storage);
  return request;
}

absl::StatusOr<ApplyGradientRequest> CheckApplyGradientRequest(Draft draft) {
  ApplyGradientRequest request;
  if (draft.push_id) {
    QUIRE_RETURN_IF_ERROR(CheckPushId(*draft.push_id, request.name.emplace()));
  }
  QUIRE_RETURN_IF_ERROR(CheckIdCount(draft, request.id_count));
  QUIRE_RETURN_IF_ERROR(CheckTables(draft, request.tables, request.bag_count));
  request.min_durability = draft.min_durability;
  request.storage = std::move(draft.storage);
  return request;
}

absl::StatusOr<LookupResponse> CheckLookupResponse(Draft draft) {
  LookupResponse response;
  int64_t bag_count = 0;
  QUIRE_RETURN_IF_ERROR(CheckTables(draft, response.tables, bag_count));
  response.position = draft.position;
  response.storage = std::move(draft.storage);
  return response;
}

}  // namespace quire::wire
