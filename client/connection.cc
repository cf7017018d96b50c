#include "client/connection.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <utility>

#include "absl/time/clock.h"
#include "base/limits.h"

namespace quire {
namespace {

// gRPC shuts down with the last of its objects, and then waits for a thread
// that, after a large send, polls for up to ten more seconds. A client that
// went away would wait with it: keep gRPC up until the process ends.
void KeepGrpcUp() {
  [[maybe_unused]] static const bool kept = [] {
    grpc_init();
    return true;
  }();
}

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address) {
  KeepGrpcUp();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(
      static_cast<int>(kLookupReplyBytesMax + kMessageBytesSlack));
  // Clients of one process do not share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A server that is back is found within a second, not two minutes.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace

Connection::Connection(std::string server)
    : address_(std::move(server)),
      channel_(OpenChannel(address_)),
      embedding_(channel_),
      tables_(channel_),
      server_service_(channel_),
      raw_(channel_),
      pushes_(channel_) {}

void Connection::Learn(v1::GetServerInfoResponse info) {
  info_ = std::move(info);
  v1::ServerLimits& limits = *info_.mutable_limits();
  if (limits.ids_per_request() <= 0) {
    limits.set_ids_per_request(kIdsPerRequestMax);
  }
  if (limits.tables_per_request() <= 0) {
    limits.set_tables_per_request(kTablesPerRequestMax);
  }
  if (limits.lookup_reply_bytes() <= 0) {
    limits.set_lookup_reply_bytes(kLookupReplyBytesMax);
  }
  if (limits.push_bytes() <= 0) {
    limits.set_push_bytes(kPushBytesMax);
  }
}

CallSite Connection::Site(std::string_view method, absl::Time deadline) const {
  return {.method = method,
          .server = address_,
          .server_version = info_.version(),
          .start = absl::Now(),
          .deadline = deadline};
}

}  // namespace quire
