// A process that pushes what it is told to, and can be killed meanwhile.

#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <optional>
#include <string>

#include "quire/v1/embedding.pb.h"

namespace quire::crash {

struct PushAnswer {
  grpc::Status status;
  v1::ApplyGradientResponse response;
};

// One thread.
class ClientProcess {
 public:
  // Starts this program again, with --write. Throws std::runtime_error.
  explicit ClientProcess(const std::string& address);
  // Kills it.
  ~ClientProcess();
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  // It pushes that; then it has an answer, and does nothing before the next.
  void Send(const v1::ApplyGradientRequest& request);
  // Waits for the answer. Nothing: it is dead, and had not told it.
  std::optional<PushAnswer> Receive();

  // kill -9, and waits for its end. What it has told is not lost.
  void Kill();

 private:
  int socket_ = -1;
  pid_t pid_ = -1;
};

// What such a process does: until its parent is gone. An exit code.
int ServeParent(const std::string& address);

}  // namespace quire::crash
