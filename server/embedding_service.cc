#include "server/embedding_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "quire/v1/embedding.pb.h"
#include "server/errors.h"
#include "server/request_arrays.h"
#include "server/requests.h"
#include "wire/encode.h"

namespace quire {
namespace {

constexpr int64_t kBusyRetryMs = 20;

// What a push takes beside its message, for each id: its place in the index of
// duplicates, its scale, its row's addresses, the gradient of its weight.
constexpr int64_t kPushBytesPerId = 88;

// Where a bag starts, for each bag.
constexpr int64_t kBytesPerBag = sizeof(int64_t);

std::string TableField(size_t index) {
  return fmt::format("tables[{}].", index);
}

absl::Status CheckReplyBytes(int64_t bytes, std::optional<int64_t> asked) {
  const int64_t limit =
      std::min(asked.value_or(kLookupReplyBytesDefault), kLookupReplyBytesMax);
  if (bytes <= limit) {
    return absl::OkStatus();
  }
  if (bytes > kLookupReplyBytesMax) {
    return Error(
        Reason::kReplyTooLarge,
        fmt::format("the reply would be {} bytes, over the server's limit of "
                    "{}; ask for fewer ids in one request",
                    bytes, kLookupReplyBytesMax),
        "max_response_bytes");
  }
  return Error(
      Reason::kReplyTooLarge,
      fmt::format("the reply would be {0} bytes, over max_response_bytes {1}{2}"
                  "; set max_response_bytes to {0} or more in the request and "
                  "raise your channel's own limit "
                  "(grpc.max_receive_message_length) to match, or ask for "
                  "fewer ids",
                  bytes, limit, asked ? "" : " (the default)"),
      "max_response_bytes");
}

// Of what a table answers: ids.shape + [dim], or [bags, dim]. It is also that
// of its gradient. The field of the error is the ids'.
template <typename TableRequest>
absl::StatusOr<Shape> RowsShape(const TableRequest& request,
                                const LiveTable& table) {
  if (request.bags) {
    return Shape{request.bags->bag_count(), table.dim()};
  }
  absl::StatusOr<Shape> shape = request.ids_shape.Append(table.dim());
  return shape.ok() ? shape
                    : WithFieldPrefix(std::move(shape).status(), "ids.shape");
}

absl::Status CheckDurability(int wanted) {
  if (wanted == v1::DURABILITY_UNSPECIFIED || wanted == v1::DURABILITY_MEMORY) {
    return absl::OkStatus();
  }
  if (!v1::Durability_IsValid(wanted)) {
    return Error(Reason::kBadValue,
                 fmt::format("min_durability is {}, which this version does "
                             "not know",
                             wanted),
                 "min_durability");
  }
  return Error(
      Reason::kUnsupportedDurability,
      fmt::format("min_durability is {}; the tables of this server are MEMORY "
                  "tables, which reach DURABILITY_MEMORY",
                  v1::Durability_Name(static_cast<v1::Durability>(wanted))),
      "min_durability");
}

absl::Status CheckGradientShape(const wire::TableGradient& gradient,
                                const LiveTable& table) {
  QUIRE_ASSIGN_OR_RETURN(const Shape needed, RowsShape(gradient, table));
  if (gradient.gradient_shape == needed) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kBadShape,
      fmt::format(
          "table '{}': a gradient of shape {} for {}; it must be {}",
          table.name(), gradient.gradient_shape.ToString(),
          gradient.bags
              ? fmt::format("{} bags", gradient.bags->bag_count())
              : fmt::format("ids of shape {}", gradient.ids_shape.ToString()),
          needed.ToString()),
      "gradient.shape");
}

// What a push takes besides its message: the arrays of its tables, and room to
// sum the gradients of all ids.
int64_t PushBytes(const wire::TableGradient& gradient, const LiveTable& table) {
  const int64_t rows =
      std::min(gradient.id_count(), table.created_spec().num_embeddings());
  return RequestArrays::BytesOf(gradient.ids, gradient.bags) +
         gradient.id_count() * kPushBytesPerId +
         rows * table.dim() * static_cast<int64_t>(sizeof(float));
}

template <typename Response>
Reply RefusalOnStream(std::optional<uint64_t> request_id,
                      const absl::Status& status) {
  Response response;
  response.set_request_id(request_id.value_or(0));
  *response.mutable_error() = ToRpcStatus(status);
  return Reply{.message = Serialize(response), .is_refusal = true};
}

}  // namespace

