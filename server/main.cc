// quire-server: keeps embedding tables in memory and serves them over gRPC.

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <ratio>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "base/tuning.h"
#include "server/library_logs.h"
#include "server/machine.h"
#include "server/server.h"

namespace {

struct Flags {
  quire::ServerOptions server;
  bool insecure = false;
  // 0: a share of the volume, and of that.
  int64_t log_bytes_max = 0;
  int64_t log_segment_bytes = 0;
  bool exits_on_io_error = false;
  double scrub_hours = 24;
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
  app.add_option("--data-dir", server.data_dir,
                 "where LOGGED tables are kept, made if it is not there; "
                 "default: none, all tables live in memory")
      ->envname("QUIRE_DATA_DIR");
  app.add_flag("--require-data", server.require_data,
               "do not start on an empty --data-dir: its volume may not be "
               "mounted")
      ->envname("QUIRE_REQUIRE_DATA");
  app.add_option("--backup-dir", server.backup_dir,
                 "where 'quire backup NAME' makes NAME: a directory that is "
                 "there, outside of --data-dir. Default: none, and no backups")
      ->envname("QUIRE_BACKUP_DIR");
  app.add_option("--log-bytes-max", flags.log_bytes_max,
                 "bytes of the whole log (20GiB): before it is longer a "
                 "snapshot is made, so that it can be cut; if that is too "
                 "slow, changes are refused meanwhile. Default: 20 % of the "
                 "volume that has --data-dir")
      ->envname("QUIRE_LOG_BYTES_MAX")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1} << 19, int64_t{1} << 50));
  app.add_option("--on-io-error", flags.exits_on_io_error,
                 "when the log cannot be written or synced: 'readonly' refuses "
                 "changes, and lookups go on; 'exit' ends the server with 74")
      ->envname("QUIRE_ON_IO_ERROR")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, bool>{{"readonly", false}, {"exit", true}}))
      ->default_str("readonly");
  app.add_option("--log-segment", flags.log_segment_bytes,
                 "bytes of one file of the log; an eighth of --log-bytes-max "
                 "at most. Default: 256MiB, or a sixteenth if that is less")
      ->envname("QUIRE_LOG_SEGMENT")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1} << 16, int64_t{1} << 32));
  app.add_option("--snapshot-log", server.snapshots.log_bytes_max,
                 "bytes of log after which a snapshot is made; never less than "
                 "the tables take, unless --log-bytes-max asks for it. "
                 "Default: 4GiB")
      ->envname("QUIRE_SNAPSHOT_LOG")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--snapshot-keep", server.snapshots.keep,
                 "snapshots that are kept, and the log from the oldest on: how "
                 "far back a table can be rewound")
      ->envname("QUIRE_SNAPSHOT_KEEP")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--scrub-hours", flags.scrub_hours,
                 "how long after the last time the snapshots that are kept are "
                 "read back, to find what the disk has lost; 0: never")
      ->envname("QUIRE_SCRUB_HOURS")
      ->check(CLI::Range(0.0, 8760.0))
      ->capture_default_str();
  app.add_option("--scrub-rate", server.snapshots.scrub_rate_bytes,
                 "bytes a second that this reads (30MiB)")
      ->envname("QUIRE_SCRUB_RATE")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--port-file", flags.port_file,
                 "write the port here once the server serves");
  app.add_option("--drain-seconds", flags.drain_seconds,
                 "how long calls in flight, and then saving MEMORY "
                 "tables, may take after SIGTERM")
      ->envname("QUIRE_DRAIN_SECONDS")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
}

int Refuse(const std::string& sentence, int code = 2) {
  fmt::print(stderr, "quire-server: {}\n", sentence);
  return code;
}

// Why it does not start, as sysexits.h has it.
int ExitCodeOf(const absl::Status& status) {
  switch (quire::ReasonOf(status).value_or(quire::Reason::kBadValue)) {
    case quire::Reason::kCorrupt:
      return 65;  // EX_DATAERR
    case quire::Reason::kIoFailed:
    case quire::Reason::kDiskFull:
    case quire::Reason::kLogFailed:
      return 74;  // EX_IOERR
    case quire::Reason::kDirectoryInUse:
      return 75;  // EX_TEMPFAIL
    case quire::Reason::kForeignData:
    case quire::Reason::kFormatTooNew:
      return 78;  // EX_CONFIG
    default:
      return 2;
  }
}

// How long the log may be, and its files.
absl::Status SetLogSizes(const Flags& flags, quire::journal::LogOptions& log) {
  constexpr int64_t kSegmentBytesMin = int64_t{1} << 16;
  constexpr int64_t kSegmentsMin = 8;
  if (flags.server.data_dir.empty()) {
    return absl::OkStatus();
  }
  if (flags.log_bytes_max > 0) {
    log.bytes_max = flags.log_bytes_max;
  } else if (const int64_t volume = quire::VolumeBytes(flags.server.data_dir)) {
    log.bytes_max = std::max(volume / 5, kSegmentsMin * kSegmentBytesMin);
  }
  log.segment_bytes = flags.log_segment_bytes > 0
                          ? flags.log_segment_bytes
                          : std::clamp(log.bytes_max / (2 * kSegmentsMin) /
                                           kSegmentBytesMin * kSegmentBytesMin,
                                       kSegmentBytesMin, log.segment_bytes);
  if (log.bytes_max < kSegmentsMin * log.segment_bytes) {
    return quire::Error(
        quire::Reason::kBadValue,
        fmt::format(
            "the log may have {} bytes (--log-bytes-max, or 20 % of the "
            "volume of --data-dir); with files of {} (--log-segment) it "
            "needs {} at least. Allow more, or make the files smaller",
            log.bytes_max, log.segment_bytes,
            kSegmentsMin * log.segment_bytes));
  }
  return absl::OkStatus();
}

