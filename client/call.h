// One unary call on a completion queue, tried again while the server advises
// to come back and, if it is repeatable, while no server answers.

#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/status.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/errors.h"
#include "client/queue.h"

namespace quire {

// Whoever polls the queue drives the call, and is told its end.
//
// Thread safety: one thread at a time. An event may arrive on the queue's
// thread before Start has returned on another.
template <typename Response>
class Call final : public QueueEvent {
 public:
  using Reader = grpc::ClientAsyncResponseReader<Response>;
  // Prepares one try. Called again for each: the request is always the same.
  using Prepare = std::function<std::unique_ptr<Reader>(
      grpc::ClientContext*, grpc::CompletionQueue*)>;
  // Called once. The call may be deleted in it, and the response goes with it.
  using Done = std::function<void(absl::Status, Response&)>;

  Call(const CallSite& site, grpc::CompletionQueue& queue, Prepare prepare,
       Done done)
      : site_(site),
        queue_(queue),
        prepare_(std::move(prepare)),
        done_(std::move(done)) {}

  void Start() {
    reader_.reset();
    context_.emplace();
    context_->set_deadline(absl::ToChronoTime(site_.deadline));
    reader_ = prepare_(&*context_, &queue_);
    reader_->StartCall();
    // Last: the event may have come, and this be gone, when it returns.
    reader_->Finish(&response_, &status_, tag());
  }

  // Ends it soon, with CANCELLED or the error that was to be tried again.
  void Cancel() {
    cancelled_ = true;
    if (alarm_) {
      alarm_->Cancel();
    } else if (context_) {
      context_->TryCancel();
    }
  }

  // An earlier try was not answered.
  bool was_unanswered() const { return site_.was_unanswered; }

  void Arrive(bool /*ok*/) override {
    if (alarm_) {
      alarm_.reset();
      cancelled_ ? Finish(std::move(refusal_)) : Start();
      return;
    }
    if (status_.ok()) {
      Finish(absl::OkStatus());
      return;
    }
    if (!IsCutOff()) {
      refusal_ = FromGrpc(status_, site_);
    }
    const std::optional<absl::Duration> delay =
        RetryDelay(status_, refusal_, site_, retry_count_++);
    if (cancelled_ || !delay) {
      Finish(std::move(refusal_));
      return;
    }
    site_.was_unanswered |= IsUnanswered(status_, site_);
    alarm_.emplace();
    alarm_->Set(&queue_, absl::ToChronoTime(absl::Now() + *delay), tag());
  }

 private:
  // The deadline came in the middle of one more try: what the try before met
  // says more than that.
  bool IsCutOff() const {
    return retry_count_ > 0 &&
           status_.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  }

  void Finish(absl::Status status) {
    Done done = std::move(done_);
    done(std::move(status), response_);
  }

  CallSite site_;
  grpc::CompletionQueue& queue_;
  const Prepare prepare_;
  Done done_;
  bool cancelled_ = false;

  // Of the current try. The reader lies in memory of the context's.
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<Reader> reader_;
  grpc::Status status_;
  Response response_;

  int retry_count_ = 0;
  // Set while waiting for the next try.
  std::optional<grpc::Alarm> alarm_;
  absl::Status refusal_;
};

}  // namespace quire
