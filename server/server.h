// The server: services on a port, from Start to an orderly Stop.
//
// Thread safety: one thread owns a Server; GetStats may be called from any.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/limits.h"
#include "engine/engine.h"
#include "journal/posix_files.h"

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
  // Where LOGGED tables are kept; empty: all are MEMORY tables.
  std::string data_dir;
  // Refuse a data directory in which nothing has been.
  bool require_data = false;
  // Where backups are made, each under its name: a directory that is there,
  // outside of `data_dir`. Empty: none are made.
  std::string backup_dir;
  // The directory at a path.
  std::function<absl::StatusOr<std::unique_ptr<journal::Directory>>(
      const std::string& path)>
      open_directory = journal::OpenDirectory;
  // Called once, when what the data directory has is recovered, or cannot be:
  // see WaitUntilReady. On a thread that is not to stop the server.
  std::function<void(const absl::Status&)> on_recovered;
  journal::LogOptions log;
  SnapshotPolicy snapshots;
};

class Server {
 public:
  // Takes the data directory, and listens. What the directory has is recovered
  // meanwhile; until that is done health says NOT_SERVING, and methods answer
  // RECOVERING (UnaryMethod::while_recovering has the exceptions).
  // INVALID_ARGUMENT or UNAVAILABLE if the address cannot be listened on;
  // errors of OpenBackupRoot, before anything is made; of DataDirectory::Open.
  static absl::StatusOr<std::unique_ptr<Server>> Listen(
      const ServerOptions& options);
  // The same, and waits until it serves.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options);

  // As Stop with no grace.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // OK when the server serves; errors of Engine::Recover. Such a server is of
  // no use.
  absl::Status WaitUntilReady() const;

  // "127.0.0.1:41234": where it really listens.
  const std::string& address() const;
  int port() const;
  // Once the server is ready.
  Engine& engine();
  // Those that the start passed over: why, for people.
  const std::vector<std::string>& damaged_snapshots() const;

  // Health says NOT_SERVING, new calls are refused (UNAVAILABLE, STOPPING),
  // streams end; calls under way have `grace` to end and are then cancelled. A
  // recovery ends at once: what is on disk stays as it was.
  // Then the port closes. Returns when all is over; that may take some seconds
  // more, but no more than `grace`, while clients let go. Once. What is left of
  // `grace` is for MEMORY tables to be saved, with a data directory: OK, or why
  // they are not; they are then as they were saved before.
  absl::Status Stop(absl::Duration grace);

 private:
  class Core;
  explicit Server(std::unique_ptr<Core> core);

  const std::unique_ptr<Core> core_;
};

// "0.1.0"
std::string_view Version();

}  // namespace quire
