#include "client/c/results.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/status.h"

namespace quire::c {
namespace {

// The second dim of a tensor of `count` rows.
absl::StatusOr<int64_t> DimOf(const v1::Tensor& tensor, int64_t count) {
  const v1::Shape& shape = tensor.shape();
  if (shape.dims_size() != 2 || shape.dims(0) != count ||
      count * shape.dims(1) != tensor.values_size()) {
    return Error(
        Reason::kBug,
        fmt::format("the server sent {} floats for {} rows, of another "
                    "shape",
                    tensor.values_size(), count));
  }
  return shape.dims(1);
}

}  // namespace

absl::StatusOr<char*> WriteJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto written =
      google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!written.ok()) {
    return Error(Reason::kBug, fmt::format("a {} cannot be written as JSON: {}",
                                           message.GetDescriptor()->name(),
                                           std::string(written.message())));
  }
  auto text = std::make_unique<char[]>(json.size() + 1);
  std::memcpy(text.get(), json.c_str(), json.size() + 1);
  return text.release();
}

quire_position PositionOf(const std::optional<v1::Position>& position) {
  return position ? quire_position{.epoch = position->epoch(),
                                   .lsn = position->lsn()}
                  : quire_position{};
}

PushTargets TargetsOf(std::span<const quire_gradient_item> items) {
  PushTargets targets;
  for (const quire_gradient_item& item : items) {
    targets.id_counts.push_back(item.id_count);
    targets.weight_gradients.push_back(item.weight_gradients);
  }
  return targets;
}

absl::Status CopyWeightGradients(const Pushed& pushed,
                                 const PushTargets& targets) {
  for (size_t i = 0; i < targets.weight_gradients.size(); ++i) {
    const std::vector<float>& found = pushed.tables[i].weight_gradients;
    if (targets.weight_gradients[i] == nullptr || pushed.duplicate) {
      continue;
    }
    if (std::ssize(found) != targets.id_counts[i]) {
      return Error(Reason::kBug,
                   fmt::format("the push was applied, but the server answered "
                               "with {} weight gradients for {} ids",
                               found.size(), targets.id_counts[i]));
    }
    std::ranges::copy(found, targets.weight_gradients[i]);
  }
  return absl::OkStatus();
}

void CopyPushed(const Pushed& from, quire_pushed* pushed,
                quire_pushed_table* tables) {
  if (pushed != nullptr) {
    *pushed = {.position = PositionOf(from.position),
               .reached = from.reached,
               .duplicate = from.duplicate,
               .exactly_once = from.exactly_once};
  }
  for (size_t i = 0; tables != nullptr && i < from.tables.size(); ++i) {
    const PushedTable& table = from.tables[i];
    tables[i] = {.uid = {},
                 .rows_changed = table.rows_changed,
                 .padding_dropped = table.padding_dropped,
                 .rows_skipped = table.rows_skipped,
                 .step = table.step};
    std::ranges::copy(table.uid.bytes, tables[i].uid);
  }
}

absl::StatusOr<quire_rows*> RowsOf(v1::ExportTableResponse::Chunk chunk) {
  const int64_t count = chunk.values().shape().dims_size() == 0
                            ? 0
                            : chunk.values().shape().dims(0);
  QUIRE_ASSIGN_OR_RETURN(const int64_t dim, DimOf(chunk.values(), count));
  int64_t state_dim = 0;
  if (chunk.has_state()) {
    QUIRE_ASSIGN_OR_RETURN(state_dim, DimOf(chunk.state(), count));
  }
  std::unique_ptr<OwnedLabels> labels;
  if (chunk.labels_size() > 0) {
    if (chunk.labels_size() != count) {
      return Error(Reason::kBug,
                   fmt::format("the server sent {} labels for {} rows",
                               chunk.labels_size(), count));
    }
    labels = std::make_unique<OwnedLabels>(chunk.labels());
    chunk.clear_labels();
  }
  return new quire_rows{.chunk = std::move(chunk),
                        .count = count,
                        .dim = dim,
                        .state_dim = state_dim,
                        .labels = std::move(labels)};
}

absl::StatusOr<quire_rows*> RowsOf(v1::ReadRowsResponse response) {
  v1::ExportTableResponse::Chunk chunk;
  chunk.mutable_values()->Swap(response.mutable_values());
  if (response.has_state()) {
    chunk.mutable_state()->Swap(response.mutable_state());
  }
  return RowsOf(std::move(chunk));
}

}  // namespace quire::c

using quire::c::OwnedLabels;

void quire_text_free(char* text) { delete[] text; }

void quire_labels_free(quire_labels* labels) {
  delete reinterpret_cast<OwnedLabels*>(labels);
}

int64_t quire_rows_count(const quire_rows* rows) { return rows->count; }

int64_t quire_rows_dim(const quire_rows* rows) { return rows->dim; }

int64_t quire_rows_first_id(const quire_rows* rows) {
  return rows->chunk.first_id();
}

const float* quire_rows_values(const quire_rows* rows) {
  return rows->chunk.values().values().data();
}

int64_t quire_rows_state_dim(const quire_rows* rows) { return rows->state_dim; }

const float* quire_rows_state(const quire_rows* rows) {
  return rows->chunk.state().values().data();
}

const quire_labels* quire_rows_labels(const quire_rows* rows) {
  return rows->labels == nullptr ? nullptr : rows->labels->view();
}

void quire_rows_free(quire_rows* rows) { delete rows; }

int64_t quire_neighbours_query_count(const quire_neighbours* result) {
  return std::ssize(result->offsets) - 1;
}

const int64_t* quire_neighbours_offsets(const quire_neighbours* result) {
  return result->offsets.data();
}

const int64_t* quire_neighbours_ids(const quire_neighbours* result) {
  return result->ids.data();
}

const float* quire_neighbours_scores(const quire_neighbours* result) {
  return result->scores.data();
}

const quire_labels* quire_neighbours_labels(const quire_neighbours* result) {
  return result->labels == nullptr ? nullptr : result->labels->view();
}

void quire_neighbours_free(quire_neighbours* result) { delete result; }
