#include "server/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/limits.h"
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
    health_.GoOn(*this);
  }

  void Write(Response::ServingStatus status) {
    Response response;
    response.set_status(status);
    told_ = status;
    is_busy_ = true;
    writer_.Write(Serialize(response), this);
  }

  void Finish(const absl::Status& status) {
    has_finished_ = true;
    is_busy_ = true;
    writer_.Finish(ToGrpcStatus(status), this);
  }

  // Constant once it has begun: OK, or what is wrong with the request.
  absl::Status refusal_;
  bool is_known_ = false;

  // Under the service's mutex.
  std::optional<Response::ServingStatus> told_;
  // An operation is under way; the first is the call's beginning.
  bool is_busy_ = true;
  bool has_finished_ = false;
  bool is_over_ = false;

 private:
  // Told when the call is over, by the client's will or ours.
  class WhenDone final : public Event {
   public:
    explicit WhenDone(WatchCall& call) : call_(call) {}
    void Done(bool) override {
      MutexLock lock(call_.health_.mutex_);
      call_.is_over_ = true;
      call_.health_.GoOn(call_);
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
    refusal_ =
        ParseInto(ReceivedMessage(request_), request, kProtocolRequestBytesMax);
    is_known_ = health_.Has(request.service());
    MutexLock lock(health_.mutex_);
    health_.watchers_.insert(this);
    is_busy_ = false;
    health_.GoOn(*this);
  }

  HealthService& health_;
  grpc::ServerCompletionQueue* const queue_;

  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  grpc::ServerAsyncWriter<grpc::ByteBuffer> writer_;
  WhenDone when_done_{*this};

  // Of the queue's thread.
  bool has_begun_ = false;
};

void HealthService::GoOn(WatchCall& watcher) {
  if (watcher.is_busy_) {
    return;
  }
  if (watcher.is_over_) {
    watchers_.erase(&watcher);
    changed_.NotifyAll();
    delete &watcher;
    return;
  }
  if (watcher.has_finished_) {
    return;
  }
  const Response::ServingStatus now =
      watcher.is_known_ ? status() : Response::SERVICE_UNKNOWN;
  if (!watcher.refusal_.ok()) {
    watcher.Finish(watcher.refusal_);
  } else if (watcher.told_ != now) {
    watcher.Write(now);
  } else if (stopping_) {
    watcher.Finish(Error(Reason::kStopping, "the server is stopping"));
  }
}

bool HealthService::Has(std::string_view service) const {
  return service.empty() ||
         std::ranges::find(services_, service) != services_.end();
}

HealthService::Response::ServingStatus HealthService::status() const {
  return serving_ && !stopping_ ? Response::SERVING : Response::NOT_SERVING;
}

absl::StatusOr<HealthService::Response> HealthService::Check(
    const Request& request) const {
  if (!Has(request.service())) {
    return Error(
        Reason::kNoSuchService,
        fmt::format("there is no service {} here", Shown(request.service())),
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

void HealthService::Serve() {
  MutexLock lock(mutex_);
  serving_ = true;
  TellWatchers();
}

void HealthService::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  TellWatchers();
}

void HealthService::TellWatchers() {
  for (auto next = watchers_.begin(); next != watchers_.end();) {
    WatchCall* const watcher = *next++;  // it may go, and its place with it
    GoOn(*watcher);
  }
}

void HealthService::WaitUntilUnwatched() {
  MutexLock lock(mutex_);
  while (!watchers_.empty()) {
    changed_.Wait(mutex_);
  }
}

}  // namespace quire