absl::Status EmbeddingService::Charge(int64_t bytes,
                                      MemoryBudget::Charge& charge) const {
  if (inflight_.TryCharge(bytes, charge)) {
    return absl::OkStatus();
  }
  if (bytes > inflight_.bytes_max()) {
    return Error(
        Reason::kTooLarge,
        fmt::format("the request needs {} bytes; all requests of this server "
                    "together may take {} (--inflight-limit)",
                    bytes, inflight_.bytes_max()));
  }
  return WithRetryAfterMs(
      Error(Reason::kBusy,
            fmt::format("the request needs {} bytes; of {} for requests in "
                        "flight {} are in use. Try again",
                        bytes, inflight_.bytes_max(), inflight_.bytes_used())),
      kBusyRetryMs);
}

// --- Lookup ---

absl::StatusOr<Reply> EmbeddingService::Lookup(const ReceivedMessage& message) {
  QUIRE_ASSIGN_OR_RETURN(const wire::LookupRequest request,
                         wire::LookupRequest::Parse(message.pieces()));
  return Lookup(request, std::nullopt);
}

Reply EmbeddingService::LookupOnStream(const ReceivedMessage& message) {
  const auto parsed = wire::LookupStreamRequest::Parse(message.pieces());
  absl::Status refused = parsed.request.status();
  if (refused.ok()) {
    absl::StatusOr<Reply> reply =
        Lookup(*parsed.request, parsed.request_id.value_or(0));
    if (reply.ok()) {
      return *std::move(reply);
    }
    refused = reply.status();
  }
  return RefusalOnStream<v1::LookupStreamResponse>(parsed.request_id, refused);
}

absl::StatusOr<Reply> EmbeddingService::Lookup(
    const wire::LookupRequest& request, std::optional<uint64_t> request_id) {
  std::vector<TableHandle> tables;
  std::vector<wire::RowsEntry> entries;
  tables.reserve(request.tables.size());
  entries.reserve(request.tables.size());
  int64_t array_bytes = 0;
  for (size_t i = 0; i < request.tables.size(); ++i) {
    const wire::TableLookup& wanted = request.tables[i];
    absl::StatusOr<TableHandle> table =
        engine_.Find(wanted.table_name, wanted.table_uid);
    if (!table.ok()) {
      return WithFieldPrefix(std::move(table).status(), TableField(i));
    }
    absl::StatusOr<Shape> shape = RowsShape(wanted, **table);
    if (!shape.ok()) {
      return WithFieldPrefix(std::move(shape).status(), TableField(i));
    }
    entries.push_back(
        {.table_uid = (*table)->uid(),
         .shape = *shape,
         .has_winners = wanted.bags && wanted.bags->return_winners});
    tables.push_back(*std::move(table));
    array_bytes += RequestArrays::BytesOf(wanted.ids, wanted.bags);
  }

  const int64_t reply_bytes = wire::LookupResponseBytes(entries, request_id);
  QUIRE_RETURN_IF_ERROR(
      CheckReplyBytes(reply_bytes, request.max_response_bytes));
  Reply reply;
  QUIRE_RETURN_IF_ERROR(
      Charge(reply_bytes + array_bytes + request.bag_count * kBytesPerBag,
             reply.charge));

  RequestArrays arrays(array_bytes);
  std::vector<std::span<const int64_t>> ids;
  ids.reserve(tables.size());
  for (size_t i = 0; i < tables.size(); ++i) {
    ids.push_back(arrays.Ids(request.tables[i].ids));
    QUIRE_RETURN_IF_ERROR(
        WithFieldPrefix(tables[i]->CheckIds(ids[i]), TableField(i)));
  }

  const wire::MessageLayout layout =
      wire::LayOutLookupResponse(entries, request_id);
  MessageBuffer buffer(layout.size(), layout.alignment_shift());
  layout.WriteHeaders(buffer.data());
  for (size_t i = 0; i < tables.size(); ++i) {
    std::byte* const rows = buffer.data() + layout.payload_offset(2 * i + 1);
    if (const auto bags = arrays.BagsOf(request.tables[i].bags)) {
      tables[i]->LookupBags(ids[i], *bags, rows,
                            entries[i].has_winners
                                ? buffer.data() + layout.payload_offset(2 * i)
                                : nullptr);
    } else {
      tables[i]->Lookup(ids[i], rows);
    }
  }
  reply.message = buffer.Release();
  return reply;
}

// --- ApplyGradient ---

