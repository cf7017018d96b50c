#include "client/sessions.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <utility>

#include "absl/time/clock.h"
#include "base/limits.h"

namespace quire {
namespace {

// Nobody waits longer for the end of a client whose server is away.
constexpr absl::Duration kClosePatience = absl::Seconds(1);

}  // namespace

Sessions::~Sessions() {
  v1::CloseSessionRequest request;
  {
    MutexLock lock(mutex_);
    if (session_ == nullptr) {
      return;
    }
    request.set_session_id(session_->id);
  }
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kClosePatience));
  v1::CloseSessionResponse response;
  [[maybe_unused]] const grpc::Status ignored =
      connection_.embedding().CloseSession(&context, request, &response);
}

Sessions::Turn Sessions::Enter(Place& place, grpc::CompletionQueue& queue,
                               absl::Time deadline, QueueEvent& event) {
  MutexLock lock(mutex_);
  place.turn_ = Turn::kWait;
  place.alarm_.reset();
  waiting_.push_back(&place);
  GiveTurns();
  if (place.turn_ == Turn::kWait) {
    place.alarm_.emplace();
    place.alarm_->Set(&queue, absl::ToChronoTime(deadline), event.tag());
  }
  return place.turn_;
}

Sessions::Turn Sessions::TurnOf(Place& place) {
  MutexLock lock(mutex_);
  if (place.turn_ == Turn::kWait) {
    waiting_.remove(&place);
  }
  return place.turn_;
}

void Sessions::Opened(Place& place, std::string id) {
  MutexLock lock(mutex_);
  is_opening_ = false;
  session_ = std::make_shared<Session>(Session{.id = std::move(id)});
  place.ticket_ = NextTicket();
  place.turn_ = Turn::kSend;
  GiveTurns();
}

void Sessions::NotOpened() {
  MutexLock lock(mutex_);
  is_opening_ = false;
  GiveTurns();
}

void Sessions::Resolve(const Ticket& ticket) {
  MutexLock lock(mutex_);
  ticket.session->unresolved.erase(ticket.sequence);
  GiveTurns();
}

void Sessions::Expire(const Ticket& ticket) {
  MutexLock lock(mutex_);
  if (session_ == ticket.session) {
    session_ = nullptr;
  }
  GiveTurns();
}

Sessions::Ticket Sessions::NextTicket() {
  const Ticket ticket = {.session = session_,
                         .sequence = session_->next_sequence++};
  session_->unresolved.insert(ticket.sequence);
  return ticket;
}

bool Sessions::HasRoom() const {
  return session_->unresolved.empty() ||
         session_->next_sequence - *session_->unresolved.begin() < kPushWindow;
}

void Sessions::GiveTurns() {
  while (!waiting_.empty()) {
    Place& place = *waiting_.front();
    if (session_ != nullptr) {
      if (!HasRoom()) {
        return;
      }
      place.ticket_ = NextTicket();
      place.turn_ = Turn::kSend;
    } else {
      if (is_opening_) {
        return;
      }
      is_opening_ = true;
      place.turn_ = Turn::kOpen;
    }
    waiting_.pop_front();
    if (place.alarm_) {
      place.alarm_->Cancel();
    }
  }
}

}  // namespace quire
