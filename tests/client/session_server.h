// A fake server with sessions: pushes that bring a number are applied once, as
// a real server applies them. What is lost on the way, a test says.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "tests/client/fake_server.h"

namespace quire::testing {

// Thread safety: all functions may be called from any thread.
class SessionServer {
 public:
  // A push that arrived, and again each time that it did.
  struct Arrival {
    std::string session;
    uint64_t sequence = 0;
    // Of the whole request.
    std::string bytes;
  };
  // Called with each push and how many have arrived, this one included. What
  // it returns is the answer, in place of the right one.
  using Fault =
      std::function<std::optional<grpc::Status>(grpc::ServerContext&, int)>;

  // The numbers below the newest that a session remembers.
  static constexpr uint64_t kRemembered = 1024;

  SessionServer();

  FakeServer& fake() { return fake_; }
  std::unique_ptr<Client> Connect(ClientOptions options = {}) {
    return fake_.Connect(std::move(options));
  }

  // Forgets all sessions, and what was applied in them.
  void ForgetSessions();

  std::vector<Arrival> arrivals();
  // Of all arrivals that were applied, by the first id of their first table.
  std::map<int64_t, int> applied_count();
  std::vector<std::string> closed();

  // What a test sets, before it connects: before a push is looked at, and after
  // it was applied.
  Fault lose_request;
  Fault lose_answer;

 private:
  grpc::Status Answer(grpc::ServerContext& context,
                      const v1::ApplyGradientRequest& request,
                      v1::ApplyGradientResponse& response);
  // OK if it was applied, now or before.
  grpc::Status Apply(const v1::ApplyGradientRequest& request, bool& duplicate)
      QUIRE_REQUIRES(mutex_);

  Mutex mutex_;
  std::vector<Arrival> arrivals_ QUIRE_GUARDED_BY(mutex_);
  // The bytes of what was applied, by session and number.
  std::map<std::string, std::map<uint64_t, std::string>> sessions_
      QUIRE_GUARDED_BY(mutex_);
  std::map<int64_t, int> applied_count_ QUIRE_GUARDED_BY(mutex_);
  std::vector<std::string> closed_ QUIRE_GUARDED_BY(mutex_);
  int opened_count_ QUIRE_GUARDED_BY(mutex_) = 0;
  // Last: it stops before what it writes to goes.
  FakeServer fake_;
};

// What a client sees of a server that went away before it answered.
grpc::Status Unanswered();

}  // namespace quire::testing
