// The data plane's methods: from the pieces of a request to a reply.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "quire/v1/embedding.pb.h"
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
  // The message stays until `done` is called, once, on any thread.
  //   deadline  see Push::deadline
  void ApplyGradient(const ReceivedMessage& message, const Deadline& deadline,
                     std::function<void(absl::StatusOr<Reply>)> done);
  absl::StatusOr<Reply> Nearest(const ReceivedMessage& message,
                                const std::function<bool()>& cancelled);

  // On a stream: a refusal is a reply.
  Reply LookupOnStream(const ReceivedMessage& message);
  void ApplyGradientOnStream(const ReceivedMessage& message,
                             const Deadline& deadline,
                             std::function<void(Reply)> done);

  absl::StatusOr<v1::OpenSessionResponse> OpenSession(
      const v1::OpenSessionRequest& request);
  absl::StatusOr<v1::CloseSessionResponse> CloseSession(
      const v1::CloseSessionRequest& request);

 private:
  // A push on its way.
  struct PendingPush;
  using PushDone =
      std::function<void(absl::StatusOr<v1::ApplyGradientResponse>)>;

  absl::StatusOr<Reply> Lookup(const wire::LookupRequest& request,
                               std::optional<uint64_t> request_id);
  void ApplyGradient(wire::ApplyGradientRequest request,
                     const Deadline& deadline, PushDone done);
  // Finds its tables, charges and copies what it needs.
  absl::Status Prepare(PendingPush& push) const;
  v1::ApplyGradientResponse ResponseTo(const PendingPush& push,
                                       PushOutcome outcome) const;
  absl::Status CheckPushBytes(const ReceivedMessage& message) const;
  absl::Status Charge(int64_t bytes, MemoryBudget::Charge& charge) const;

  Engine& engine_;
  MemoryBudget& inflight_;
  const int64_t push_bytes_max_;
};

}  // namespace quire
