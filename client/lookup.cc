#include "client/lookup.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "client/message.h"
#include "client/part_error.h"
#include "wire/encode.h"

namespace quire {
namespace {

constexpr char kPath[] = "/quire.v1.EmbeddingService/Lookup";

// What a table adds to a reply besides its rows, at most: uid, shape, lengths.
constexpr int64_t kItemReplyBytes = 64;

// Replies of more are cut, so that one is copied while the next is on its way.
constexpr int64_t kPartBytes = int64_t{8} << 20;

int64_t MaxResponseBytes(const v1::ServerLimits& limits) {
  return std::min(limits.lookup_reply_bytes(), kLookupReplyBytesMax);
}

std::vector<Part> SplitIntoParts(std::span<const LookupItem> items,
                                 std::span<const int64_t> dims,
                                 const v1::ServerLimits& limits) {
  std::vector<SplitItem> split(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    split[i] = {.id_count = std::ssize(items[i].ids),
                .row_bytes = dims[i] * static_cast<int64_t>(sizeof(float))};
  }
  return SplitLookup(
      split, {.reply_bytes = std::min(MaxResponseBytes(limits), kPartBytes),
              .ids = limits.ids_per_request(),
              .items = limits.tables_per_request(),
              .item_bytes = kItemReplyBytes});
}

// The server counts with the table's dim, we with that of `out`: a part that
// was cut to fit and does not, is of a table with wider rows.
absl::Status ExplainReplyTooLarge(const absl::Status& error) {
  if (ReasonOf(error) != Reason::kReplyTooLarge) {
    return error;
  }
  return Error(Reason::kBadShape,
               fmt::format("rows are wider than out has room for: {}",
                           std::string(error.message())),
               FieldOf(error));
}

absl::Status ReplyOfWrongSize(std::string_view what, size_t found,
                              size_t wanted) {
  return Error(Reason::kBug,
               fmt::format("the server answered a lookup with {} {}; {} were "
                           "asked for",
                           found, what, wanted));
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> LookupOperation::DimsOf(
    std::span<const LookupItem> items) {
  std::vector<int64_t> dims(items.size(), 0);
  for (size_t i = 0; i < items.size(); ++i) {
    const size_t id_count = items[i].ids.size();
    const size_t floats = items[i].out.size();
    const size_t dim = id_count == 0 ? 0 : floats / id_count;
    if (dim * id_count != floats || (dim == 0 && id_count > 0)) {
      return Error(
          Reason::kBadShape,
          fmt::format("table '{}': out has room for {} floats; rows for {} ids "
                      "need as many times the table's dim",
                      items[i].table, floats, id_count),
          fmt::format("items[{}].out", i));
    }
    dims[i] = static_cast<int64_t>(dim);
  }
  return dims;
}

LookupOperation::LookupOperation(Connection& connection,
                                 grpc::CompletionQueue& queue,
                                 std::vector<LookupItem> items,
                                 std::vector<int64_t> dims, absl::Time deadline,
                                 Done done)
    : connection_(connection),
      queue_(queue),
      items_(std::move(items)),
      dims_(std::move(dims)),
      site_(connection.Site("Lookup", deadline)),
      parts_(SplitIntoParts(items_, dims_, connection.info().limits())),
      done_(std::move(done)),
      calls_(parts_.size()),
      end_part_(parts_.size()),
      uids_(items_.size()) {}

void LookupOperation::Start(Connection& connection,
                            grpc::CompletionQueue& queue,
                            std::vector<LookupItem> items,
                            std::vector<int64_t> dims, absl::Time deadline,
                            int parts_in_flight, Done done) {
  const std::shared_ptr<LookupOperation> operation(
      new LookupOperation(connection, queue, std::move(items), std::move(dims),
                          deadline, std::move(done)));
  MutexLock lock(operation->mutex_);
  for (int i = 0; i < std::max(parts_in_flight, 1); ++i) {
    operation->StartNextPart();
  }
}

void LookupOperation::StartNextPart() {
  if (next_part_ >= end_part_) {
    return;
  }
  const size_t index = next_part_++;
  calls_[index] = std::make_unique<RawCall>(
      site_, queue_,
      [&raw = connection_.raw(), request = EncodePart(parts_[index])](
          grpc::ClientContext* context, grpc::CompletionQueue* queue) {
        return raw.PrepareUnaryCall(context, kPath, request, queue);
      },
      [self = shared_from_this(), index](absl::Status status,
                                         grpc::ByteBuffer& response) {
        if (auto result = self->Finish(index, std::move(status), response)) {
          const Done done = std::move(self->done_);
          done(*std::move(result));
        }
      });
  ++in_flight_;
  calls_[index]->Start();
}

grpc::ByteBuffer LookupOperation::EncodePart(const Part& part) const {
  std::vector<wire::LookupEntry> entries;
  entries.reserve(part.ranges.size());
  for (const ItemRange& range : part.ranges) {
    const LookupItem& item = items_[range.item_index];
    entries.push_back({.table_name = item.table,
                       .table_uid = item.uid,
                       .ids_shape = std::nullopt,
                       .ids = RowsOf(range, item.ids, 1)});
  }
  const wire::MessageLayout layout = wire::LayOutLookupRequest(
      entries, MaxResponseBytes(connection_.info().limits()));
  return EncodeMessage(std::span<const wire::LookupEntry>(entries), layout);
}

std::optional<absl::Status> LookupOperation::Finish(
    size_t part_index, absl::Status status, const grpc::ByteBuffer& response) {
  MutexLock lock(mutex_);
  // The call ends with this function, and `response` with it.
  const std::unique_ptr<RawCall> call = std::move(calls_[part_index]);
  --in_flight_;
  const bool wanted = part_index < end_part_;
  if (wanted && status.ok()) {
    // First, so that the server is at work while rows are copied here.
    StartNextPart();
    status = Join(parts_[part_index], response);
  }
  if (wanted && !status.ok()) {
    Fail(part_index, status);
  }
  if (in_flight_ > 0) {
    return std::nullopt;
  }
  return error_;
}

absl::Status LookupOperation::Join(const Part& part,
                                   const grpc::ByteBuffer& response) {
  const MessagePieces pieces(response);
  QUIRE_ASSIGN_OR_RETURN(const wire::LookupResponse reply,
                         wire::LookupResponse::Parse(pieces.pieces()));
  if (reply.tables.size() != part.ranges.size()) {
    return ReplyOfWrongSize("tables", reply.tables.size(), part.ranges.size());
  }
  for (size_t i = 0; i < part.ranges.size(); ++i) {
    QUIRE_RETURN_IF_ERROR(JoinRange(part.ranges[i], reply.tables[i]));
  }
  return absl::OkStatus();
}

absl::Status LookupOperation::JoinRange(const ItemRange& range,
                                        const wire::TableRows& rows) {
  const LookupItem& item = items_[range.item_index];
  const int64_t dim = dims_[range.item_index];
  if (rows.shape.rank() != 2 || rows.shape.dim(0) != range.count) {
    return ReplyOfWrongSize(
        "rows",
        rows.shape.rank() == 0 ? 0 : static_cast<size_t>(rows.shape.dim(0)),
        static_cast<size_t>(range.count));
  }
  if (range.count > 0 && rows.shape.dim(1) != dim) {
    return Error(
        Reason::kBadShape,
        fmt::format("table '{}' has dim {}; out has room for rows of dim {}",
                    item.table, rows.shape.dim(1), dim),
        fmt::format("items[{}].out", range.item_index));
  }
  std::optional<TableUid>& uid = uids_[range.item_index];
  if (uid.value_or(rows.table_uid) != rows.table_uid) {
    return Error(
        Reason::kTableReplaced,
        fmt::format("table '{}' was replaced during the lookup", item.table),
        fmt::format("tables[{}].table", range.item_index));
  }
  uid = rows.table_uid;
  rows.values.CopyTo(
      reinterpret_cast<std::byte*>(RowsOf(range, item.out, dim).data()));
  return absl::OkStatus();
}

void LookupOperation::Fail(size_t part_index, const absl::Status& error) {
  const Part& part = parts_[part_index];
  error_ = ExplainReplyTooLarge(parts_.size() > 1 ? InWholeLookup(error, part)
                                                  : error);
  end_part_ = part_index;
  for (size_t i = part_index + 1; i < next_part_; ++i) {
    if (calls_[i] != nullptr) {
      calls_[i]->Cancel();
    }
  }
}

}  // namespace quire
