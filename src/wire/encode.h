// The data plane's messages, as they are written: first the layout
// (wire/message_layout.h), then the bytes, into a buffer of the caller's.
//
// With a request_id, a message is the one for streams: LookupStreamRequest,
// ApplyGradientStreamRequest, LookupStreamResponse (its outcome: response).
//
// Every dim of a shape is at most INT32_MAX: the API has no larger ones.
// Checked.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "tensor/bags.h"
#include "tensor/element_type.h"
#include "tensor/shape.h"
#include "wire/message_layout.h"

namespace quire::wire {

// --- Requests: the client's side ---

// Ids of rows wanted from one table.
struct LookupEntry {
  // UTF-8.
  std::string_view table_name;
  std::optional<TableUid> table_uid = std::nullopt;
  // ids.size() elements, or absent: [ids.size()].
  std::optional<Shape> ids_shape = std::nullopt;
  std::span<const int64_t> ids;
  // Offsets are sent with ids of rank 1; of rank 2, each row is a bag.
  std::optional<Bags> bags = std::nullopt;
  // Of MAX bags.
  bool return_winners = false;
  // Of the reply.
  ElementType output_dtype = ElementType::kFloat32;
};

// Gradients of rows of one table.
struct GradientEntry {
  // UTF-8.
  std::string_view table_name;
  std::optional<TableUid> table_uid = std::nullopt;
  std::optional<double> learning_rate = std::nullopt;
  std::optional<double> gradient_scale = std::nullopt;
  bool return_weight_gradients = false;
  bool duplicates_summed = false;
  // ids.size() elements, or absent: [ids.size()].
  std::optional<Shape> ids_shape = std::nullopt;
  std::span<const int64_t> ids;
  // As in LookupEntry.
  std::optional<Bags> bags = std::nullopt;
  // Of the gradient, as the API wants it: that of ids + [dim], or [bags, dim].
  Shape gradient_shape;
  // gradient_shape.element_count() floats, or empty if the caller writes them
  // into the buffer itself. Numbers of another type it always does.
  std::span<const float> gradient = {};
  ElementType gradient_dtype = ElementType::kFloat32;
};

// Payload 2i: the weights of entry i; payload 2i + 1: its ids.
MessageLayout LayOutLookupRequest(
    std::span<const LookupEntry> entries,
    std::optional<int64_t> max_response_bytes,
    std::optional<uint64_t> request_id = std::nullopt,
    std::optional<Position> min_position = std::nullopt);

// Payload 4i: the weights of entry i; then its winners, its ids, its gradient.
//   min_durability  a v1::Durability; 0: the tables' default
MessageLayout LayOutApplyGradientRequest(
    std::span<const GradientEntry> entries, int min_durability = 0,
    std::optional<uint64_t> request_id = std::nullopt);

// The field push_id, which is the first of an ApplyGradientRequest: put in
// front of a message that was laid out without it (and is not on a stream), it
// makes one that has it. So gradients are encoded before their push has a
// number, and keep their bytes if it gets another one.
//   session_id  at most 16 bytes
std::string EncodePushId(std::string_view session_id, uint64_t sequence);

// Bytes of the longest push_id: two tags and lengths, the id, a number.
inline constexpr int64_t kPushIdBytesMax = 2 + 2 + 16 + 1 + 10;

// Write the whole message to buffer[0, layout.size()): headers, ids, arrays of
// bags, and the gradients that the entries bring. `layout` is that of the same
// entries.
void Encode(std::span<const LookupEntry> entries, const MessageLayout& layout,
            std::byte* buffer);
void Encode(std::span<const GradientEntry> entries, const MessageLayout& layout,
            std::byte* buffer);

// --- Replies: the server's side ---

// Rows of one table.
struct RowsEntry {
  TableUid table_uid{};
  // Of the rows: rank 0 .. 9.
  Shape shape;
  // A winner for each element: int32.
  bool has_winners = false;
  ElementType dtype = ElementType::kFloat32;
};

// Payload 2i: the winners of entry i, if it has any; payload 2i + 1: its rows.
// Each is shape.element_count() elements.
MessageLayout LayOutLookupResponse(
    std::span<const RowsEntry> entries,
    std::optional<uint64_t> request_id = std::nullopt,
    std::optional<Position> position = std::nullopt);

// LayOutLookupResponse(…).size(), for the limit on replies: allocates nothing.
int64_t LookupResponseBytes(std::span<const RowsEntry> entries,
                            std::optional<uint64_t> request_id = std::nullopt,
                            std::optional<Position> position = std::nullopt);

}  // namespace quire::wire
