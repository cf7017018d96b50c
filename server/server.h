// The server: services on a port, from Start to an orderly Stop.
//
// Thread safety: one thread owns a Server; GetStats may be called from any.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/limits.h"
#include "engine/engine.h"

namespace quire {

struct ServerOptions {
  // host:port or unix:path; port 0: any free one.
  std::string listen = "127.0.0.1:7847";
  // Polling threads, and as many workers.
  int thread_count = 2;
  // Memory that tables may take, in bytes.
  int64_t table_bytes_max = int64_t{1} << 30;
  // Memory that requests and replies in flight may take, in bytes.
  int64_t inflight_bytes_max = int64_t{1} << 30;
  // A push, in bytes.
  int64_t push_bytes_max = kPushBytesMax;
};

class Server {
 public:
  // Listens and serves. INVALID_ARGUMENT or UNAVAILABLE if the address cannot
  // be listened on.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options);

  // As Stop with no grace.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // "127.0.0.1:41234": where it really listens.
  const std::string& address() const;
  int port() const;
  Engine& engine();

  // Health says NOT_SERVING, new calls are refused (UNAVAILABLE, STOPPING),
  // streams end; calls under way have `grace` to end and are then cancelled.
  // Then the port closes. Returns when all is over; that may take some seconds
  // more, but no more than `grace`, while clients let go. Once.
  void Stop(absl::Duration grace);

 private:
  class Core;
  explicit Server(std::unique_ptr<Core> core);

  const std::unique_ptr<Core> core_;
};

// "0.1.0"
std::string_view Version();

}  // namespace quire
