// The data plane's methods: from the pieces of a request to a reply.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "server/message.h"
#include "wire/requests.h"

namespace quire {

class EmbeddingService {
 public:
  // `inflight` is charged for what requests decode to and replies hold; both
  // outlive this.
  //   push_bytes_max  limit on the message of a push
  EmbeddingService(Engine& engine, MemoryBudget& inflight,
                   int64_t push_bytes_max)
      : engine_(engine), inflight_(inflight), push_bytes_max_(push_bytes_max) {}

  absl::StatusOr<Reply> Lookup(const ReceivedMessage& message);
  absl::StatusOr<Reply> ApplyGradient(const ReceivedMessage& message);
  absl::StatusOr<Reply> Nearest(const ReceivedMessage& message,
                                const std::function<bool()>& cancelled);

  // On a stream: a refusal is a reply.
  Reply LookupOnStream(const ReceivedMessage& message);
  Reply ApplyGradientOnStream(const ReceivedMessage& message);

 private:
  absl::StatusOr<Reply> Lookup(const wire::LookupRequest& request,
                               std::optional<uint64_t> request_id);
  absl::StatusOr<v1::ApplyGradientResponse> ApplyGradient(
      const wire::ApplyGradientRequest& request);
  absl::Status CheckPushBytes(const ReceivedMessage& message) const;
  absl::Status Charge(int64_t bytes, MemoryBudget::Charge& charge) const;

  Engine& engine_;
  MemoryBudget& inflight_;
  const int64_t push_bytes_max_;
};

}  // namespace quire
