#include "client/lookup.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "client/bags.h"
#include "client/halves.h"
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

// Rows of the output.
int64_t RowCount(const LookupItem& item) {
  return item.bags ? item.bags->bag_count() : std::ssize(item.ids);
}

std::vector<Part> SplitIntoParts(std::span<const LookupItem> items,
                                 std::span<const int64_t> dims,
                                 const v1::ServerLimits& limits) {
  std::vector<SplitItem> split(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const LookupItem& item = items[i];
    const size_t element_bytes = ElementBytes(item.wire_dtype) +
                                 (item.winners.empty() ? 0 : sizeof(int32_t));
    split[i] = {
        .row_count = RowCount(item),
        .row_bytes = dims[i] * static_cast<int64_t>(element_bytes),
        .offsets = item.bags ? item.bags->offsets : std::span<const int64_t>()};
  }
  return SplitLookup(
      split, {.reply_bytes = std::min(MaxResponseBytes(limits), kPartBytes),
              .ids = limits.ids_per_request(),
              .items = limits.tables_per_request(),
              .item_bytes = kItemReplyBytes});
}

// Of the items that have equal ids, and are to have each once.
std::vector<std::optional<UniqueIds>> UniqueIdsOf(
    std::span<const LookupItem> items) {
  std::vector<std::optional<UniqueIds>> unique(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].unique_ids && !items[i].bags &&
        !unique[i].emplace(items[i].ids).has_duplicates()) {
      unique[i].reset();
    }
  }
  return unique;
}

std::vector<LookupItem> WithIdsOf(
    std::span<const std::optional<UniqueIds>> unique,
    std::vector<LookupItem> items) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (unique[i]) {
      items[i].ids = unique[i]->ids;
    }
  }
  return items;
}

// The bags of a part, by themselves; `offsets` are kept there.
Bags BagsOf(const ItemRange& range, const Bags& whole,
            std::vector<int64_t>& offsets) {
  const auto of_range = whole.offsets.subspan(
      static_cast<size_t>(range.begin), static_cast<size_t>(range.count) + 1);
  offsets.assign(of_range.begin(), of_range.end());
  for (int64_t& offset : offsets) {
    offset -= range.id_begin;
  }
  return {.pooling = whole.pooling,
          .offsets = offsets,
          .weights = whole.weights.empty() ? whole.weights
                                           : IdsOf(range, whole.weights)};
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

// What a lookup's bags cannot be; `field` is theirs.
absl::Status CheckLookupBags(const LookupItem& item, const std::string& field) {
  if (!item.bags) {
    return item.winners.empty()
               ? absl::OkStatus()
               : Error(Reason::kBadValue,
                       "winners are of bags; bring bags of Pooling::kMax, or "
                       "leave the winners out",
                       field);
  }
  QUIRE_RETURN_IF_ERROR(CheckBags(*item.bags, item.ids.size(), field));
  if (!item.bags->winners.empty()) {
    return Error(Reason::kBadValue,
                 "a lookup came with winners in its bags; they go with a push. "
                 "Those that it gives go to LookupItem::winners",
                 field + ".winners");
  }
  if (!item.winners.empty() && item.winners.size() != item.out.size()) {
    return Error(Reason::kBadShape,
                 fmt::format("room for {} winners and {} floats; there is one "
                             "for each",
                             item.winners.size(), item.out.size()),
                 field + ".winners");
  }
  return absl::OkStatus();
}

std::optional<Position> MinPosition(const LookupOptions& options) {
  if (!options.min_position) {
    return std::nullopt;
  }
  return Position{.epoch = options.min_position->epoch(),
                  .lsn = options.min_position->lsn()};
}

CallSite LookupSite(const Connection& connection, absl::Time deadline) {
  CallSite site = connection.Site("Lookup", deadline);
  site.is_repeatable = true;
  return site;
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
    QUIRE_RETURN_IF_ERROR(
        CheckLookupBags(items[i], fmt::format("items[{}].bags", i)));
    const int64_t row_count = RowCount(items[i]);
    const int64_t floats = std::ssize(items[i].out);
    const int64_t dim = row_count == 0 ? 0 : floats / row_count;
    if (dim * row_count != floats || (dim == 0 && row_count > 0)) {
      return Error(
          Reason::kBadShape,
          fmt::format("table '{}': out has room for {} floats; rows for {} {} "
                      "need as many times the table's dim",
                      items[i].table, floats, row_count,
                      items[i].bags ? "bags" : "ids"),
          fmt::format("items[{}].out", i));
    }
    dims[i] = dim;
  }
  return dims;
}

