#include "bench/ratios/process.h"

#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/mutex.h"

extern char** environ;

namespace quire::bench {
namespace {

constexpr int kStartSeconds = 20;

std::string TakePortFileName() {
  static int count = 0;
  return (std::filesystem::temp_directory_path() /
          fmt::format("quire-ratios-{}-{}.port", getpid(), count++))
      .string();
}

// The port in the file, or 0 while there is none.
int ReadPort(const std::string& path) {
  std::ifstream file(path);
  int port = 0;
  return file >> port ? port : 0;
}

struct Ends {
  Mutex mutex;
  std::list<std::function<void()>> list QUIRE_GUARDED_BY(mutex);
};
Ends& AllEnds() {
  static Ends ends;
  return ends;
}

}  // namespace

AtEnd::AtEnd(std::function<void()> clean_up) {
  MutexLock lock(AllEnds().mutex);
  place_ = AllEnds().list.insert(AllEnds().list.begin(), std::move(clean_up));
}

AtEnd::~AtEnd() {
  std::function<void()> clean_up;
  {
    MutexLock lock(AllEnds().mutex);
    clean_up = std::move(*place_);
    AllEnds().list.erase(place_);
  }
  clean_up();
}

void Die(const std::string& sentence) {
  fmt::print(stderr, "ratios: {}\n", sentence);
  MutexLock lock(AllEnds().mutex);
  for (const std::function<void()>& clean_up : AllEnds().list) {
    clean_up();
  }
  std::_Exit(1);
}

void WritePort(const std::string& port_file, int port) {
  const std::string draft = port_file + ".new";
  std::ofstream(draft) << port << "\n";
  if (std::rename(draft.c_str(), port_file.c_str()) != 0) {
    Die(fmt::format("cannot write {}", port_file));
  }
}

Process::Process(std::vector<std::string> argv) {
  const std::string port_file = TakePortFileName();
  std::vector<char*> arguments;
  for (std::string& argument : argv) {
    if (argument == "PORT_FILE") {
      argument = port_file;
    }
    arguments.push_back(argument.data());
  }
  arguments.push_back(nullptr);
  if (posix_spawn(&pid_, argv[0].c_str(), nullptr, nullptr, arguments.data(),
                  environ) != 0) {
    Die(fmt::format("cannot start {}", argv[0]));
  }
  end_.emplace([pid = pid_] {
    kill(pid, SIGTERM);
    waitpid(pid, nullptr, 0);
  });
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::seconds(kStartSeconds);
  while ((port_ = ReadPort(port_file)) == 0) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      Die(fmt::format("{} ended before it listened", argv[0]));
    }
    if (std::chrono::steady_clock::now() > end) {
      Die(fmt::format("{} does not listen after {} s", argv[0], kStartSeconds));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::filesystem::remove(port_file);
}

std::string Process::address() const {
  return fmt::format("127.0.0.1:{}", port_);
}

int64_t Process::minor_faults() const {
  // proc(5): the tenth field; the second, in brackets, may hold spaces.
  std::ifstream file(fmt::format("/proc/{}/stat", pid_));
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 10; ++field) {
    fields >> skipped;
  }
  int64_t faults = 0;
  fields >> faults;
  return faults;
}

int64_t Process::resident_bytes() const {
  std::ifstream file(fmt::format("/proc/{}/statm", pid_));
  int64_t size = 0;
  int64_t resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace quire::bench
