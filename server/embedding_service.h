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

  // The message stays until `done` is called, once: here, but for a lookup that
  // waits for a position; that ends by `deadline`.
  void Lookup(const ReceivedMessage& message, const Deadline& deadline,
              std::function<void(absl::StatusOr<Reply>)> done);
  // The message stays until `done` is called, once, on any thread.
  //   deadline  see Push::deadline
  void ApplyGradient(const ReceivedMessage& message, const Deadline& deadline,
                     std::function<void(absl::StatusOr<Reply>)> done);
  absl::StatusOr<Reply> Nearest(const ReceivedMessage& message,
                                const std::function<bool()>& cancelled);

  // On a stream: a refusal is a reply.
  void LookupOnStream(const ReceivedMessage& message, const Deadline& deadline,
                      std::function<void(Reply)> done);
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
  // The same, when its tables have come to the position that it wants.
  //   bytes  of its message
  void LookupLater(wire::LookupRequest request, int64_t bytes,
                   std::optional<uint64_t> request_id, const Deadline& deadline,
                   std::function<void(absl::StatusOr<Reply>)> done);
  absl::StatusOr<TableHandle> TableOf(const wire::TableLookup& wanted,
                                      size_t index) const;
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
