// Lookups, pushes, and what is near.

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/c/arguments.h"
#include "client/c/client.h"
#include "client/c/error.h"
#include "client/c/future.h"
#include "client/c/results.h"
#include "client/client.h"

namespace {

using quire::c::CheckThere;
using quire::c::DeadlineIn;
using quire::c::Ending;
using quire::c::Guard;
using quire::c::SpanOf;

// A lookup, as the client takes it.
struct LookupCall {
  std::vector<quire::LookupItem> items;
  quire::LookupOptions options;
};

absl::StatusOr<LookupCall> LookupCallOf(const quire_lookup_item* items,
                                        int64_t item_count,
                                        const quire_lookup_options* given,
                                        int64_t timeout_ms) {
  QUIRE_ASSIGN_OR_RETURN(const quire_lookup_options options,
                         quire::c::OptionsOf(given));
  QUIRE_ASSIGN_OR_RETURN(std::vector<quire::LookupItem> lookup,
                         quire::c::LookupItems(items, item_count, options));
  LookupCall call{.items = std::move(lookup),
                  .options = {.deadline = DeadlineIn(timeout_ms)}};
  if (const quire_position* const wanted = options.min_position;
      wanted != nullptr && wanted->lsn != 0) {
    call.options.min_position.emplace();
    call.options.min_position->set_epoch(wanted->epoch);
    call.options.min_position->set_lsn(wanted->lsn);
  }
  return call;
}

// A push, as the client takes it.
struct PushCall {
  std::vector<quire::GradientItem> items;
  quire::PushOptions options;
};

absl::StatusOr<PushCall> PushCallOf(const quire_gradient_item* items,
                                    int64_t item_count,
                                    const quire_push_options* given,
                                    int64_t timeout_ms) {
  QUIRE_ASSIGN_OR_RETURN(const quire_push_options options,
                         quire::c::OptionsOf(given));
  QUIRE_ASSIGN_OR_RETURN(std::vector<quire::GradientItem> push,
                         quire::c::GradientItems(items, item_count, options));
  if (!quire::v1::Durability_IsValid(options.min_durability)) {
    return quire::c::BadArgument(
        "min_durability",
        fmt::format("min_durability is {}; it is one of QUIRE_DURABILITY_…",
                    options.min_durability));
  }
  return PushCall{
      .items = std::move(push),
      .options = {.deadline = DeadlineIn(timeout_ms),
                  .min_durability = static_cast<quire::v1::Durability>(
                      options.min_durability)}};
}

quire_push_options WithDurability(int32_t min_durability) {
  quire_push_options options = {};
  options.struct_size = sizeof(options);
  options.min_durability = min_durability;
  return options;
}

absl::StatusOr<quire::v1::NearestRequest> RequestOf(
    const quire_nearest_query& query) {
  QUIRE_RETURN_IF_ERROR(CheckThere(query.table, "query.table"));
  QUIRE_ASSIGN_OR_RETURN(const auto ids,
                         SpanOf(query.ids, query.id_count, "query.ids"));
  QUIRE_ASSIGN_OR_RETURN(
      const auto excluded,
      SpanOf(query.exclude_ids, query.exclude_count, "query.exclude_ids"));
  int64_t floats = 0;
  if (query.vector_count < 0 || query.dim < 0 ||
      query.vector_count > INT32_MAX || query.dim > INT32_MAX ||
      __builtin_mul_overflow(query.vector_count, query.dim, &floats)) {
    return quire::c::BadArgument(
        "query.vectors",
        fmt::format("{} vectors of {} floats", query.vector_count, query.dim));
  }
  QUIRE_ASSIGN_OR_RETURN(const auto vectors,
                         SpanOf(query.vectors, floats, "query.vectors"));
  if (!quire::v1::NearestRequest::Metric_IsValid(query.metric)) {
    return quire::c::BadArgument(
        "query.metric",
        fmt::format("metric is {}; it is one of QUIRE_METRIC_…", query.metric));
  }
  quire::v1::NearestRequest request;
  request.mutable_table()->set_name(query.table);
  request.set_k(query.k);
  request.set_metric(
      static_cast<quire::v1::NearestRequest::Metric>(query.metric));
  request.set_return_labels(query.return_labels != 0);
  request.mutable_ids()->Add(ids.begin(), ids.end());
  request.mutable_exclude_ids()->Add(excluded.begin(), excluded.end());
  if (query.vector_count > 0) {
    quire::v1::Tensor& tensor = *request.mutable_vectors();
    tensor.mutable_shape()->add_dims(static_cast<int32_t>(query.vector_count));
    tensor.mutable_shape()->add_dims(static_cast<int32_t>(query.dim));
    tensor.mutable_values()->Add(vectors.begin(), vectors.end());
  }
  return request;
}

std::unique_ptr<quire_neighbours> NeighboursOf(
    const quire::v1::NearestResponse& response, bool with_labels) {
  auto result = std::make_unique<quire_neighbours>();
  std::vector<std::string> labels;
  for (const quire::v1::Neighbours& query : response.queries()) {
    result->ids.insert(result->ids.end(), query.ids().begin(),
                       query.ids().end());
    result->scores.insert(result->scores.end(), query.scores().begin(),
                          query.scores().end());
    labels.insert(labels.end(), query.labels().begin(), query.labels().end());
    result->offsets.push_back(std::ssize(result->ids));
  }
  if (with_labels) {
    result->labels = std::make_unique<quire::c::OwnedLabels>(labels);
  }
  return result;
}

}  // namespace

