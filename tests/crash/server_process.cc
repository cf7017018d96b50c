#include "crash/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace quire::crash {

ServerProcess::ServerProcess(std::vector<std::string> command,
                             const std::string& directory,
                             const std::string& kill_point)
    : port_file_(directory + "/port") {
  std::filesystem::remove(port_file_);
  for (const std::string& more :
       {std::string("--listen"), std::string("127.0.0.1:0"),
        std::string("--port-file"), port_file_}) {
    command.push_back(more);
  }
  std::vector<char*> arguments;
  for (std::string& argument : command) {
    arguments.push_back(argument.data());
  }
  arguments.push_back(nullptr);
  std::string point = "QUIRE_KILL_POINT=" + kill_point;
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.push_back(*variable);
  }
  environment.push_back(point.data());
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const std::string log = directory + "/server.log";
  posix_spawn_file_actions_addopen(&actions, 2, log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int failed = posix_spawn(&pid_, arguments[0], &actions, nullptr,
                                 arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    throw std::runtime_error("cannot start " + command[0]);
  }
}

ServerProcess::~ServerProcess() { Kill(); }

bool ServerProcess::has_ended() {
  if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) {
    pid_ = -1;
  }
  return pid_ < 0;
}

bool ServerProcess::was_killed() {
  return has_ended() && WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL;
}

std::string ServerProcess::WaitForAddress(std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (std::chrono::steady_clock::now() < deadline && !has_ended()) {
    std::string port;
    if (std::ifstream(port_file_) >> port) {
      return "127.0.0.1:" + port;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return "";
}

void ServerProcess::Wait() {
  if (pid_ > 0) {
    waitpid(pid_, &status_, 0);
    pid_ = -1;
  }
}

void ServerProcess::Kill() {
  if (!has_ended()) {
    kill(pid_, SIGKILL);
    Wait();
  }
}

int ServerProcess::Stop() {
  if (!has_ended()) {
    kill(pid_, SIGTERM);
    Wait();
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
}

}  // namespace quire::crash
