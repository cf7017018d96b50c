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
#include "server/requests.h"
#include "wire/encode.h"

namespace quire {
namespace {

constexpr int64_t kBusyRetryMs = 20;

// What a push takes beside its message, for each id: the id itself, its place
// in the index of duplicates, its row's addresses.
constexpr int64_t kPushBytesPerId = 80;

std::string TableField(size_t index) {
  return fmt::format("tables[{}].", index);
}

// The payload, aligned and in one piece, at ids[0, count).
void CopyIds(const ByteRange& range, int64_t* ids) {
  range.CopyTo(reinterpret_cast<std::byte*>(ids));
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

absl::Status NotBuilt(std::string_view what, std::string_view field) {
  return Error(Reason::kNotBuilt, fmt::format("this version has no {}", what),
               field);
}

absl::Status CheckBuilt(const wire::TableLookup& wanted) {
  return wanted.bags ? NotBuilt("bags", "bags") : absl::OkStatus();
}

absl::Status CheckBuilt(const wire::TableGradient& gradient) {
  if (gradient.gradient_scale) {
    return NotBuilt("scaling of gradients", "gradient_scale");
  }
  if (gradient.return_weight_gradients) {
    return NotBuilt("gradients of weights", "return_weight_gradients");
  }
  return gradient.bags ? NotBuilt("bags", "bags") : absl::OkStatus();
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
  QUIRE_ASSIGN_OR_RETURN(const Shape needed,
                         gradient.ids_shape.Append(table.dim()));
  if (gradient.gradient_shape == needed) {
    return absl::OkStatus();
  }
  return Error(Reason::kBadShape,
               fmt::format("table '{}': a gradient of shape {} for ids of "
                           "shape {}; it must be {}",
                           table.name(), gradient.gradient_shape.ToString(),
                           gradient.ids_shape.ToString(), needed.ToString()),
               "gradient.shape");
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
  for (size_t i = 0; i < request.tables.size(); ++i) {
    const wire::TableLookup& wanted = request.tables[i];
    QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckBuilt(wanted), TableField(i)));
    absl::StatusOr<TableHandle> table =
        engine_.Find(wanted.table_name, wanted.table_uid);
    if (!table.ok()) {
      return WithFieldPrefix(std::move(table).status(), TableField(i));
    }
    absl::StatusOr<Shape> shape = wanted.ids_shape.Append((*table)->dim());
    if (!shape.ok()) {
      return WithFieldPrefix(std::move(shape).status(),
                             TableField(i) + "ids.shape");
    }
    entries.push_back({.table_uid = (*table)->uid(), .shape = *shape});
    tables.push_back(*std::move(table));
  }

  const int64_t reply_bytes = wire::LookupResponseBytes(entries, request_id);
  QUIRE_RETURN_IF_ERROR(
      CheckReplyBytes(reply_bytes, request.max_response_bytes));
  Reply reply;
  QUIRE_RETURN_IF_ERROR(
      Charge(reply_bytes + request.id_count * 8, reply.charge));

  const auto ids = std::make_unique_for_overwrite<int64_t[]>(
      static_cast<size_t>(request.id_count));
  int64_t* next = ids.get();
  for (size_t i = 0; i < tables.size(); ++i) {
    const auto count = static_cast<size_t>(request.tables[i].id_count());
    CopyIds(request.tables[i].ids, next);
    QUIRE_RETURN_IF_ERROR(
        WithFieldPrefix(tables[i]->CheckIds({next, count}), TableField(i)));
    next += count;
  }

  const wire::MessageLayout layout =
      wire::LayOutLookupResponse(entries, request_id);
  MessageBuffer buffer(layout.size(), layout.alignment_shift());
  layout.WriteHeaders(buffer.data());
  next = ids.get();
  for (size_t i = 0; i < tables.size(); ++i) {
    const auto count = static_cast<size_t>(request.tables[i].id_count());
    tables[i]->Lookup({next, count}, buffer.data() + layout.payload_offset(i));
    next += count;
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
  MemoryBudget::Charge charge;
  int64_t gradient_bytes = 0;
  for (const wire::TableGradient& gradient : request.tables) {
    gradient_bytes += static_cast<int64_t>(gradient.gradient.size());
  }
  QUIRE_RETURN_IF_ERROR(
      Charge(gradient_bytes + request.id_count * kPushBytesPerId, charge));

  const auto ids = std::make_unique_for_overwrite<int64_t[]>(
      static_cast<size_t>(request.id_count));
  std::vector<PushPart> parts;
  parts.reserve(request.tables.size());
  int64_t* next = ids.get();
  for (size_t i = 0; i < request.tables.size(); ++i) {
    const wire::TableGradient& gradient = request.tables[i];
    QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckBuilt(gradient), TableField(i)));
    absl::StatusOr<TableHandle> table =
        engine_.Find(gradient.table_name, gradient.table_uid);
    absl::Status status = table.status();
    if (status.ok()) {
      status = CheckGradientShape(gradient, **table);
    }
    if (!status.ok()) {
      return WithFieldPrefix(std::move(status), TableField(i));
    }
    CopyIds(gradient.ids, next);
    const auto count = static_cast<size_t>(gradient.id_count());
    parts.push_back({.table = *std::move(table),
                     .ids = {next, count},
                     .gradient = gradient.gradient,
                     .learning_rate = gradient.learning_rate});
    next += count;
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
  }
  return response;
}

}  // namespace quire
