#include "server/server.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "engine/backup.h"
#include "server/methods.h"
#include "server/readiness.h"

namespace quire {
namespace {

// Calls that may wait for a worker at once: some seconds of work.
constexpr size_t kWaitingCallsMax = 256;

// How long connections may last after the last call, for what is on its way.
// gRPC would wait for its idle clients, who look up every five seconds; whoever
// calls meanwhile is told the same by a closed connection.
constexpr absl::Duration kLinger = absl::Seconds(1);

EngineOptions EngineOptionsOf(const ServerOptions& options) {
  return {.table_bytes_max = options.table_bytes_max,
          .worker_count = options.thread_count,
          .log = options.log,
          .snapshots = options.snapshots};
}

// Null if there is to be none.
absl::StatusOr<std::unique_ptr<DataDirectory>> OpenDataDirectory(
    const ServerOptions& options) {
  if (options.data_dir.empty()) {
    return nullptr;
  }
  QUIRE_ASSIGN_OR_RETURN(auto files, options.open_directory(options.data_dir));
  return DataDirectory::Open(std::move(files),
                             {.must_exist = options.require_data});
}

// Null if backups are not made.
absl::StatusOr<std::unique_ptr<journal::Directory>> OpenBackupDirectory(
    const ServerOptions& options) {
  if (options.backup_dir.empty()) {
    return nullptr;
  }
  if (options.data_dir.empty()) {
    return Error(Reason::kBadValue,
                 fmt::format("--backup-dir {:?} is given, and no --data-dir: "
                             "tables that are not kept cannot be backed up. "
                             "Name a --data-dir, or leave out --backup-dir",
                             options.backup_dir),
                 "--backup-dir");
  }
  return OpenBackupRoot(options.backup_dir, options.data_dir);
}

void Poll(grpc::ServerCompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
    static_cast<Event*>(tag)->Done(ok);
  }
}

}  // namespace

class Server::Core {
 public:
  Core(const ServerOptions& server_options,
       std::unique_ptr<journal::Directory> backup_directory)
      : options(server_options),
        backups(std::move(backup_directory)),
        inflight(options.inflight_bytes_max),
        engine(EngineOptionsOf(options)),
        methods(engine, readiness, inflight, backups.get(), options),
        workers(options.thread_count) {}

  absl::Status Listen();
  // Null: there is nothing to recover.
  void BeginRecovery(std::unique_ptr<DataDirectory> directory);
  absl::Status Stop(absl::Duration grace);

  const ServerOptions options;
  // Where they are made, or null.
  const std::unique_ptr<journal::Directory> backups;
  // Before the engine, whose threads let go of what is charged.
  MemoryBudget inflight;
  Engine engine;
  Readiness readiness;
  Methods methods;
  CallRegistry registry;
  // Runs calls; the engine's own run parts of them.
  WorkerPool workers;
  CallHost host{registry, readiness, workers, kWaitingCallsMax};

  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  std::unique_ptr<grpc::Server> server;
  std::vector<std::thread> pollers;
  std::string address;
  int port = 0;

  std::thread recovery;
  std::promise<absl::Status> recovered_promise;
  const std::shared_future<absl::Status> recovered =
      recovered_promise.get_future().share();

 private:
  void EndRecovery(const absl::Status& status);
};

void Server::Core::BeginRecovery(std::unique_ptr<DataDirectory> directory) {
  if (directory == nullptr) {
    return EndRecovery(absl::OkStatus());
  }
  recovery = std::thread([this, directory = std::move(directory)]() mutable {
    EndRecovery(engine.Recover(std::move(directory), readiness.progress()));
  });
}

void Server::Core::EndRecovery(const absl::Status& status) {
  if (status.ok()) {
    readiness.SetReady();
    methods.health().Serve();
  }
  recovered_promise.set_value(status);
  if (options.on_recovered) {
    options.on_recovered(status);
  }
}

