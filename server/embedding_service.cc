#include "server/embedding_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "server/errors.h"
#include "server/request_arrays.h"
#include "server/requests.h"
#include "wire/encode.h"
#include "wire/push_hash.h"

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

// Of what a table of `dim` answers: ids.shape + [dim], or [bags, dim]. It is
// also that of its gradient. The field of the error is the ids'.
template <typename TableRequest>
absl::StatusOr<Shape> RowsShape(const TableRequest& request, int64_t dim) {
  if (request.bags) {
    return Shape{request.bags->bag_count(), dim};
  }
  absl::StatusOr<Shape> shape = request.ids_shape.Append(dim);
  return shape.ok() ? shape
                    : WithFieldPrefix(std::move(shape).status(), "ids.shape");
}

absl::Status CheckGradientShape(const wire::TableGradient& gradient,
                                const LiveTable& table) {
  QUIRE_ASSIGN_OR_RETURN(const Shape needed, RowsShape(gradient, table.dim()));
  if (gradient.gradient_shape == needed) {
    return absl::OkStatus();
  }
  // Who has no rows need not know how wide they are.
  if (needed.element_count() == 0 &&
      gradient.gradient_shape == *RowsShape(gradient, 0)) {
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

// Of the copies of a push's arrays: its gradient is one of them if it is to be
// widened.
int64_t ArrayBytes(const wire::TableGradient& gradient) {
  return RequestArrays::BytesOf(gradient.ids, gradient.bags) +
         (IsHalf(gradient.gradient_dtype)
              ? RequestArrays::FloatBytes(
                    gradient.gradient_shape.element_count())
              : 0);
}

// What a push takes besides its message: the arrays of its tables, and room to
// sum the gradients of all ids.
int64_t PushBytes(const wire::TableGradient& gradient, const LiveTable& table) {
  const int64_t rows =
      std::min(gradient.id_count(), table.created_spec().num_embeddings());
  return ArrayBytes(gradient) + gradient.id_count() * kPushBytesPerId +
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

void EmbeddingService::Lookup(const ReceivedMessage& message,
                              const Deadline& deadline,
                              std::function<void(absl::StatusOr<Reply>)> done) {
  absl::StatusOr<wire::LookupRequest> request =
      wire::LookupRequest::Parse(message.pieces());
  if (!request.ok()) {
    done(request.status());
  } else if (request->min_position) {
    LookupLater(*std::move(request), message.size(), std::nullopt, deadline,
                std::move(done));
  } else {
    done(Lookup(*request, std::nullopt));
  }
}

void EmbeddingService::LookupOnStream(const ReceivedMessage& message,
                                      const Deadline& deadline,
                                      std::function<void(Reply)> done) {
  auto parsed = wire::LookupStreamRequest::Parse(message.pieces());
  const uint64_t request_id = parsed.request_id.value_or(0);
  const auto answer = [request_id,
                       done = std::move(done)](absl::StatusOr<Reply> reply) {
    done(reply.ok() ? *std::move(reply)
                    : RefusalOnStream<v1::LookupStreamResponse>(
                          request_id, reply.status()));
  };
  if (!parsed.request.ok()) {
    answer(parsed.request.status());
  } else if (parsed.request->min_position) {
    LookupLater(*std::move(parsed.request), message.size(), request_id,
                deadline, answer);
  } else {
    answer(Lookup(*parsed.request, request_id));
  }
}

absl::StatusOr<TableHandle> EmbeddingService::TableOf(
    const wire::TableLookup& wanted, size_t index) const {
  absl::StatusOr<TableHandle> table =
      engine_.Find(wanted.table_name, wanted.table_uid);
  return table.ok()
             ? std::move(table)
             : WithFieldPrefix(std::move(table).status(), TableField(index));
}

void EmbeddingService::LookupLater(
    wire::LookupRequest request, int64_t bytes,
    std::optional<uint64_t> request_id, const Deadline& deadline,
    std::function<void(absl::StatusOr<Reply>)> done) {
  struct Pending {
    wire::LookupRequest request;
    MemoryBudget::Charge charge;
  };
  auto pending = std::make_shared<Pending>();
  absl::Status refused = Charge(bytes, pending->charge);
  std::vector<TableHandle> tables;
  for (size_t i = 0; refused.ok() && i < request.tables.size(); ++i) {
    absl::StatusOr<TableHandle> table = TableOf(request.tables[i], i);
    if (table.ok()) {
      tables.push_back(*std::move(table));
    } else {
      refused = table.status();
    }
  }
  if (!refused.ok()) {
    return done(refused);
  }
  const Position position = *request.min_position;
  pending->request = std::move(request);
  engine_.WhenApplied(std::move(tables), position, deadline,
                      [this, pending, request_id,
                       done = std::move(done)](absl::Status applied) {
                        pending->charge.Release();
                        done(applied.ok()
                                 ? Lookup(pending->request, request_id)
                                 : absl::StatusOr<Reply>(std::move(applied)));
                      });
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
    QUIRE_ASSIGN_OR_RETURN(TableHandle table, TableOf(wanted, i));
    absl::StatusOr<Shape> shape = RowsShape(wanted, table->dim());
    if (!shape.ok()) {
      return WithFieldPrefix(std::move(shape).status(), TableField(i));
    }
    entries.push_back(
        {.table_uid = table->uid(),
         .shape = *shape,
         .has_winners = wanted.bags && wanted.bags->return_winners,
         .dtype = wanted.output_dtype});
    tables.push_back(std::move(table));
    array_bytes += RequestArrays::BytesOf(wanted.ids, wanted.bags);
  }

  // Before the first row is read.
  const std::optional<Position> position = engine_.PositionOf(tables);
  const int64_t reply_bytes =
      wire::LookupResponseBytes(entries, request_id, position);
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
      wire::LayOutLookupResponse(entries, request_id, position);
  MessageBuffer buffer(layout.size(), layout.alignment_shift());
  layout.WriteHeaders(buffer.data());
  for (size_t i = 0; i < tables.size(); ++i) {
    std::byte* const rows = buffer.data() + layout.payload_offset(2 * i + 1);
    if (const auto bags = arrays.BagsOf(request.tables[i].bags)) {
      tables[i]->LookupBags(ids[i], *bags, rows,
                            entries[i].has_winners
                                ? buffer.data() + layout.payload_offset(2 * i)
                                : nullptr,
                            entries[i].dtype);
    } else {
      tables[i]->Lookup(ids[i], rows, entries[i].dtype);
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

void EmbeddingService::ApplyGradient(
    const ReceivedMessage& message, const Deadline& deadline,
    std::function<void(absl::StatusOr<Reply>)> done) {
  if (absl::Status refused = CheckPushBytes(message); !refused.ok()) {
    return done(refused);
  }
  absl::StatusOr<wire::ApplyGradientRequest> request =
      wire::ApplyGradientRequest::Parse(message.pieces());
  if (!request.ok()) {
    return done(request.status());
  }
  ApplyGradient(*std::move(request), deadline,
                [done = std::move(done)](
                    const absl::StatusOr<v1::ApplyGradientResponse>& response) {
                  if (response.ok()) {
                    done(Reply{.message = Serialize(*response)});
                  } else {
                    done(response.status());
                  }
                });
}

void EmbeddingService::ApplyGradientOnStream(const ReceivedMessage& message,
                                             const Deadline& deadline,
                                             std::function<void(Reply)> done) {
  auto parsed = wire::ApplyGradientStreamRequest::Parse(message.pieces());
  const auto answer = [request_id = parsed.request_id, done = std::move(done)](
                          absl::StatusOr<v1::ApplyGradientResponse> response) {
    if (!response.ok()) {
      return done(RefusalOnStream<v1::ApplyGradientStreamResponse>(
          request_id, response.status()));
    }
    v1::ApplyGradientStreamResponse message_of_it;
    message_of_it.set_request_id(request_id.value_or(0));
    *message_of_it.mutable_response() = *std::move(response);
    done(Reply{.message = Serialize(message_of_it)});
  };
  absl::Status refused = CheckPushBytes(message);
  refused.Update(parsed.request.status());
  if (!refused.ok()) {
    return answer(refused);
  }
  ApplyGradient(*std::move(parsed.request), deadline, answer);
}

// What the engine views, until the push has ended.
struct EmbeddingService::PendingPush {
  wire::ApplyGradientRequest request;
  MemoryBudget::Charge charge;
  std::optional<RequestArrays> arrays;
  std::vector<PushPart> parts;
  std::optional<PushId> id;
  Deadline deadline;

  Push push() const {
    return {
        .parts = parts,
        .id = id,
        .min_durability = static_cast<v1::Durability>(request.min_durability),
        .deadline = deadline};
  }
};

void EmbeddingService::ApplyGradient(wire::ApplyGradientRequest request,
                                     const Deadline& deadline, PushDone done) {
  auto pending = std::make_shared<PendingPush>();
  pending->deadline = deadline;
  pending->request = std::move(request);
  if (const auto& name = pending->request.name) {
    pending->id = {.session = name->session,
                   .sequence = name->sequence,
                   .hash = wire::HashOf(pending->request)};
  }
  const absl::Status refused = Prepare(*pending);
  const Push push = pending->push();
  auto end = [this, pending,
              done = std::move(done)](absl::StatusOr<PushOutcome> outcome) {
    if (outcome.ok()) {
      done(ResponseTo(*pending, *std::move(outcome)));
    } else {
      done(std::move(outcome).status());
    }
  };
  if (refused.ok()) {
    return engine_.ApplyGradient(push, std::move(end));
  }
  // What was pushed once may have been for a table that is gone by now.
  if (push.id && engine_.WasPushed(*push.id).value_or(false)) {
    return engine_.AnswerDuplicate(push, std::move(end));
  }
  end(refused);
}

absl::Status EmbeddingService::Prepare(PendingPush& push) const {
  const wire::ApplyGradientRequest& request = push.request;
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
    array_bytes += ArrayBytes(gradient);
    bytes += PushBytes(gradient, **table);
    tables.push_back(*std::move(table));
  }
  QUIRE_RETURN_IF_ERROR(Charge(bytes, push.charge));

  push.arrays.emplace(array_bytes);
  push.parts.reserve(tables.size());
  for (size_t i = 0; i < tables.size(); ++i) {
    const wire::TableGradient& gradient = request.tables[i];
    ByteRange floats = gradient.gradient;
    if (IsHalf(gradient.gradient_dtype)) {
      floats = push.arrays->Floats(
          gradient.gradient_shape.element_count(), [&](std::byte* out) {
            tables[i]->rows().Widen(gradient.gradient_dtype, gradient.gradient,
                                    out);
          });
    }
    push.parts.push_back(
        {.table = std::move(tables[i]),
         .ids = push.arrays->Ids(gradient.ids),
         .gradient = floats,
         .learning_rate = gradient.learning_rate,
         .bags = push.arrays->BagsOf(gradient.bags),
         .gradient_scale = gradient.gradient_scale,
         .return_weight_gradients = gradient.return_weight_gradients,
         .duplicates_summed = gradient.duplicates_summed});
  }
  return absl::OkStatus();
}

v1::ApplyGradientResponse EmbeddingService::ResponseTo(
    const PendingPush& push, PushOutcome outcome) const {
  v1::ApplyGradientResponse response;
  if (outcome.lsn > 0) {
    response.mutable_position()->set_epoch(engine_.log()->epoch());
    response.mutable_position()->set_lsn(outcome.lsn);
  }
  response.set_reached(outcome.reached);
  response.set_duplicate(outcome.is_duplicate);
  response.set_exactly_once(push.id.has_value());
  // Of a duplicate some tables may be gone by now.
  outcome.tables.resize(push.request.tables.size());
  for (size_t i = 0; i < outcome.tables.size(); ++i) {
    v1::TableGradientResult& table = *response.add_tables();
    PushResult& result = outcome.tables[i];
    if (i < push.parts.size()) {
      table.set_table_uid(UidBytes(push.parts[i].table->uid()));
    }
    table.set_rows_changed(result.rows_changed);
    table.set_padding_dropped(result.padding_dropped);
    table.set_rows_skipped(result.rows_skipped);
    table.set_step(result.step);
    table.mutable_weight_gradients()->Add(result.weight_gradients.begin(),
                                          result.weight_gradients.end());
  }
  return response;
}

// --- Sessions ---

absl::StatusOr<v1::OpenSessionResponse> EmbeddingService::OpenSession(
    const v1::OpenSessionRequest&) {
  QUIRE_ASSIGN_OR_RETURN(const SessionId session, engine_.OpenSession());
  v1::OpenSessionResponse response;
  response.set_session_id(
      std::string(session.bytes.begin(), session.bytes.end()));
  return response;
}

absl::StatusOr<v1::CloseSessionResponse> EmbeddingService::CloseSession(
    const v1::CloseSessionRequest& request) {
  SessionId session;
  if (request.session_id().size() != session.bytes.size()) {
    return Error(Reason::kBadValue,
                 fmt::format("a session's id has {} bytes, but this one has {}",
                             session.bytes.size(), request.session_id().size()),
                 "session_id");
  }
  std::ranges::copy(request.session_id(), session.bytes.begin());
  QUIRE_RETURN_IF_ERROR(engine_.CloseSession(session));
  return v1::CloseSessionResponse();
}

}  // namespace quire
