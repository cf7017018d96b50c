// What a hot message says, read but not yet judged: the common ground of the
// two ways to read one (wire/canonical.h, wire/generated.h).

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "base/limits.h"

namespace quire::wire {

struct ShapeDraft {
  // A shape that is there without dims is a scalar; one that is not there is
  // as long as its payload.
  bool present = false;
  absl::InlinedVector<int64_t, kRankMax + 1> dims;
};

// Numbers as they came: pooling may be any, offsets may be nonsense.
struct BagsDraft {
  int pooling = 0;
  bool return_winners = false;
  std::vector<int64_t> offsets;
  ByteRange weights;
  ByteRange winners;
};

// One entry of `tables`. What a message does not have stays empty.
struct TableDraft {
  std::string name;
  ByteRange uid;
  std::optional<double> learning_rate;
  std::optional<double> gradient_scale;
  bool return_weight_gradients = false;
  bool duplicates_summed = false;
  // Any number: the output_dtype of a lookup, or the dtype of the tensor below.
  int element_type = 0;
  std::optional<BagsDraft> bags;
  ShapeDraft ids_shape;
  ByteRange ids;
  // The gradient of a push, the rows of a reply: floats, or numbers of another
  // type in `packed`, or both.
  ShapeDraft values_shape;
  ByteRange values;
  ByteRange packed;
  // Of a reply.
  ByteRange winners;
};

// The name of a push: numbers as they came.
struct PushIdDraft {
  ByteRange session;
  uint64_t sequence = 0;
};

struct Draft {
  // Of messages on streams: StreamRequest::request_id.
  std::optional<uint64_t> request_id;
  std::optional<int64_t> max_response_bytes;
  // The min_position of a lookup, or the position of its reply.
  std::optional<Position> position;
  std::optional<PushIdDraft> push_id;
  int min_durability = 0;
  std::vector<TableDraft> tables;
  // Over all tables; at most kIdsPerRequestMax.
  int64_t offset_count = 0;
  // Where the ranges lie, unless it is the message's own pieces.
  std::shared_ptr<const void> storage;
};

}  // namespace quire::wire
