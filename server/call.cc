#include "server/call.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <utility>

#include "base/status.h"
#include "server/errors.h"

namespace quire {
namespace {

constexpr int64_t kBusyRetryMs = 100;

absl::Status TooManyWaiting(size_t waiting) {
  return WithRetryAfterMs(
      Error(Reason::kBusy,
            fmt::format("{} requests wait for a worker; try again", waiting)),
      kBusyRetryMs);
}

absl::Status DeadlineHasPassed() {
  return Error(Reason::kDeadline,
               "the deadline had passed before work began; nothing was done");
}

Deadline DeadlineOf(const grpc::ServerContext& context) {
  // gRPC's "for ever", and what may as well be: sums of it must not overflow.
  constexpr std::chrono::hours kForEver{24 * 365};
  const auto now = std::chrono::system_clock::now();
  if (context.deadline() > now + kForEver) {
    return std::nullopt;
  }
  return std::chrono::steady_clock::now() + (context.deadline() - now);
}

bool IsPast(const grpc::ServerContext& context) {
  return context.deadline() <= std::chrono::system_clock::now();
}

// Runs `work` here or on a worker.
absl::Status Dispatch(bool is_inline, CallHost& host,
                      std::function<void()> work) {
  if (is_inline) {
    work();
    return absl::OkStatus();
  }
  const size_t waiting = host.workers.queue_size();
  if (waiting >= host.waiting_max) {
    return TooManyWaiting(waiting);
  }
  host.workers.Post(std::move(work));
  return absl::OkStatus();
}

// One unary call: waiting -> working -> sending -> gone.
class UnaryCall final : public Event {
 public:
  UnaryCall(const UnaryMethod& method, CallHost& host,
            grpc::ServerCompletionQueue* queue)
      : method_(method), host_(host), queue_(queue), responder_(&context_) {
    if (IsWatched()) {
      context_.AsyncNotifyWhenDone(&when_done_);
    }
    method_.request(&context_, &request_, &responder_, queue_, this);
  }

  void Done(bool ok) override {
    if (is_sending_) {
      host_.registry.Remove(&context_, is_admitted_);
      reply_.charge.Release();
      Leave();
      return;
    }
    if (!ok) {  // the server stops: no call came
      delete this;
      return;
    }
    is_admitted_ = host_.registry.Add(&context_, /*is_stream=*/false);
    parties_ = IsWatched() ? 2 : 1;
    new UnaryCall(method_, host_, queue_);  // the next one
    absl::Status refused = Admission();
    if (refused.ok()) {
      refused = Dispatch(method_.is_inline, host_, [this] { Work(); });
    }
    if (!refused.ok()) {
      Finish(refused);
    }
  }

 private:
  // Told when the call is over, by the client's will or ours.
  class WhenDone final : public Event {
   public:
    explicit WhenDone(UnaryCall& call) : call_(call) {}
    void Done(bool) override {
      call_.cancelled_.store(call_.context_.IsCancelled(),
                             std::memory_order_relaxed);
      call_.Leave();
    }

   private:
    UnaryCall& call_;
  };

  // Whether WhenDone comes.
  bool IsWatched() const { return !method_.is_inline || method_.may_wait; }

  absl::Status Admission() const {
    if (!is_admitted_ && !method_.while_stopping) {
      return IsStopping();
    }
    return method_.while_recovering ? absl::OkStatus()
                                    : host_.readiness.Check();
  }

  void Work() {
    if (IsPast(context_)) {
      Finish(DeadlineHasPassed());
      return;
    }
    message_.emplace(request_);
    bytes_received_ = message_->size();
    // The answer may come on another thread, and the call be gone when this
    // returns.
    method_.handle(
        *message_,
        {.is_cancelled =
             [this] { return cancelled_.load(std::memory_order_relaxed); },
         .deadline = DeadlineOf(context_)},
        [this](absl::StatusOr<Reply> reply) { Finish(std::move(reply)); });
  }

  void Finish(absl::StatusOr<Reply> reply) {
    is_sending_ = true;
    if (!reply.ok()) {
      method_.counters.Count(false, bytes_received_, 0);
      responder_.FinishWithError(ToGrpcStatus(reply.status()), this);
      return;
    }
    reply_ = *std::move(reply);
    method_.counters.Count(true, bytes_received_,
                           static_cast<int64_t>(reply_.message.Length()));
    responder_.Finish(reply_.message, grpc::Status::OK, this);
  }

  // The last party deletes the call.
  void Leave() {
    if (parties_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete this;
    }
  }

  const UnaryMethod& method_;
  CallHost& host_;
  grpc::ServerCompletionQueue* const queue_;

  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  UnaryMethod::Responder responder_;
  WhenDone when_done_{*this};

  std::optional<ReceivedMessage> message_;
  Reply reply_;
  int64_t bytes_received_ = 0;
  bool is_admitted_ = false;
  bool is_sending_ = false;
  // Events that are still to come: the end of sending, and WhenDone.
  std::atomic<int> parties_ = 0;
  // Relaxed: a hint.
  std::atomic<bool> cancelled_ = false;
};

// One stream: one message at a time is read, handled and, if there is an
// answer, written. While the answer is written the client's next message waits
// in the transport, whose flow control bounds what a client can pile up here.
class StreamCall final : public Event {
 public:
  StreamCall(const StreamMethod& method, CallHost& host,
             grpc::ServerCompletionQueue* queue)
      : method_(method), host_(host), queue_(queue), stream_(&context_) {
    method_.request(&context_, &message_, &stream_, queue_, this);
  }

