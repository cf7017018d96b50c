#include "server/server.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "server/methods.h"

namespace quire {
namespace {

// Calls that may wait for a worker at once: some seconds of work.
constexpr size_t kWaitingCallsMax = 256;

// How long connections may last after the last call: a reply that is on its
// way arrives, and gRPC's idle clients look up every five seconds.
constexpr absl::Duration kLinger = absl::Seconds(6);

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
  explicit Core(const ServerOptions& server_options)
      : options(server_options),
        engine({.table_bytes_max = options.table_bytes_max,
                .worker_count = options.thread_count}),
        inflight(options.inflight_bytes_max),
        methods(engine, inflight, options),
        workers(options.thread_count) {}

  absl::Status Start();
  void Stop(absl::Duration grace);

  const ServerOptions options;
  Engine engine;
  MemoryBudget inflight;
  Methods methods;
  CallRegistry registry;
  // Runs calls; the engine's own run parts of them.
  WorkerPool workers;
  CallHost host{registry, workers, kWaitingCallsMax};

  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  std::unique_ptr<grpc::Server> server;
  std::vector<std::thread> pollers;
  std::string address;
  int port = 0;
};

absl::Status Server::Core::Start() {
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

void Server::Core::Stop(absl::Duration grace) {
  if (server == nullptr) {
    return;
  }
  methods.health().Stop();
  registry.Stop();
  // gRPC's own end comes after: it cancels calls that cross its goodbye, and
  // waits for the word of idle clients.
  const absl::Time deadline = absl::Now() + grace;
  registry.WaitUntilNoneAdmitted(std::chrono::steady_clock::now() +
                                 absl::ToChronoNanoseconds(grace));
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
}

Server::Server(std::unique_ptr<Core> core) : core_(std::move(core)) {}

Server::~Server() { core_->Stop(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options) {
  auto core = std::make_unique<Core>(options);
  QUIRE_RETURN_IF_ERROR(core->Start());
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

const std::string& Server::address() const { return core_->address; }
int Server::port() const { return core_->port; }
Engine& Server::engine() { return core_->engine; }
void Server::Stop(absl::Duration grace) { core_->Stop(grace); }

std::string_view Version() { return QUIRE_VERSION; }

}  // namespace quire