absl::Status EmbeddingService::CheckPushBytes(
    const ReceivedMessage& message) const {
  if (message.size() <= push_bytes_max_) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kTooLarge,
      fmt::format(
          "a push of {} bytes; this server takes {} (--push-limit). Sum "
          "the gradients of ids that occur more than once, or push "
          "fewer rows in one step",
          message.size(), push_bytes_max_));
}

absl::StatusOr<Reply> EmbeddingService::ApplyGradient(
    const ReceivedMessage& message) {
  QUIRE_RETURN_IF_ERROR(CheckPushBytes(message));
  QUIRE_ASSIGN_OR_RETURN(const wire::ApplyGradientRequest request,
                         wire::ApplyGradientRequest::Parse(message.pieces()));
  QUIRE_ASSIGN_OR_RETURN(const v1::ApplyGradientResponse response,
                         ApplyGradient(request));
  return Reply{.message = Serialize(response)};
}

Reply EmbeddingService::ApplyGradientOnStream(const ReceivedMessage& message) {
  const auto parsed = wire::ApplyGradientStreamRequest::Parse(message.pieces());
  absl::Status refused = CheckPushBytes(message);
  refused.Update(parsed.request.status());
  if (refused.ok()) {
    absl::StatusOr<v1::ApplyGradientResponse> response =
        ApplyGradient(*parsed.request);
    if (response.ok()) {
      v1::ApplyGradientStreamResponse answer;
      answer.set_request_id(parsed.request_id.value_or(0));
      *answer.mutable_response() = *std::move(response);
      return Reply{.message = Serialize(answer)};
    }
    refused = response.status();
  }
  return RefusalOnStream<v1::ApplyGradientStreamResponse>(parsed.request_id,
                                                          refused);
}

absl::StatusOr<v1::ApplyGradientResponse> EmbeddingService::ApplyGradient(
    const wire::ApplyGradientRequest& request) {
  QUIRE_RETURN_IF_ERROR(CheckDurability(request.min_durability));
  std::vector<TableHandle> tables;
  tables.reserve(request.tables.size());
  int64_t bytes = request.bag_count * kBytesPerBag;
  int64_t array_bytes = 0;
  for (size_t i = 0; i < request.tables.size(); ++i) {
    const wire::TableGradient& gradient = request.tables[i];
    absl::StatusOr<TableHandle> table =
        engine_.Find(gradient.table_name, gradient.table_uid);
    absl::Status status = table.status();
    if (status.ok()) {
      status = CheckGradientShape(gradient, **table);
    }
    if (!status.ok()) {
      return WithFieldPrefix(std::move(status), TableField(i));
    }
    array_bytes += RequestArrays::BytesOf(gradient.ids, gradient.bags);
    bytes += PushBytes(gradient, **table);
    tables.push_back(*std::move(table));
  }
  MemoryBudget::Charge charge;
  QUIRE_RETURN_IF_ERROR(Charge(bytes, charge));

  RequestArrays arrays(array_bytes);
  std::vector<PushPart> parts;
  parts.reserve(tables.size());
  for (size_t i = 0; i < tables.size(); ++i) {
    const wire::TableGradient& gradient = request.tables[i];
    parts.push_back(
        {.table = std::move(tables[i]),
         .ids = arrays.Ids(gradient.ids),
         .gradient = gradient.gradient,
         .learning_rate = gradient.learning_rate,
         .bags = arrays.BagsOf(gradient.bags),
         .gradient_scale = gradient.gradient_scale,
         .return_weight_gradients = gradient.return_weight_gradients,
         .duplicates_summed = gradient.duplicates_summed});
  }

  QUIRE_ASSIGN_OR_RETURN(const std::vector<PushResult> results,
                         engine_.ApplyGradient(parts));
  v1::ApplyGradientResponse response;
  response.set_reached(v1::DURABILITY_MEMORY);
  for (size_t i = 0; i < results.size(); ++i) {
    v1::TableGradientResult& table = *response.add_tables();
    table.set_table_uid(UidBytes(parts[i].table->uid()));
    table.set_rows_changed(results[i].rows_changed);
    table.set_padding_dropped(results[i].padding_dropped);
    table.set_rows_skipped(results[i].rows_skipped);
    table.set_step(results[i].step);
    table.mutable_weight_gradients()->Add(results[i].weight_gradients.begin(),
                                          results[i].weight_gradients.end());
  }
  return response;
}

}  // namespace quire
