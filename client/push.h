// A push: one request, whatever its size.

#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
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
// does with a push that brings them apart.
//   ids       [n]
//   gradient  [n, dim]
SummedGradient SumDuplicates(std::span<const int64_t> ids,
                             std::span<const float> gradient, int64_t dim);

// The request, without push_id but with room for one. One over a limit has the
// duplicate ids of each item summed first, but for items with bags or a
// gradient_scale; if that does not bring it below, TOO_LARGE. INVALID_ARGUMENT
// if bags are none, or a gradient does not lie evenly over its rows. Nothing is
// referred to after the return.
absl::StatusOr<grpc::ByteBuffer> EncodePush(std::span<const GradientItem> items,
                                            v1::Durability min_durability,
                                            const v1::ServerLimits& limits);

// `request` with a push_id; it shares the memory.
grpc::ByteBuffer WithPushId(const grpc::ByteBuffer& request,
                            std::string_view session_id, uint64_t sequence);

// The reply to a push of `item_count` items.
absl::StatusOr<Pushed> ReadPushReply(const v1::ApplyGradientResponse& response,
                                     size_t item_count);

}  // namespace quire