LookupOperation::LookupOperation(Connection& connection,
                                 grpc::CompletionQueue& queue,
                                 std::vector<LookupItem> items,
                                 std::vector<int64_t> dims,
                                 const LookupOptions& options, Done done)
    : connection_(connection),
      queue_(queue),
      unique_(UniqueIdsOf(items)),
      items_(WithIdsOf(unique_, std::move(items))),
      dims_(std::move(dims)),
      options_(options),
      site_(LookupSite(connection, *options.deadline)),
      parts_(SplitIntoParts(items_, dims_, connection.info().limits())),
      done_(std::move(done)),
      calls_(parts_.size()),
      end_part_(parts_.size()),
      uids_(items_.size()) {}

void LookupOperation::Start(Connection& connection,
                            grpc::CompletionQueue& queue,
                            std::vector<LookupItem> items,
                            std::vector<int64_t> dims,
                            const LookupOptions& options, int parts_in_flight,
                            Done done) {
  const std::shared_ptr<LookupOperation> operation(
      new LookupOperation(connection, queue, std::move(items), std::move(dims),
                          options, std::move(done)));
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
  // Of the bags of each entry, counted from its first id.
  std::vector<std::vector<int64_t>> offsets(part.ranges.size());
  entries.reserve(part.ranges.size());
  for (size_t i = 0; i < part.ranges.size(); ++i) {
    const ItemRange& range = part.ranges[i];
    const LookupItem& item = items_[range.item_index];
    entries.push_back({.table_name = item.table,
                       .table_uid = item.uid,
                       .ids = IdsOf(range, item.ids),
                       .return_winners = !item.winners.empty(),
                       .output_dtype = item.wire_dtype});
    if (item.bags) {
      entries.back().bags = BagsOf(range, *item.bags, offsets[i]);
    }
  }
  const wire::MessageLayout layout = wire::LayOutLookupRequest(
      entries, MaxResponseBytes(connection_.info().limits()),
      /*request_id=*/std::nullopt, MinPosition(options_));
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
  if (error_.ok()) {
    CopyToDuplicates();
  }
  if (options_.position != nullptr) {
    options_.position->reset();
    if (position_) {
      v1::Position& told = options_.position->emplace();
      told.set_epoch(position_->epoch);
      told.set_lsn(position_->lsn);
    }
  }
  return error_;
}

void LookupOperation::JoinPosition(const std::optional<Position>& position) {
  // A part of MEMORY tables has none.
  if (position) {
    position_ = std::min(position_.value_or(*position), *position);
  }
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
  JoinPosition(reply.position);
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
  if (rows.dtype != item.wire_dtype) {
    return Error(Reason::kBug,
                 fmt::format("the server answered a lookup with {}; {} was "
                             "asked for",
                             ElementTypeName(rows.dtype),
                             ElementTypeName(item.wire_dtype)));
  }
  if (!item.winners.empty()) {
    const auto winners = RowsOf(range, item.winners, dim);
    if (rows.winners.size() != winners.size_bytes()) {
      return ReplyOfWrongSize("winners", rows.winners.size() / sizeof(int32_t),
                              winners.size());
    }
    rows.winners.CopyTo(reinterpret_cast<std::byte*>(winners.data()));
  }
  PlaceRows(range, rows);
  return absl::OkStatus();
}

void LookupOperation::PlaceRows(const ItemRange& range,
                                const wire::TableRows& rows) const {
  const LookupItem& item = items_[range.item_index];
  const int64_t dim = dims_[range.item_index];
  const std::optional<UniqueIds>& unique = unique_[range.item_index];
  if (!unique) {
    return Widen(rows.dtype, rows.values, RowsOf(range, item.out, dim).data());
  }
  const size_t row_bytes = static_cast<size_t>(dim) * ElementBytes(rows.dtype);
  std::vector<std::byte> cut(row_bytes);
  ByteRange::Reader reader(rows.values);
  for (const size_t place : IdsOf(range, std::span(unique->first))) {
    const Bytes row(reader.Next(row_bytes, cut.data()), row_bytes);
    Widen(rows.dtype, ByteRange(row),
          item.out.data() + place * static_cast<size_t>(dim));
  }
}

void LookupOperation::CopyToDuplicates() const {
  for (size_t i = 0; i < items_.size(); ++i) {
    if (!unique_[i]) {
      continue;
    }
    const auto dim = static_cast<size_t>(dims_[i]);
    float* const rows = items_[i].out.data();
    for (size_t place = 0; place < unique_[i]->index.size(); ++place) {
      const size_t first = unique_[i]->first[unique_[i]->index[place]];
      if (first != place) {
        std::copy_n(rows + first * dim, dim, rows + place * dim);
      }
    }
  }
}

void LookupOperation::Fail(size_t part_index, const absl::Status& error) {
  error_ = ExplainReplyTooLarge(
      InWholeLookup(error, parts_[part_index], parts_.size() > 1, unique_));
  end_part_ = part_index;
  for (size_t i = part_index + 1; i < next_part_; ++i) {
    if (calls_[i] != nullptr) {
      calls_[i]->Cancel();
    }
  }
}

}  // namespace quire