quire_error* quire_lookup(quire_client* client, const quire_lookup_item* items,
                          int64_t item_count, int64_t timeout_ms) {
  return quire_lookup_with(client, items, item_count, nullptr, timeout_ms,
                           nullptr);
}

quire_error* quire_lookup_with(quire_client* client,
                               const quire_lookup_item* items,
                               int64_t item_count,
                               const quire_lookup_options* options,
                               int64_t timeout_ms, quire_position* position) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_ASSIGN_OR_RETURN(
        LookupCall call, LookupCallOf(items, item_count, options, timeout_ms));
    std::optional<quire::v1::Position> of_rows;
    call.options.position = position == nullptr ? nullptr : &of_rows;
    QUIRE_RETURN_IF_ERROR(client->client->Lookup(call.items, call.options));
    if (position != nullptr) {
      *position = quire::c::PositionOf(of_rows);
    }
    return absl::OkStatus();
  });
}

quire_error* quire_lookup_async(quire_client* client,
                                const quire_lookup_item* items,
                                int64_t item_count, int64_t timeout_ms,
                                quire_future** future) {
  return quire_lookup_with_async(client, items, item_count, nullptr, timeout_ms,
                                 future);
}

quire_error* quire_lookup_with_async(quire_client* client,
                                     const quire_lookup_item* items,
                                     int64_t item_count,
                                     const quire_lookup_options* options,
                                     int64_t timeout_ms,
                                     quire_future** future) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(future, "future"));
    QUIRE_ASSIGN_OR_RETURN(
        LookupCall call, LookupCallOf(items, item_count, options, timeout_ms));
    const auto ending = std::make_shared<Ending>();
    // Where the lookup tells its position.
    const auto found = std::make_shared<quire::Pushed>();
    call.options.position = &found->position;
    std::unique_ptr<quire_future> made(
        new quire_future{.ending = ending, .is_push = false});
    client->client->LookupAsync(call.items, call.options,
                                [ending, found](const absl::Status& status) {
                                  if (status.ok()) {
                                    ending->Set(*found);
                                  } else {
                                    ending->Set(status);
                                  }
                                });
    *future = made.release();
    return absl::OkStatus();
  });
}

quire_error* quire_apply_gradient(quire_client* client,
                                  const quire_gradient_item* items,
                                  int64_t item_count, int32_t min_durability,
                                  int64_t timeout_ms, quire_pushed* pushed,
                                  quire_pushed_table* tables) {
  const quire_push_options options = WithDurability(min_durability);
  return quire_apply_gradient_with(client, items, item_count, &options,
                                   timeout_ms, pushed, tables);
}

quire_error* quire_apply_gradient_async(
    quire_client* client, const quire_gradient_item* items, int64_t item_count,
    int32_t min_durability, int64_t timeout_ms, quire_future** future) {
  const quire_push_options options = WithDurability(min_durability);
  return quire_apply_gradient_with_async(client, items, item_count, &options,
                                         timeout_ms, future);
}

quire_error* quire_apply_gradient_with(quire_client* client,
                                       const quire_gradient_item* items,
                                       int64_t item_count,
                                       const quire_push_options* options,
                                       int64_t timeout_ms, quire_pushed* pushed,
                                       quire_pushed_table* tables) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_ASSIGN_OR_RETURN(const PushCall call,
                           PushCallOf(items, item_count, options, timeout_ms));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::Pushed done,
        client->client->ApplyGradient(call.items, call.options));
    QUIRE_RETURN_IF_ERROR(quire::c::CopyWeightGradients(
        done, quire::c::TargetsOf({items, call.items.size()})));
    quire::c::CopyPushed(done, pushed, tables);
    return absl::OkStatus();
  });
}

quire_error* quire_apply_gradient_with_async(quire_client* client,
                                             const quire_gradient_item* items,
                                             int64_t item_count,
                                             const quire_push_options* options,
                                             int64_t timeout_ms,
                                             quire_future** future) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(future, "future"));
    QUIRE_ASSIGN_OR_RETURN(const PushCall call,
                           PushCallOf(items, item_count, options, timeout_ms));
    const auto ending = std::make_shared<Ending>();
    std::unique_ptr<quire_future> made(
        new quire_future{.ending = ending, .is_push = true});
    client->client->ApplyGradientAsync(
        call.items, call.options,
        [ending, targets = quire::c::TargetsOf({items, call.items.size()})](
            const absl::StatusOr<quire::Pushed>& done) {
          absl::Status status = done.status();
          if (status.ok()) {
            status = quire::c::CopyWeightGradients(*done, targets);
          }
          if (status.ok()) {
            ending->Set(*done);
          } else {
            ending->Set(status);
          }
        });
    *future = made.release();
    return absl::OkStatus();
  });
}

quire_error* quire_nearest(quire_client* client,
                           const quire_nearest_query* query, int64_t timeout_ms,
                           quire_neighbours** neighbours) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(client, "client"));
    QUIRE_RETURN_IF_ERROR(CheckThere(query, "query"));
    QUIRE_RETURN_IF_ERROR(CheckThere(neighbours, "neighbours"));
    QUIRE_ASSIGN_OR_RETURN(const quire::v1::NearestRequest request,
                           RequestOf(*query));
    QUIRE_ASSIGN_OR_RETURN(
        const quire::v1::NearestResponse response,
        client->client->Nearest(request, {DeadlineIn(timeout_ms)}));
    *neighbours = NeighboursOf(response, request.return_labels()).release();
    return absl::OkStatus();
  });
}
