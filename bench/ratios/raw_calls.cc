#include "bench/ratios/raw_calls.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <optional>
#include <thread>
#include <vector>

#include "bench/ratios/process.h"
#include "quire/v1/embedding.grpc.pb.h"

namespace quire::bench {
namespace {

constexpr char kPath[] = "/quire.v1.EmbeddingService/Lookup";

using RawService =
    v1::EmbeddingService::WithRawMethod_Lookup<v1::EmbeddingService::Service>;

// One call: it waits to be made, is answered, and makes way for the next.
class EmptyCall {
 public:
  EmptyCall(RawService& service, grpc::ServerCompletionQueue& queue)
      : service_(service), queue_(queue), responder_(&context_) {
    service_.RequestLookup(&context_, &request_, &responder_, &queue_, &queue_,
                           this);
  }

  void Done() {
    if (is_answered_) {
      delete this;
      return;
    }
    is_answered_ = true;
    new EmptyCall(service_, queue_);
    const grpc::Slice nothing;
    responder_.Finish(grpc::ByteBuffer(&nothing, 1), grpc::Status::OK, this);
  }

 private:
  RawService& service_;
  grpc::ServerCompletionQueue& queue_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> responder_;
  bool is_answered_ = false;
};

// A place for one call after the other.
struct Slot {
  std::optional<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader;
  grpc::ByteBuffer reply;
  grpc::Status status;
};

}  // namespace

void ServeEmptyMethod(const std::string& port_file, int thread_count) {
  RawService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&service);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (int i = 0; i < thread_count; ++i) {
    queues.push_back(builder.AddCompletionQueue());
  }
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    Die("cannot serve an empty method");
  }
  std::vector<std::thread> threads;
  for (auto& queue : queues) {
    new EmptyCall(service, *queue);
    threads.emplace_back([&queue = *queue] {
      void* tag = nullptr;
      bool ok = false;
      while (queue.Next(&tag, &ok)) {
        static_cast<EmptyCall*>(tag)->Done();
      }
    });
  }
  WritePort(port_file, port);
  server->Wait();
  std::exit(0);
}

RawClient::RawClient(const std::string& address, grpc::ByteBuffer request)
    : request_(std::move(request)),
      channel_([&] {
        grpc::ChannelArguments arguments;
        arguments.SetMaxReceiveMessageSize(-1);
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        return grpc::CreateCustomChannel(
            address, grpc::InsecureChannelCredentials(), arguments);
      }()),
      stub_(channel_) {}

double RawClient::Run(std::chrono::nanoseconds duration, int in_flight) {
  using Clock = std::chrono::steady_clock;
  grpc::CompletionQueue queue;
  std::vector<Slot> slots(static_cast<size_t>(in_flight));
  const auto start_call = [&](Slot& slot) {
    slot.reader.reset();
    slot.context.emplace();
    slot.reader =
        stub_.PrepareUnaryCall(&*slot.context, kPath, request_, &queue);
    slot.reader->StartCall();
    slot.reader->Finish(&slot.reply, &slot.status, &slot);
  };
  const Clock::time_point start = Clock::now();
  for (Slot& slot : slots) {
    start_call(slot);
  }
  double count = 0;
  for (int waiting = in_flight; waiting > 0;) {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    Slot& slot = *static_cast<Slot*>(tag);
    if (!slot.status.ok()) {
      Die(fmt::format("a raw call failed: {}", slot.status.error_message()));
    }
    ++count;
    if (Clock::now() - start < duration) {
      start_call(slot);
    } else {
      --waiting;
    }
  }
  const double seconds =
      std::chrono::duration<double>(Clock::now() - start).count();
  queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
  }
  return count / seconds;
}

}  // namespace quire::bench
