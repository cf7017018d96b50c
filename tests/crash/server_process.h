// A quire-server of a test's own, which can be killed at any moment.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace quire::crash {

// One thread.
class ServerProcess {
 public:
  // Starts `command`, to which --listen and --port-file are added.
  //   kill_point  where it kills itself: base/faults.h; "": nowhere
  ServerProcess(std::vector<std::string> command, const std::string& directory,
                const std::string& kill_point = "");
  // Kills it, if it still runs.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Waits until it listens: "127.0.0.1:PORT", or "" if it has ended, or does
  // not within `timeout`.
  std::string WaitForAddress(std::chrono::seconds timeout);

  // kill -9, and waits for its end.
  void Kill();
  // SIGTERM; its exit code, or -1 if a signal ended it.
  int Stop();

  bool has_ended();
  // It has ended, by SIGKILL.
  bool was_killed();

 private:
  void Wait();

  const std::string port_file_;
  pid_t pid_ = -1;
  int status_ = 0;
};

}  // namespace quire::crash
