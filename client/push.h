// A push: one request, whatever its size.

#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "quire/v1/admin.pb.h"
#include "quire/v1/embedding.pb.h"

namespace quire {

// Gradients of one table, each id once.
struct SummedGradient {
  // [n]: in order of first appearance.
  std::vector<int64_t> ids;
  // [n, dim]
  std::vector<float> gradient;
};

// Sums the gradients of equal ids in their order, in float32: what the server
// does with a push that brings them apart, to the bit.
//   ids       [n]
//   gradient  [n, dim]
//   scale     multiplies each gradient first, as gradient_scale does
SummedGradient SumDuplicates(std::span<const int64_t> ids,
                             std::span<const float> gradient, int64_t dim,
                             std::optional<float> scale = std::nullopt);

// The request, without push_id but with room for one. Duplicate ids of items
// without bags are summed if the item is to have unique_ids, or the push is
// over a limit of the server's; if it is over one then, TOO_LARGE.
// INVALID_ARGUMENT if bags are none, or a gradient does not lie evenly over its
// rows, or does not fit its type. Nothing is referred to after the return.
absl::StatusOr<grpc::ByteBuffer> EncodePush(
    std::span<const GradientItem> items, const PushOptions& push,
    const v1::GetServerInfoResponse& server);

// `request` with a push_id; it shares the memory.
grpc::ByteBuffer WithPushId(const grpc::ByteBuffer& request,
                            std::string_view session_id, uint64_t sequence);

// The reply to a push of `item_count` items.
absl::StatusOr<Pushed> ReadPushReply(const v1::ApplyGradientResponse& response,
                                     size_t item_count);

}  // namespace quire
