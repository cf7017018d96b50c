// EmbeddingService.Nearest: queries checked and gathered, neighbours labelled.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "engine/nearest.h"
#include "quire/v1/embedding.pb.h"
#include "server/embedding_service.h"
#include "server/requests.h"

namespace quire {
namespace {

// Neighbours in one reply, over all queries.
constexpr int64_t kNeighboursMax = int64_t{1} << 20;

absl::StatusOr<Metric> MetricOf(v1::NearestRequest::Metric metric) {
  switch (metric) {
    case v1::NearestRequest::METRIC_UNSPECIFIED:
    case v1::NearestRequest::METRIC_COSINE:
      return Metric::kCosine;
    case v1::NearestRequest::METRIC_DOT:
      return Metric::kDot;
    case v1::NearestRequest::METRIC_L2:
      return Metric::kL2;
    default:
      return Error(Reason::kBadValue,
                   fmt::format("metric is {}, which this version does not know",
                               static_cast<int>(metric)),
                   "metric");
  }
}

absl::Status CheckCounts(const v1::NearestRequest& request, int64_t queries) {
  if (request.k() < 1 || request.k() > kNearestCountMax) {
    return Error(Reason::kBadValue,
                 fmt::format("k is {}; it must be in [1, {}]", request.k(),
                             kNearestCountMax),
                 "k");
  }
  if (queries > kNearestQueriesMax) {
    return Error(Reason::kTooLarge,
                 fmt::format("{} queries; at most {} are allowed. Send them in "
                             "parts",
                             queries, kNearestQueriesMax),
                 "ids");
  }
  if (queries * request.k() > kNeighboursMax) {
    return Error(Reason::kTooLarge,
                 fmt::format("{} queries of {} neighbours; at most {} "
                             "neighbours in all are allowed. Send them in "
                             "parts",
                             queries, request.k(), kNeighboursMax),
                 "k");
  }
  return absl::OkStatus();
}

// A NearestQuery and what it views.
struct Queries {
  std::vector<float> vectors;
  std::vector<int64_t> own_ids;
  std::vector<int64_t> excluded_ids;
};

// A table calls its ids "ids.ids"; here they are no batch.
absl::Status CheckQueryIds(std::span<const int64_t> ids,
                           const LiveTable& table) {
  const absl::Status status = table.CheckIds(ids);
  if (status.ok()) {
    return status;
  }
  const std::string field = FieldOf(status);
  return Error(*ReasonOf(status), std::string(status.message()),
               field.substr(field.find('.') + 1));
}

// Nothing is near what is no number.
absl::Status CheckFinite(std::span<const float> vectors, int64_t dim) {
  const auto bad = std::ranges::find_if_not(
      vectors, [](float value) { return std::isfinite(value); });
  if (bad == vectors.end()) {
    return absl::OkStatus();
  }
  const int64_t at = bad - vectors.begin();
  return Error(Reason::kNonFinite,
               fmt::format("vector {}, element {} is {}; queries are finite",
                           at / dim, at % dim, *bad),
               "vectors");
}

absl::StatusOr<Queries> QueriesOf(const v1::NearestRequest& request,
                                  LiveTable& table) {
  const int64_t dim = table.dim();
  const std::span<const int64_t> ids(request.ids().data(),
                                     static_cast<size_t>(request.ids_size()));
  QUIRE_RETURN_IF_ERROR(CheckQueryIds(ids, table));
  // Rounded up: where floats are missing, the sentence asks for all of them.
  const int64_t vector_count =
      (request.vectors().values_size() + dim - 1) / dim;
  QUIRE_ASSIGN_OR_RETURN(
      const std::span<const float> vectors,
      Matrix(request.vectors(), vector_count, dim, "vectors"));
  QUIRE_RETURN_IF_ERROR(CheckFinite(vectors, dim));

  Queries queries;
  queries.vectors.resize(ids.size() * static_cast<size_t>(dim));
  table.rows().Gather(ids,
                      reinterpret_cast<std::byte*>(queries.vectors.data()));
  queries.vectors.insert(queries.vectors.end(), vectors.begin(), vectors.end());
  queries.own_ids.assign(ids.begin(), ids.end());
  queries.own_ids.resize(ids.size() + static_cast<size_t>(vector_count), -1);
  queries.excluded_ids.assign(request.exclude_ids().begin(),
                              request.exclude_ids().end());
  std::ranges::sort(queries.excluded_ids);
  return queries;
}

void AddNeighbours(const std::vector<Neighbour>& found, const RowLabels* labels,
                   v1::Neighbours& neighbours) {
  for (const Neighbour& neighbour : found) {
    neighbours.add_ids(neighbour.id);
    neighbours.add_scores(neighbour.score);
  }
  if (labels != nullptr) {
    const std::span<const int64_t> ids(
        neighbours.ids().data(), static_cast<size_t>(neighbours.ids_size()));
    for (std::string& label : labels->Get(ids)) {
      neighbours.add_labels(std::move(label));
    }
  }
}

}  // namespace

absl::StatusOr<Reply> EmbeddingService::Nearest(
    const ReceivedMessage& message, const std::function<bool()>& cancelled) {
  v1::NearestRequest request;
  QUIRE_RETURN_IF_ERROR(ParseInto(message, request));
  QUIRE_ASSIGN_OR_RETURN(const TableHandle table,
                         FindTable(engine_, request.table()));
  QUIRE_ASSIGN_OR_RETURN(const Metric metric, MetricOf(request.metric()));
  QUIRE_RETURN_IF_ERROR(CheckCounts(
      request,
      request.ids_size() + request.vectors().values_size() / table->dim()));
  QUIRE_ASSIGN_OR_RETURN(const Queries queries, QueriesOf(request, *table));

  QUIRE_ASSIGN_OR_RETURN(
      const auto found,
      quire::Nearest(*table,
                     {.metric = metric,
                      .k = request.k(),
                      .vectors = queries.vectors,
                      .own_ids = queries.own_ids,
                      .excluded_ids = queries.excluded_ids},
                     engine_.kernels(), engine_.workers(), cancelled));
  v1::NearestResponse response;
  for (const std::vector<Neighbour>& neighbours : found) {
    AddNeighbours(neighbours,
                  request.return_labels() ? &table->labels() : nullptr,
                  *response.add_queries());
  }
  return Reply{.message = Serialize(response)};
}

}  // namespace quire
