// What a Client holds: the connection, the queues, and the calls on them.

#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/call.h"
#include "client/client.h"
#include "client/connection.h"
#include "client/queue.h"
#include "client/sessions.h"

namespace quire {

// Thread safety: all functions may be called from any thread.
class Client::Core {
 public:
  explicit Core(ClientOptions options);

  const ClientOptions& options() const { return options_; }
  Connection& connection() { return *connection_; }
  // For streams, which may outlive the client.
  std::shared_ptr<Connection> shared_connection() { return connection_; }
  QueuePool& queues() { return queues_; }
  BackgroundQueue& background() { return background_; }

  Sessions& sessions() { return sessions_; }

  // The process that made it; in others it must not be used, nor ended.
  pid_t pid() const { return pid_; }

  absl::Time DeadlineOf(std::optional<absl::Time> deadline) const;
  absl::Time DeadlineOf(const CallOptions& call) const {
    return DeadlineOf(call.deadline);
  }
  LookupOptions WithDeadline(LookupOptions lookup) const {
    lookup.deadline = DeadlineOf(lookup.deadline);
    return lookup;
  }

  // One blocking call by way of `prepare`.
  template <typename Response>
  absl::StatusOr<Response> Wait(const CallSite& site,
                                typename Call<Response>::Prepare prepare);

  // One blocking call of a generated stub:
  //   Unary("GetTable", connection().tables(),
  //         &v1::TableService::Stub::PrepareAsyncGetTable, request, deadline)
  // TOO_LARGE if the request is over the server's limit on messages.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Unary(
      std::string_view method, Stub& stub,
      std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (
          Stub::*prepare)(grpc::ClientContext*, const Request&,
                          grpc::CompletionQueue*),
      const Request& request, absl::Time deadline) {
    return Unary(connection_->Site(method, deadline), stub, prepare, request);
  }

  // The same for a method that changes nothing: tried again while no server
  // answers.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Read(
      std::string_view method, Stub& stub,
      std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (
          Stub::*prepare)(grpc::ClientContext*, const Request&,
                          grpc::CompletionQueue*),
      const Request& request, absl::Time deadline) {
    CallSite site = connection_->Site(method, deadline);
    site.is_repeatable = true;
    return Unary(site, stub, prepare, request);
  }

  // A table, as the client remembers it.
  struct KnownTable {
    TableUid uid;
    int64_t dim = 0;
  };
  // Asks the server for a table that it has not asked for before.
  absl::StatusOr<KnownTable> Know(std::string_view table, absl::Time deadline);
  void Forget(std::string_view table);

  // Looks `item` up, into memory of its own: shape + [dim]. Its dim is asked
  // for, once more if the table has been replaced.
  absl::StatusOr<FloatTensor> LookupNew(Client& client, LookupItem item,
                                        const Shape& shape,
                                        LookupOptions lookup);

 private:
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Unary(
      const CallSite& site, Stub& stub,
      std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (
          Stub::*prepare)(grpc::ClientContext*, const Request&,
                          grpc::CompletionQueue*),
      const Request& request);
  absl::Status CheckSize(std::string_view method, size_t bytes) const;

  // Constant after construction.
  const pid_t pid_;
  const ClientOptions options_;
  const std::shared_ptr<Connection> connection_;

  Mutex known_mutex_;
  absl::flat_hash_map<std::string, KnownTable> known_
      QUIRE_GUARDED_BY(known_mutex_);

  // Ends after all pushes.
  Sessions sessions_;

  // Last, so that they end first, and with them all calls.
  QueuePool queues_;
  BackgroundQueue background_;
};

template <typename Response>
absl::StatusOr<Response> Client::Core::Wait(
    const CallSite& site, typename Call<Response>::Prepare prepare) {
  QueuePool::Lease lease = queues_.Take();
  std::optional<absl::StatusOr<Response>> result;
  Call<Response> call(site, lease.queue(), std::move(prepare),
                      [&result](absl::Status status, Response& response) {
                        if (status.ok()) {
                          result = std::move(response);
                        } else {
                          result = std::move(status);
                        }
                      });
  call.Start();
  while (!result) {
    PollOnce(lease.queue());
  }
  return *std::move(result);
}

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Client::Core::Unary(
    const CallSite& site, Stub& stub,
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (Stub::*prepare)(
        grpc::ClientContext*, const Request&, grpc::CompletionQueue*),
    const Request& request) {
  QUIRE_RETURN_IF_ERROR(CheckSize(site.method, request.ByteSizeLong()));
  return Wait<Response>(
      site, [&](grpc::ClientContext* context, grpc::CompletionQueue* queue) {
        return (stub.*prepare)(context, request, queue);
      });
}

}  // namespace quire
