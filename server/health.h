// grpc.health.v1: does the server serve? Asked once (Check), or watched.
//
// On the server's own queues: gRPC's built-in service has threads of its own,
// which take events away from them (docs/decisions/0004).
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <grpcpp/grpcpp.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace quire {

class HealthService {
 public:
  using Protocol = grpc::health::v1::Health;
  using Methods = Protocol::WithRawMethod_Check<
      Protocol::WithRawMethod_Watch<Protocol::Service>>;
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;

  //   services  those that can be asked for, besides "": the server
  explicit HealthService(std::vector<std::string> services)
      : services_(std::move(services)) {}

  Methods& methods() { return methods_; }

  // NOT_FOUND for a service that is not here.
  absl::StatusOr<Response> Check(const Request& request) const;

  // Waits for calls of Watch on `queue`, for as long as the server runs.
  void ServeWatch(grpc::ServerCompletionQueue* queue);

  // From here on the status is SERVING, until Stop; before, it is NOT_SERVING.
  // Watchers are told.
  void Serve();
  // From here on the status is NOT_SERVING. Watchers are told, and their
  // streams end.
  void Stop();
  // Waits until nobody watches.
  void WaitUntilUnwatched();

 private:
  class WatchCall;

  // Does what a watcher needs next, unless something of it is under way. May
  // delete it.
  void GoOn(WatchCall& watcher) QUIRE_REQUIRES(mutex_);
  bool Has(std::string_view service) const;
  Response::ServingStatus status() const QUIRE_REQUIRES(mutex_);
  void TellWatchers() QUIRE_REQUIRES(mutex_);

  // Constant after construction.
  const std::vector<std::string> services_;
  Methods methods_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool serving_ QUIRE_GUARDED_BY(mutex_) = false;
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  std::set<WatchCall*> watchers_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire
