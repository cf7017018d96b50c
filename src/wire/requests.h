// The data plane's requests, as the server reads them: names, shapes, and views
// of the payloads where they lie.
//
// What protobuf serialisers emit (fields in order, each once, arrays packed) is
// read straight from the pieces of a message; nothing is allocated but the list
// of tables and long names. Everything else that is legal (unknown fields,
// split or unpacked arrays, any order) goes through the generated code, so it
// is read exactly as that reads it. Which way was taken changes nothing but the
// time it takes.
//
// What comes out is checked: uids are 16 bytes, shapes are legal and agree with
// their payloads, the request is within the limits of base/limits.h, fields
// that this version has not built are refused. What needs the table is not: its
// name may be any string, ids may be out of range, gradients may be NaN.
//
// Every error is an Error() of base/status.h and names its field, as
// "tables[1].ids.shape". MALFORMED: not a message of this API.
//
// Thread safety: pure functions and plain values.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "tensor/bags.h"
#include "tensor/element_type.h"
#include "tensor/shape.h"

namespace quire::wire {

// How the ids of one table fall into bags, and what a bag's rows become.
struct BagsRequest {
  Pooling pooling = Pooling::kSum;
  // Resolved, however they came: [bags + 1], ascending from 0 to the number of
  // ids.
  std::vector<int64_t> offsets;
  // SUM: one little-endian float per id, or empty for all 1.
  ByteRange weights;
  // A push of MAX: as many little-endian int32 as the gradient has floats.
  // Their values are not checked.
  ByteRange winners;
  // A lookup of MAX: the winners are wanted.
  bool return_winners = false;

  int64_t bag_count() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

// Rows wanted from one table.
struct TableLookup {
  std::string table_name;
  // The incarnation meant; absent: whichever table has the name.
  std::optional<TableUid> table_uid;
  // Rank 0 .. 8. A request without a shape has [number of ids].
  Shape ids_shape;
  // id_count() little-endian int64, aligned to nothing.
  ByteRange ids;
  // Of the reply.
  ElementType output_dtype = ElementType::kFloat32;
  // Absent: each id is a row of the reply.
  std::optional<BagsRequest> bags;

  int64_t id_count() const { return ids_shape.element_count(); }
};

// A lookup in one table or many.
struct LookupRequest {
  std::vector<TableLookup> tables;
  // What the caller can receive: more than 0, otherwise as it was asked (the
  // server has a limit of its own).
  std::optional<int64_t> max_response_bytes;
  // Rows no older than this are wanted; the epoch is 1 or more.
  std::optional<Position> min_position;
  // Over all tables; at most kIdsPerRequestMax.
  int64_t id_count = 0;
  // Over all tables; at most kIdsPerRequestMax. Each takes 8 bytes of memory.
  int64_t bag_count = 0;
  // Keeps the payloads that the generated code has read; views of them live as
  // long as any copy of this. Null: the payloads lie in the pieces.
  std::shared_ptr<const void> storage;

  // Reads one message. `pieces`, the array as well as the bytes, outlives the
  // request and its copies.
  static absl::StatusOr<LookupRequest> Parse(std::span<const Bytes> pieces);

  bool used_generated_code() const { return storage != nullptr; }
};

// Gradients for rows of one table.
struct TableGradient {
  std::string table_name;
  // The incarnation meant; absent: whichever table has the name.
  std::optional<TableUid> table_uid;
  // For this push, in place of the table's: finite, 0 or more.
  std::optional<double> learning_rate;
  // Multiplies the gradient, before everything: finite.
  std::optional<double> gradient_scale;
  // The gradient of bags->weights is wanted; there are such weights.
  bool return_weight_gradients = false;
  // By the sender, over this entry.
  bool duplicates_summed = false;
  // Rank 0 .. 8. A request without a shape has [number of ids].
  Shape ids_shape;
  // id_count() little-endian int64, aligned to nothing.
  ByteRange ids;
  // Those of the lookup that this is the gradient of.
  std::optional<BagsRequest> bags;
  ElementType gradient_dtype = ElementType::kFloat32;
  // Rank 0 .. 9. A request without a shape has [number of elements]. Whether it
  // is ids_shape + [dim], or [bags, dim], only the table knows.
  Shape gradient_shape;
  // gradient_shape.element_count() little-endian elements of gradient_dtype,
  // aligned to nothing.
  ByteRange gradient;

  int64_t id_count() const { return ids_shape.element_count(); }
};

// By which a push is known if it comes again.
struct PushName {
  SessionId session;
  uint64_t sequence = 0;  // 1 or more

  friend bool operator==(const PushName&, const PushName&) = default;
};

// One step of one table or many.
struct ApplyGradientRequest {
  std::optional<PushName> name;
  std::vector<TableGradient> tables;
  // A v1::Durability, or a number of a version to come.
  int min_durability = 0;
  // Over all tables; at most kIdsPerRequestMax.
  int64_t id_count = 0;
  // As in LookupRequest.
  int64_t bag_count = 0;
  // As in LookupRequest.
  std::shared_ptr<const void> storage;

  // As LookupRequest::Parse.
  static absl::StatusOr<ApplyGradientRequest> Parse(
      std::span<const Bytes> pieces);

  bool used_generated_code() const { return storage != nullptr; }
};

// A request on a stream. It can be refused by itself: the stream goes on, and
// the refusal is answered under its number.
template <typename Request>
struct StreamRequest {
  // Known whenever it could be read, be the request as bad as it may. A message
  // without the field has 0; nullopt if the bytes broke before one was found.
  std::optional<uint64_t> request_id;
  absl::StatusOr<Request> request;

  // Fields of errors are those of the request inside: "tables[1].ids.shape".
  // Otherwise as LookupRequest::Parse.
  static StreamRequest Parse(std::span<const Bytes> pieces);
};

using LookupStreamRequest = StreamRequest<LookupRequest>;
using ApplyGradientStreamRequest = StreamRequest<ApplyGradientRequest>;

template <>
LookupStreamRequest LookupStreamRequest::Parse(std::span<const Bytes> pieces);
template <>
ApplyGradientStreamRequest ApplyGradientStreamRequest::Parse(
    std::span<const Bytes> pieces);

}  // namespace quire::wire
