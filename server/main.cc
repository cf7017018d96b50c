// quire-server: keeps embedding tables in memory and serves them over gRPC.

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "base/tuning.h"
#include "server/library_logs.h"
#include "server/machine.h"
#include "server/server.h"

namespace {

struct Flags {
  quire::ServerOptions server;
  bool insecure = false;
  std::string port_file;
  double drain_seconds = 10;
};

bool IsLoopback(const std::string& listen) {
  return listen.starts_with("127.") || listen.starts_with("localhost:") ||
         listen.starts_with("[::1]:") || listen.starts_with("unix");
}

void AddFlags(Flags& flags, CLI::App& app) {
  quire::ServerOptions& server = flags.server;
  server.thread_count = quire::ProcessorCount();
  server.table_bytes_max = quire::MemoryBytes() / 5 * 4;
  server.inflight_bytes_max = quire::MemoryBytes() / 4;
  app.add_option("--listen", server.listen,
                 "host:port or unix:PATH; port 0 takes a free one")
      ->envname("QUIRE_LISTEN")
      ->capture_default_str();
  app.add_flag("--insecure", flags.insecure,
               "listen beyond this machine without TLS: whoever reaches the "
               "port may read and train")
      ->envname("QUIRE_INSECURE");
  app.add_option("--threads", server.thread_count,
                 "polling threads, and as many workers; default: one a core. "
                 "Half of them is faster where clients share the machine")
      ->envname("QUIRE_THREADS")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--memory-limit", server.table_bytes_max,
                 "bytes that tables may take (2GiB); default: 80 % of the "
                 "memory")
      ->envname("QUIRE_MEMORY_LIMIT")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--inflight-limit", server.inflight_bytes_max,
                 "bytes that requests in flight may take; default: 25 % of the "
                 "memory")
      ->envname("QUIRE_INFLIGHT_LIMIT")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--push-limit", server.push_bytes_max,
                 "bytes of one push; at most 512MiB")
      ->envname("QUIRE_PUSH_LIMIT")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1024}, quire::kPushBytesMax));
  app.add_option("--port-file", flags.port_file,
                 "write the port here once it is listened on");
  app.add_option("--drain-seconds", flags.drain_seconds,
                 "how long calls in flight may take after SIGTERM")
      ->envname("QUIRE_DRAIN_SECONDS")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
}

int Refuse(const std::string& sentence) {
  fmt::print(stderr, "quire-server: {}\n", sentence);
  return 2;
}

void Greet(const Flags& flags, const quire::Server& server) {
  if (!IsLoopback(flags.server.listen)) {
    spdlog::warn(
        "listening on {} without TLS: whoever reaches the port may "
        "read and train",
        server.address());
  }
  spdlog::info(
      "quire-server {}: tables live in memory only and are gone when "
      "the server ends",
      quire::Version());
  spdlog::info("listening on {}", server.address());
}

// The port appears whole: a reader of the file never sees half a number.
bool WritePortFile(const std::string& path, int port) {
  const std::string draft = path + ".new";
  std::ofstream(draft) << port << "\n";
  return std::rename(draft.c_str(), path.c_str()) == 0;
}

// Waits for SIGTERM or SIGINT; a second one ends the process at once.
void WaitForStop(const sigset_t& signals) {
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("{}: no new calls; those in flight may finish",
               signal == SIGTERM ? "SIGTERM" : "SIGINT");
  std::thread([signals] {
    int second = 0;
    sigwait(&signals, &second);
    std::_Exit(128 + second);
  }).detach();
}

}  // namespace

int main(int argc, char** argv) {
  quire::TuneProcess();
  spdlog::set_default_logger(spdlog::stderr_color_mt("quire"));
  quire::RouteLibraryLogs();

  Flags flags;
  CLI::App app("Embedding tables as a service.", "quire-server");
  app.set_version_flag("--version", std::string(quire::Version()));
  AddFlags(flags, app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!IsLoopback(flags.server.listen) && !flags.insecure) {
    return Refuse(fmt::format(
        "--listen {} is open to other machines, and there is no TLS yet; add "
        "--insecure if that is meant",
        flags.server.listen));
  }

  // Before any thread starts: all inherit the mask, sigwait alone gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  auto server = quire::Server::Start(flags.server);
  if (!server.ok()) {
    const auto message = server.status().message();
    return Refuse(std::string(message.data(), message.size()));
  }
  Greet(flags, **server);
  if (!flags.port_file.empty() &&
      !WritePortFile(flags.port_file, (*server)->port())) {
    return Refuse(fmt::format("cannot write {}", flags.port_file));
  }

  WaitForStop(signals);
  (*server)->Stop(absl::Seconds(flags.drain_seconds));
  spdlog::info("stopped");
  return 0;
}