absl::Status Server::Core::Listen() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(),
                           &port);
  // A second server on the same port is a mistake, not a share of the load.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  const int64_t message_bytes_max =
      std::max(options.push_bytes_max, kLookupReplyBytesMax) +
      kMessageBytesSlack;
  builder.SetMaxReceiveMessageSize(static_cast<int>(message_bytes_max));
  builder.SetMaxSendMessageSize(
      static_cast<int>(kLookupReplyBytesMax + kMessageBytesSlack));
  // Rows are noise to a compressor, and a small message may unpack to a large
  // one: refuse compressed requests.
  for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  for (grpc::Service* service : methods.services()) {
    builder.RegisterService(service);
  }
  for (int i = 0; i < options.thread_count; ++i) {
    queues.push_back(builder.AddCompletionQueue());
  }
  server = builder.BuildAndStart();
  if (server == nullptr || (port == 0 && !options.listen.starts_with("unix"))) {
    for (auto& queue : queues) {
      queue->Shutdown();
      Poll(*queue);
    }
    return Error(Reason::kBadValue,
                 fmt::format("cannot listen on {}: is the address right, and "
                             "the port free?",
                             options.listen),
                 "--listen");
  }
  const size_t colon = options.listen.rfind(':');
  address = port == 0
                ? options.listen
                : fmt::format("{}:{}", options.listen.substr(0, colon), port);
  for (auto& queue : queues) {
    methods.ServeAll(host, queue.get());
    pollers.emplace_back([&queue = *queue] { Poll(queue); });
  }
  return absl::OkStatus();
}

absl::Status Server::Core::Stop(absl::Duration grace) {
  if (server == nullptr) {
    return absl::OkStatus();
  }
  readiness.progress().Cancel();
  // Once health says NOT_SERVING no call is admitted.
  registry.Stop();
  methods.health().Stop();
  if (recovery.joinable()) {
    recovery.join();
  }
  // It may take longer than any grace.
  engine.GiveUpBackups();
  // No change comes any more.
  engine.GiveUpPositions();
  methods.clocks().Stop();
  // gRPC's own end comes after: it cancels calls that cross its goodbye.
  const absl::Time deadline = absl::Now() + grace;
  const auto steady_deadline =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(grace);
  registry.WaitUntilNoneAdmitted(steady_deadline);
  server->Shutdown(
      absl::ToChronoTime(std::min(deadline, absl::Now() + kLinger)));
  // Cancelled calls may still be at work; their replies need a queue.
  registry.WaitUntilNone();
  methods.health().WaitUntilUnwatched();
  for (auto& queue : queues) {
    queue->Shutdown();
  }
  for (std::thread& poller : pollers) {
    poller.join();
  }
  server.reset();
  return readiness.is_ready() ? engine.SaveMemoryTables(steady_deadline)
                              : absl::OkStatus();
}

Server::Server(std::unique_ptr<Core> core) : core_(std::move(core)) {}

Server::~Server() { core_->Stop(absl::ZeroDuration()).IgnoreError(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Listen(
    const ServerOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<journal::Directory> backups,
                         OpenBackupDirectory(options));
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<DataDirectory> directory,
                         OpenDataDirectory(options));
  auto core = std::make_unique<Core>(options, std::move(backups));
  QUIRE_RETURN_IF_ERROR(core->Listen());
  core->BeginRecovery(std::move(directory));
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Server> server, Listen(options));
  QUIRE_RETURN_IF_ERROR(server->WaitUntilReady());
  return server;
}

absl::Status Server::WaitUntilReady() const { return core_->recovered.get(); }

const std::string& Server::address() const { return core_->address; }
int Server::port() const { return core_->port; }
Engine& Server::engine() { return core_->engine; }
const std::vector<std::string>& Server::damaged_snapshots() const {
  return core_->engine.damaged_snapshots();
}
absl::Status Server::Stop(absl::Duration grace) { return core_->Stop(grace); }

std::string_view Version() { return QUIRE_VERSION; }

}  // namespace quire
