#include "client/connection.h"

#include <grpc/fork.h>
#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "base/limits.h"

namespace quire {
namespace {

// The feature of a server that has OpenSession.
constexpr std::string_view kSessions = "sessions";

// gRPC 1.51 joins its threads before a fork, and would wait for ever for one
// that is still clearing away a call. By then it has.
constexpr absl::Duration kRestBeforeFork = absl::Milliseconds(50);

void BeforeFork() {
  absl::SleepFor(kRestBeforeFork);
  grpc_prefork();
}

// gRPC has handlers for forks, but Debian's does not register them. They do
// nothing, and say so with each fork, unless the environment allows them.
void SurviveForks() {
  const char* const allowed = std::getenv("GRPC_ENABLE_FORK_SUPPORT");
  if (allowed != nullptr && std::string_view(allowed) == "1") {
    pthread_atfork(&BeforeFork, &grpc_postfork_parent, &grpc_postfork_child);
  }
}

// gRPC shuts down with the last of its objects, and then waits for a thread
// that, after a large send, polls for up to ten more seconds. A client that
// went away would wait with it: keep gRPC up until the process ends.
void KeepGrpcUp() {
  [[maybe_unused]] static const bool kept = [] {
    grpc_init();
    SurviveForks();
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
  has_sessions_ = std::ranges::count(info_.features(), kSessions) > 0;
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
