#include "crash/client_process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

#include "crash/connection.h"
#include "quire/v1/embedding.grpc.pb.h"

namespace quire::crash {
namespace {

// Where the process finds its parent.
constexpr int kParent = STDIN_FILENO;

// What goes between the two: a number, how many bytes follow, and they.
struct Header {
  uint32_t code = 0;
  uint32_t size = 0;
};

bool SendAll(int socket, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(socket, bytes, size, MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    bytes += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool SendFrame(int socket, uint32_t code, const std::string& bytes) {
  const Header header = {code, static_cast<uint32_t>(bytes.size())};
  std::string frame(reinterpret_cast<const char*>(&header), sizeof(header));
  frame += bytes;
  return SendAll(socket, frame.data(), frame.size());
}

bool ReceiveAll(int socket, void* bytes, size_t size) {
  return size == 0 ||
         recv(socket, bytes, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

std::optional<std::pair<uint32_t, std::string>> ReceiveFrame(int socket) {
  Header header;
  if (!ReceiveAll(socket, &header, sizeof(header))) {
    return std::nullopt;
  }
  std::string bytes(header.size, '\0');
  if (!ReceiveAll(socket, bytes.data(), bytes.size())) {
    return std::nullopt;
  }
  return std::pair(header.code, std::move(bytes));
}

}  // namespace

ClientProcess::ClientProcess(const std::string& address) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    throw std::runtime_error("no sockets for a client");
  }
  std::string program = "/proc/self/exe";
  std::string option = "--write";
  std::string where = address;
  char* const arguments[] = {program.data(), option.data(), where.data(),
                             nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, sockets[1], kParent);
  const int failed = posix_spawn(&pid_, program.c_str(), &actions, nullptr,
                                 arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(sockets[1]);
  socket_ = sockets[0];
  if (failed != 0) {
    close(socket_);
    throw std::runtime_error("cannot start a client");
  }
}

ClientProcess::~ClientProcess() {
  Kill();
  close(socket_);
}

void ClientProcess::Send(const v1::ApplyGradientRequest& request) {
  // If it is dead, there will be no answer.
  SendFrame(socket_, 0, request.SerializeAsString());
}

std::optional<PushAnswer> ClientProcess::Receive() {
  const auto frame = ReceiveFrame(socket_);
  if (!frame.has_value()) {
    return std::nullopt;
  }
  const auto code = static_cast<grpc::StatusCode>(frame->first);
  PushAnswer answer;
  if (code != grpc::StatusCode::OK) {
    answer.status = grpc::Status(code, frame->second);
  } else if (!answer.response.ParseFromString(frame->second)) {
    throw std::runtime_error("a client tells what is no answer");
  }
  return answer;
}

void ClientProcess::Kill() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
}

int ServeParent(const std::string& address) {
  auto stub = v1::EmbeddingService::NewStub(Connect(address));
  while (const auto frame = ReceiveFrame(kParent)) {
    v1::ApplyGradientRequest request;
    if (!request.ParseFromString(frame->second)) {
      return 2;
    }
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ApplyGradientResponse response;
    const grpc::Status status =
        stub->ApplyGradient(&context, request, &response);
    if (!SendFrame(kParent, static_cast<uint32_t>(status.error_code()),
                   status.ok() ? response.SerializeAsString()
                               : status.error_message())) {
      return 0;
    }
  }
  return 0;
}

}  // namespace quire::crash