  void Done(bool ok) override {
    switch (state_) {
      case State::kWaiting:
        if (!ok) {
          delete this;
          return;
        }
        Begin();
        return;
      case State::kReading:
        has_ended_ = !ok;
        if (has_ended_ && !has_written_) {
          AskWhetherItIsBroken();
        } else {
          Continue();
        }
        return;
      case State::kAsking:
        if (ok) {
          Continue();
        } else {
          Finish(Error(Reason::kCancelled, "the client has gone"));
        }
        return;
      case State::kWriting:
        reply_ = Reply{};
        if (!ok) {
          Finish(Error(Reason::kCancelled, "the client has gone"));
        } else if (has_ended_) {
          Continue();
        } else {
          Read();
        }
        return;
      case State::kFinishing:
        host_.registry.Remove(&context_, is_admitted_);
        delete this;
        return;
    }
  }

 private:
  enum class State { kWaiting, kReading, kAsking, kWriting, kFinishing };

  void Begin() {
    new StreamCall(method_, host_, queue_);
    is_admitted_ = host_.registry.Add(&context_, /*is_stream=*/true);
    absl::Status refused = is_admitted_ ? absl::OkStatus() : IsStopping();
    if (refused.ok() && !method_.while_recovering) {
      refused = host_.readiness.Check();
    }
    if (!refused.ok()) {
      Finish(refused);
      return;
    }
    handler_ = method_.open(DeadlineOf(context_));
    if (method_.brings_first) {
      Continue();
    } else {
      Read();
    }
  }

  void Read() {
    state_ = State::kReading;
    message_.Clear();
    stream_.Read(&message_, this);
  }

  // A read fails at the end of what the client sends, and also when the stream
  // is broken or cancelled: half of an import must not be taken for a whole
  // one. On a broken stream nothing can be sent, not even the headers.
  void AskWhetherItIsBroken() {
    state_ = State::kAsking;
    stream_.SendInitialMetadata(this);
  }

  void Continue() {
    const absl::Status refused =
        Dispatch(method_.is_inline, host_, [this] { Work(); });
    if (!refused.ok()) {
      Finish(refused);
    }
  }

  void Work() {
    if (has_ended_) {
      Take(0, handler_->TakeEnd());
      return;
    }
    taken_.emplace(message_);
    // The answer may come on another thread, and the call be gone when this
    // returns.
    handler_->Take(*taken_, [this, received = taken_->size()](
                                absl::StatusOr<std::optional<Reply>> answer) {
      Take(received, std::move(answer));
    });
  }

  void Take(int64_t received, absl::StatusOr<std::optional<Reply>> answer) {
    taken_.reset();
    if (!answer.ok()) {
      method_.counters.Count(false, received, 0);
      Finish(answer.status());
    } else if (*answer) {
      reply_ = *std::move(*answer);
      method_.counters.Count(!reply_.is_refusal, received,
                             static_cast<int64_t>(reply_.message.Length()));
      state_ = State::kWriting;
      has_written_ = true;
      stream_.Write(reply_.message, this);
    } else if (has_ended_) {
      Finish(absl::OkStatus());
    } else {
      method_.counters.Count(true, received, 0);
      Read();
    }
  }

  void Finish(const absl::Status& status) {
    state_ = State::kFinishing;
    handler_.reset();
    stream_.Finish(ToGrpcStatus(status), this);
  }

  const StreamMethod& method_;
  CallHost& host_;
  grpc::ServerCompletionQueue* const queue_;

  grpc::ServerContext context_;
  StreamMethod::Stream stream_;
  grpc::ByteBuffer message_;
  std::optional<ReceivedMessage> taken_;
  std::unique_ptr<StreamHandler> handler_;
  Reply reply_;
  State state_ = State::kWaiting;
  bool has_ended_ = false;
  bool has_written_ = false;
  bool is_admitted_ = false;
};

}  // namespace

void MethodCounters::Count(bool is_ok, int64_t received, int64_t sent) {
  (is_ok ? ok : failed).fetch_add(1, std::memory_order_relaxed);
  bytes_received.fetch_add(received, std::memory_order_relaxed);
  bytes_sent.fetch_add(sent, std::memory_order_relaxed);
}

bool CallRegistry::Add(grpc::ServerContext* context, bool is_stream) {
  MutexLock lock(mutex_);
  ++call_count_;
  if (stopping_) {
    return false;
  }
  ++admitted_count_;
  if (is_stream) {
    streams_.insert(context);
  }
  return true;
}

void CallRegistry::Remove(grpc::ServerContext* context, bool was_admitted) {
  MutexLock lock(mutex_);
  streams_.erase(context);
  --call_count_;
  admitted_count_ -= was_admitted ? 1 : 0;
  changed_.NotifyAll();
}

void CallRegistry::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  for (grpc::ServerContext* stream : streams_) {
    stream->TryCancel();
  }
}

void CallRegistry::WaitUntilNoneAdmitted(
    std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (admitted_count_ > 0) {
    if (!changed_.WaitUntil(mutex_, deadline)) {
      return;
    }
  }
}

void CallRegistry::WaitUntilNone() {
  MutexLock lock(mutex_);
  while (call_count_ > 0) {
    changed_.Wait(mutex_);
  }
}

void Serve(const UnaryMethod& method, CallHost& host,
           grpc::ServerCompletionQueue* queue) {
  new UnaryCall(method, host, queue);
}

void Serve(const StreamMethod& method, CallHost& host,
           grpc::ServerCompletionQueue* queue) {
  new StreamCall(method, host, queue);
}

}  // namespace quire
