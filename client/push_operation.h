// A push under way: its place among the client's pushes, its number, its tries.

#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/call.h"
#include "client/client.h"
#include "client/connection.h"
#include "client/queue.h"
#include "client/sessions.h"
#include "quire/v1/embedding.pb.h"

namespace quire {

// One call of Client::ApplyGradient, on a queue: whoever polls the queue drives
// it.
//
//            ┌─ kWait ─┐                        SESSION_EXPIRED, and every try
//            ▼         │                        was answered
//   Enter ─► turn ─────┴─ kSend ─► Send ─► outcome ──► Enter
//              └─ kOpen ─► Open ───┘         └──► End
//
// A server without sessions gets the push at once, without a number.
//
// Thread safety: created on one thread, its events arrive on one other.
class PushOperation final : private QueueEvent {
 public:
  using Done = std::function<void(absl::StatusOr<Pushed>)>;

  // Starts a push. It lives until it has called `done`, once, on the thread
  // that polls `queue`; the three others live as long.
  //   request     an ApplyGradientRequest without push_id
  //   item_count  its tables
  static void Start(Connection& connection, Sessions& sessions,
                    grpc::CompletionQueue& queue, grpc::ByteBuffer request,
                    size_t item_count, absl::Time deadline, Done done);

 private:
  PushOperation(Connection& connection, Sessions& sessions,
                grpc::CompletionQueue& queue, grpc::ByteBuffer request,
                size_t item_count, absl::Time deadline, Done done);

  // Its turn has come, or its deadline.
  void Arrive(bool ok) override;

  // Each starts what comes next, and this may be gone when it returns.
  void Enter();
  void Act(Sessions::Turn turn);
  void Open();
  void Send(grpc::ByteBuffer request);
  void SendNumbered();
  void EndOpen(const absl::Status& status,
               const v1::OpenSessionResponse& response);
  void EndSend(const absl::Status& status,
               const v1::ApplyGradientResponse& response);
  void End(absl::StatusOr<Pushed> result);

  // Constant after construction.
  Connection& connection_;
  Sessions& sessions_;
  grpc::CompletionQueue& queue_;
  const grpc::ByteBuffer request_;
  const size_t item_count_;
  const CallSite site_;

  Done done_;
  Sessions::Place place_;
  // Sessions that were found expired.
  int expired_count_ = 0;
  std::optional<Call<v1::OpenSessionResponse>> open_;
  std::optional<Call<v1::ApplyGradientResponse>> send_;
};

}  // namespace quire
