#include "server/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/status.h"
#include "server/call.h"
#include "server/errors.h"
#include "server/message.h"

namespace quire {

// One watcher. It lives from the moment it waits for a call until the call is
// over and no operation of it is under way. What it does next is decided under
// the service's mutex; the tags come back on the queue's thread.
class HealthService::WatchCall final : public Event {
 public:
  WatchCall(HealthService& health, grpc::ServerCompletionQueue* queue)
      : health_(health), queue_(queue), writer_(&context_) {
    context_.AsyncNotifyWhenDone(&when_done_);
    health_.methods_.RequestWatch(&context_, &request_, &writer_, queue_,
                                  queue_, this);
  }

  // The end of an operation, or the beginning of the call.
  void Done(bool ok) override {
    if (!has_begun_) {
      Begin(ok);
      return;
    }
    MutexLock lock(health_.mutex_);
    is_busy_ = false;
    GoOn();
  }

  // Does what is to be done next, unless something is under way. May delete
  // this.
  void GoOn() QUIRE_REQUIRES(health_.mutex_) {
    if (is_busy_) {
      return;
    }
    if (is_over_) {
      health_.watchers_.erase(this);
      health_.changed_.NotifyAll();
      delete this;
      return;
    }
    if (has_finished_) {
      return;
    }
    const Response::ServingStatus now =
        is_known_ ? health_.status() : Response::SERVICE_UNKNOWN;
    if (!refusal_.ok()) {
      Finish(refusal_);
    } else if (told_ != now) {
      told_ = now;
      Response response;
      response.set_status(now);
      is_busy_ = true;
      writer_.Write(Serialize(response), this);
    } else if (health_.stopping_) {
      Finish(Error(Reason::kStopping, "the server is stopping"));
    }
  }

 private:
  // Told when the call is over, by the client's will or ours.
  class WhenDone final : public Event {
   public:
    explicit WhenDone(WatchCall& call) : call_(call) {}
    void Done(bool) override {
      MutexLock lock(call_.health_.mutex_);
      call_.is_over_ = true;
      call_.GoOn();
    }

   private:
    WatchCall& call_;
  };

  void Begin(bool ok) {
    if (!ok) {  // the server stops: no call came
      delete this;
      return;
    }
    has_begun_ = true;
    new WatchCall(health_, queue_);  // the next one
    Request request;
    refusal_ = ParseInto(ReceivedMessage(request_), request);
    is_known_ = health_.Has(request.service());
    MutexLock lock(health_.mutex_);
    health_.watchers_.insert(this);
    is_busy_ = false;
    GoOn();
  }

  void Finish(const absl::Status& status) {
    has_finished_ = true;
    is_busy_ = true;
    writer_.Finish(ToGrpcStatus(status), this);
  }

  HealthService& health_;
  grpc::ServerCompletionQueue* const queue_;

  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  grpc::ServerAsyncWriter<grpc::ByteBuffer> writer_;
  WhenDone when_done_{*this};

  // Of the queue's thread.
  bool has_begun_ = false;
  // Constant once it has begun.
  absl::Status refusal_;
  bool is_known_ = false;

  // Under the service's mutex.
  std::optional<Response::ServingStatus> told_;
  // An operation is under way; the first is the call's beginning.
  bool is_busy_ = true;
  bool has_finished_ = false;
  bool is_over_ = false;
};

bool HealthService::Has(std::string_view service) const {
  return service.empty() ||
         std::ranges::find(services_, service) != services_.end();
}

HealthService::Response::ServingStatus HealthService::status() const {
  return stopping_ ? Response::NOT_SERVING : Response::SERVING;
}

absl::StatusOr<HealthService::Response> HealthService::Check(
    const Request& request) const {
  if (!Has(request.service())) {
    return Error(
        Reason::kNoSuchService,
        fmt::format("there is no service '{}' here", request.service()),
        "service");
  }
  MutexLock lock(mutex_);
  Response response;
  response.set_status(status());
  return response;
}

void HealthService::ServeWatch(grpc::ServerCompletionQueue* queue) {
  new WatchCall(*this, queue);
}

void HealthService::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  for (auto next = watchers_.begin(); next != watchers_.end();) {
    WatchCall* const watcher = *next++;  // it may go, and its place with it
    watcher->GoOn();
  }
}

void HealthService::WaitUntilUnwatched() {
  MutexLock lock(mutex_);
  while (!watchers_.empty()) {
    changed_.Wait(mutex_);
  }
}

}  // namespace quire
