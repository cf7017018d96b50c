// Calls on completion queues: how gRPC's events become requests and replies.
//
// Each polling thread has one queue. A call lives from the moment it waits to
// be made until its last event: it then deletes itself. Hot methods run where
// their request arrives; others run on the workers and leave the queue free.
//
// All methods are raw: messages come as bytes, and what is not a message of
// ours is refused by us, with a sentence.

#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/worker_pool.h"
#include "server/message.h"
#include "server/readiness.h"

namespace quire {

// Something that a completion queue gives back.
class Event {
 public:
  // ok  as gRPC means it for the operation that this is the end of
  virtual void Done(bool ok) = 0;

 protected:
  ~Event() = default;
};

// What a method has answered. Relaxed: figures for people.
struct MethodCounters {
  std::atomic<int64_t> ok = 0;
  std::atomic<int64_t> failed = 0;
  std::atomic<int64_t> bytes_received = 0;
  std::atomic<int64_t> bytes_sent = 0;

  void Count(bool is_ok, int64_t received, int64_t sent);
};

// Calls that are under way; lets a server wait for the last one.
//
// Thread safety: all functions may be called from any thread.
class CallRegistry {
 public:
  // Every call is added, and removed at its end, with what Add returned. False
  // for a call that began after Stop: it is to be refused.
  bool Add(grpc::ServerContext* context, bool is_stream);
  void Remove(grpc::ServerContext* context, bool was_admitted);

  // From here on no call is admitted, and open streams are cancelled: a stream
  // need not have an end to wait for.
  void Stop();
  // Waits until no admitted call is under way, or until `deadline`.
  void WaitUntilNoneAdmitted(std::chrono::steady_clock::time_point deadline);
  // Waits until no call at all is under way.
  void WaitUntilNone();

 private:
  Mutex mutex_;
  CondVar changed_;
  int64_t call_count_ QUIRE_GUARDED_BY(mutex_) = 0;
  int64_t admitted_count_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::set<grpc::ServerContext*> streams_ QUIRE_GUARDED_BY(mutex_);
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
};

// What every call needs of the server. Outlives all calls.
struct CallHost {
  CallRegistry& registry;
  const Readiness& readiness;
  WorkerPool& workers;
  // Calls that may wait for a worker at once.
  size_t waiting_max;
};

// --- Unary methods ---

// Asks to be told whether the caller has gone.
using IsCancelled = std::function<bool()>;

// Who waits for the answer.
struct Caller {
  IsCancelled is_cancelled;
  Deadline deadline;
};

// What a call is told, once: from any thread.
using Answer = std::function<void(absl::StatusOr<Reply>)>;

struct UnaryMethod {
  using Responder = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

  std::string name;
  // Waits for one call: the generated Request… function.
  std::function<void(grpc::ServerContext*, grpc::ByteBuffer*, Responder*,
                     grpc::ServerCompletionQueue*, void* tag)>
      request;
  // The message stays until the answer.
  std::function<void(const ReceivedMessage&, const Caller&, Answer)> handle;
  // On the polling thread: for what takes microseconds.
  bool is_inline = false;
  // Its answer may be long in coming: it can ask whether the caller has gone.
  // Those that are not inline always can.
  bool may_wait = false;
  // Also while the server stops, and while it recovers.
  bool while_stopping = false;
  bool while_recovering = false;
  MethodCounters& counters;
};

// Waits for calls of `method` on `queue`, for as long as the server runs.
void Serve(const UnaryMethod& method, CallHost& host,
           grpc::ServerCompletionQueue* queue);

// --- Streams ---

// One open stream: messages in, messages out, in order.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;

  // The next message of the client, which stays until `answer` is told, once,
  // the answer, or nothing to read on. An error ends the stream.
  using Answer = std::function<void(absl::StatusOr<std::optional<Reply>>)>;
  virtual void Take(const ReceivedMessage& message, Answer answer) {
    answer(Take(message));
  }
  // The same, for what is answered at once.
  virtual absl::StatusOr<std::optional<Reply>> Take(
      const ReceivedMessage& message) = 0;
  // The client has sent all; called until it returns nothing.
  virtual absl::StatusOr<std::optional<Reply>> TakeEnd() = 0;
};

struct StreamMethod {
  using Stream =
      grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

  std::string name;
  // Waits for one call, as for unary methods. gRPC reads the only message of a
  // server stream by itself, into `first`; other streams leave it alone.
  std::function<void(grpc::ServerContext*, grpc::ByteBuffer* first, Stream*,
                     grpc::ServerCompletionQueue*, void* tag)>
      request;
  bool brings_first = false;
  std::function<std::unique_ptr<StreamHandler>(const Deadline&)> open;
  bool is_inline = false;
  // Also while the server recovers.
  bool while_recovering = false;
  MethodCounters& counters;
};

void Serve(const StreamMethod& method, CallHost& host,
           grpc::ServerCompletionQueue* queue);

}  // namespace quire
