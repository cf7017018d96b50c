#include "client/push_operation.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/errors.h"
#include "client/push.h"

namespace quire {
namespace {

constexpr char kPath[] = "/quire.v1.EmbeddingService/ApplyGradient";

// A server that forgets sessions as fast as they are opened is not asked for
// ever.
constexpr int kExpiredMax = 3;

constexpr size_t kSessionIdBytes = 16;

constexpr std::string_view kNotApplied = "The push was not applied.";

CallSite PushSite(const Connection& connection, absl::Time deadline) {
  CallSite site = connection.Site("ApplyGradient", deadline);
  site.is_push = true;
  // With a number it is applied once, however often it is sent.
  site.is_repeatable = connection.has_sessions();
  return site;
}

}  // namespace

void PushOperation::Start(Connection& connection, Sessions& sessions,
                          grpc::CompletionQueue& queue,
                          grpc::ByteBuffer request, size_t item_count,
                          absl::Time deadline, Done done) {
  // It deletes itself: see End.
  auto* const operation =
      new PushOperation(connection, sessions, queue, std::move(request),
                        item_count, deadline, std::move(done));
  if (connection.has_sessions()) {
    operation->Enter();
  } else {
    operation->Send(operation->request_);
  }
}

PushOperation::PushOperation(Connection& connection, Sessions& sessions,
                             grpc::CompletionQueue& queue,
                             grpc::ByteBuffer request, size_t item_count,
                             absl::Time deadline, Done done)
    : connection_(connection),
      sessions_(sessions),
      queue_(queue),
      request_(std::move(request)),
      item_count_(item_count),
      site_(PushSite(connection, deadline)),
      done_(std::move(done)) {}

void PushOperation::Enter() {
  const Sessions::Turn turn =
      sessions_.Enter(place_, queue_, site_.deadline, *this);
  // If it waits, the event may have come, and this be gone.
  if (turn != Sessions::Turn::kWait) {
    Act(turn);
  }
}

void PushOperation::Arrive(bool /*ok*/) {
  const Sessions::Turn turn = sessions_.TurnOf(place_);
  if (turn == Sessions::Turn::kWait) {
    End(Error(Reason::kDeadline,
              fmt::format("ApplyGradient: pushes before this one were not "
                          "answered by {} until its deadline. {}",
                          site_.server, kNotApplied)));
    return;
  }
  Act(turn);
}

void PushOperation::Act(Sessions::Turn turn) {
  turn == Sessions::Turn::kOpen ? Open() : SendNumbered();
}

void PushOperation::Open() {
  CallSite site = site_;
  site.method = "OpenSession";
  site.is_push = false;
  open_.emplace(
      site, queue_,
      [this](grpc::ClientContext* context, grpc::CompletionQueue* queue) {
        return connection_.embedding().PrepareAsyncOpenSession(
            context, v1::OpenSessionRequest(), queue);
      },
      [this](const absl::Status& status, v1::OpenSessionResponse& response) {
        EndOpen(status, response);
      });
  open_->Start();
}

void PushOperation::EndOpen(const absl::Status& status,
                            const v1::OpenSessionResponse& response) {
  if (status.ok() && response.session_id().size() == kSessionIdBytes) {
    sessions_.Opened(place_, response.session_id());
    SendNumbered();
    return;
  }
  sessions_.NotOpened();
  if (!status.ok()) {
    End(WithSentence(status, kNotApplied));
    return;
  }
  End(Error(
      Reason::kBug,
      fmt::format("the server opened a session with an id of {} bytes; "
                  "they have {}. {}",
                  response.session_id().size(), kSessionIdBytes, kNotApplied)));
}

void PushOperation::SendNumbered() {
  const Sessions::Ticket& ticket = place_.ticket();
  Send(WithPushId(request_, ticket.session->id, ticket.sequence));
}

void PushOperation::Send(grpc::ByteBuffer request) {
  send_.emplace(
      site_, queue_,
      [&stub = connection_.pushes(), request = std::move(request)](
          grpc::ClientContext* context, grpc::CompletionQueue* queue) {
        return stub.PrepareUnaryCall(context, kPath, request, queue);
      },
      [this](const absl::Status& status, v1::ApplyGradientResponse& response) {
        EndSend(status, response);
      });
  send_->Start();
}

void PushOperation::EndSend(const absl::Status& status,
                            const v1::ApplyGradientResponse& response) {
  if (place_.ticket().session != nullptr) {
    if (ReasonOf(status) != Reason::kSessionExpired) {
      sessions_.Resolve(place_.ticket());
    } else {
      sessions_.Expire(place_.ticket());
      // All tries were refused, so that nothing was applied: it is sent again
      // under another number. After one that was not answered this could be a
      // second time.
      if (!send_->was_unanswered() && ++expired_count_ < kExpiredMax) {
        Enter();
        return;
      }
      if (!send_->was_unanswered()) {
        End(WithSentence(status, kNotApplied));
        return;
      }
    }
  }
  if (status.ok()) {
    End(ReadPushReply(response, item_count_));
  } else {
    End(status);
  }
}

void PushOperation::End(absl::StatusOr<Pushed> result) {
  const Done done = std::move(done_);
  delete this;
  done(std::move(result));
}

}  // namespace quire