void Greet(const Flags& flags, const quire::Server& server) {
  if (!IsLoopback(flags.server.listen)) {
    spdlog::warn(
        "listening on {} without TLS: whoever reaches the port may "
        "read and train",
        server.address());
  }
  for (const std::string& damaged : server.damaged_snapshots()) {
    spdlog::warn("a damaged snapshot was passed over: {}", damaged);
  }
  if (flags.server.data_dir.empty()) {
    spdlog::info(
        "quire-server {}: tables live in memory only and are gone when "
        "the server ends",
        quire::Version());
  } else {
    spdlog::info("quire-server {}: tables are kept in {}", quire::Version(),
                 flags.server.data_dir);
  }
  spdlog::info("listening on {}", server.address());
}

// The port appears whole: a reader of the file never sees half a number.
bool WritePortFile(const std::string& path, int port) {
  const std::string draft = path + ".new";
  std::ofstream(draft) << port << "\n";
  return std::rename(draft.c_str(), path.c_str()) == 0;
}

// What happens to the server, in its order.
enum class Happening { kReady, kNoRecovery, kLogFailed, kSignal };

class Happenings {
 public:
  void Add(Happening happening) {
    quire::MutexLock lock(mutex_);
    queue_.push_back(happening);
    added_.NotifyAll();
  }
  // Waits for the next one.
  Happening Next() {
    quire::MutexLock lock(mutex_);
    while (queue_.empty()) {
      added_.Wait(mutex_);
    }
    const Happening next = queue_.front();
    queue_.pop_front();
    return next;
  }

 private:
  quire::Mutex mutex_;
  quire::CondVar added_;
  std::deque<Happening> queue_ QUIRE_GUARDED_BY(mutex_);
};

// Tells of SIGTERM or SIGINT; a second one ends the process at once.
void WatchSignals(const sigset_t& signals, Happenings& happenings) {
  std::thread([signals, &happenings] {
    int signal = 0;
    sigwait(&signals, &signal);
    spdlog::info("{}: no new calls; those in flight may finish",
                 signal == SIGTERM ? "SIGTERM" : "SIGINT");
    happenings.Add(Happening::kSignal);
    sigwait(&signals, &signal);
    std::_Exit(128 + signal);
  }).detach();
}

void Stop(const Flags& flags, quire::Server& server) {
  const absl::Status saved = server.Stop(absl::Seconds(flags.drain_seconds));
  if (!saved.ok()) {
    const auto message = saved.message();
    spdlog::warn("MEMORY tables are kept as they were saved before: {}",
                 std::string_view(message.data(), message.size()));
  }
}

int Refuse(const absl::Status& status) {
  const auto message = status.message();
  return Refuse(std::string(message.data(), message.size()),
                ExitCodeOf(status));
}

// From the server's first moment to its last; the exit code.
int Run(const Flags& flags, quire::Server& server, Happenings& happenings) {
  if (!flags.server.data_dir.empty()) {
    spdlog::info("listening on {}; reading what {} has", server.address(),
                 flags.server.data_dir);
  }
  while (true) {
    switch (happenings.Next()) {
      case Happening::kReady:
        Greet(flags, server);
        if (!flags.port_file.empty() &&
            !WritePortFile(flags.port_file, server.port())) {
          return Refuse(fmt::format("cannot write {}", flags.port_file));
        }
        break;
      case Happening::kNoRecovery:
        return Refuse(server.WaitUntilReady());
      case Happening::kLogFailed:
        if (flags.exits_on_io_error) {
          Stop(flags, server);
          spdlog::info("stopped, as --on-io-error says");
          return 74;  // EX_IOERR
        }
        break;
      case Happening::kSignal:
        Stop(flags, server);
        spdlog::info("stopped");
        return 0;
    }
  }
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

  // A file that would exceed the allowed size is an error like a full disk.
  signal(SIGXFSZ, SIG_IGN);

  // Before any thread starts: all inherit the mask, sigwait alone gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  // Outlives the thread that watches.
  static Happenings happenings;
  flags.server.on_recovered = [](const absl::Status& recovered) {
    happenings.Add(recovered.ok() ? Happening::kReady : Happening::kNoRecovery);
  };
  flags.server.log.on_failure = [](const absl::Status& why) {
    const auto message = why.message();
    spdlog::error("{}", std::string_view(message.data(), message.size()));
    happenings.Add(Happening::kLogFailed);
  };
  flags.server.snapshots.scrub_interval =
      std::chrono::duration_cast<std::chrono::milliseconds>(
          std::chrono::duration<double, std::ratio<3600>>(flags.scrub_hours));
  flags.server.snapshots.on_damage = [](const absl::Status& what) {
    const auto message = what.message();
    spdlog::error("{}", std::string_view(message.data(), message.size()));
  };
  if (const absl::Status refused = SetLogSizes(flags, flags.server.log);
      !refused.ok()) {
    return Refuse(refused);
  }
  WatchSignals(signals, happenings);
  auto server = quire::Server::Listen(flags.server);
  return server.ok() ? Run(flags, **server, happenings)
                     : Refuse(server.status());
}
