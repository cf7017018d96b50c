// Proves that every acknowledged push is there exactly once, whatever ends the
// server: `./dev crash`. RELIABILITY 3.1.
//
//   --mode kill    kill -9 of a real server after 20 to 1500 ms, one time in
//                  five while it recovers; and of some of its clients
//   --mode points  a server of the preset faults kills itself at each of the
//                  places of --points (QUIRE_KILL_POINT in src/base/faults.h)
//   --mode power   an engine in this process, on a disk in memory of which the
//                  power is cut before some operation
//   --mode disk    the same, on a disk that fails or is full
//
// The last line says what came of it; `kills` are ends of servers or engines.
// The exit code is 0 if there was no violation. A run tells its seed first and
// takes it back: server_run.h and disk_world.h say what follows from it.

#include <fmt/format.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <random>
#include <stdexcept>

#include "crash/client_process.h"
#include "crash/disk_run.h"
#include "crash/ledger.h"
#include "crash/server_run.h"

namespace quire::crash {
namespace {

struct Options {
  std::string mode = "kill";
  ServerRunOptions server_run;
  // Not for people: a server, to which its parent has this process push.
  std::string write_to;
};

int Report(const Outcome& outcome, uint64_t seed) {
  fmt::print("{}\n", outcome.Line(seed));
  return outcome.violations.sum() == 0 ? 0 : 1;
}

int RunServers(ServerRunOptions options) {
  const bool is_own = options.directory.empty();
  if (is_own) {
    std::string name =
        (std::filesystem::temp_directory_path() / "quire-crash-XXXXXX")
            .string();
    if (mkdtemp(name.data()) == nullptr) {
      throw std::runtime_error("cannot make a directory " + name);
    }
    options.directory = name;
  }
  const int code = Report(ServerRun(options).Main(), options.seed);
  if (is_own && code == 0) {
    std::filesystem::remove_all(options.directory);
  } else {
    fmt::print(stderr, "crash: the data is in {}\n", options.directory);
  }
  return code;
}

// What is wrong with them, or "".
std::string Complaint(const Options& options) {
  const bool has_points = !options.server_run.points.empty();
  const bool wants_server = options.mode == "kill" || options.mode == "points";
  if (wants_server && options.server_run.server.empty()) {
    return fmt::format("--mode {} needs --server, the program", options.mode);
  }
  if (has_points != (options.mode == "points")) {
    return "--mode points, and no other, needs --points, a list of places; "
           "./dev crash --points gives it";
  }
  return "";
}

int Run(const Options& options) {
  if (!options.write_to.empty()) {
    return ServeParent(options.write_to);
  }
  if (const std::string complaint = Complaint(options); !complaint.empty()) {
    throw std::runtime_error(complaint);
  }
  const ServerRunOptions& run = options.server_run;
  fmt::print("crash: mode {} seed {}\n", options.mode, run.seed);
  std::fflush(stdout);
  if (options.mode == "kill" || options.mode == "points") {
    return RunServers(run);
  }
  const Trouble trouble =
      options.mode == "power" ? Trouble::kPower : Trouble::kFailures;
  return Report(
      RunOnDisks(trouble, run.seed, std::chrono::seconds(run.run_seconds)),
      run.seed);
}

}  // namespace
}  // namespace quire::crash

int main(int argc, char** argv) {
  quire::crash::Options options;
  quire::crash::ServerRunOptions& run = options.server_run;
  run.seed = std::random_device()();
  CLI::App app("Ends servers badly, again and again, and counts what is lost.");
  auto* const mode =
      app.add_option("--mode", options.mode, "what ends them")
          ->check(CLI::IsMember({"kill", "points", "power", "disk"}))
          ->capture_default_str();
  app.add_option("--server", run.server, "the program, for kill and points")
      ->check(CLI::ExistingFile);
  app.add_option("--seconds", run.run_seconds,
                 "how long; points take as long as they take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", run.seed);
  app.add_option("--points", run.points,
                 "where the server, of the preset faults, kills itself")
      ->delimiter(',');
  app.add_option("--directory", run.directory,
                 "where data and the server's log go; default: a new one, "
                 "removed if nothing was violated");
  app.add_option("--write", options.write_to)->group("");
  CLI11_PARSE(app, argc, argv);
  if (mode->count() == 0 && !run.points.empty()) {
    options.mode = "points";
  }
  try {
    return quire::crash::Run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "crash: {}\n", error.what());
    return 2;
  }
}
