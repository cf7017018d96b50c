// Pushes, and what is not answered again, until it is.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "crash/client_process.h"
#include "crash/gate.h"
#include "crash/ledger.h"
#include "quire/v1/embedding.grpc.pb.h"

namespace quire::crash {

struct WriterOptions {
  uint64_t seed = 0;
  std::string table;
  // It pushes through a process, which is killed now and then while it does.
  // Another one goes on with its session and its push, as a client that had
  // kept them would; or there is none, nobody ever knows, and a new session
  // begins.
  bool is_process = false;
};

// One thread.
class Writer {
 public:
  // Both outlive it.
  Writer(WriterOptions options, Gate& gate, Ledger& ledger);

  // Until the gate ends.
  void Run();

  int64_t clients_killed() const { return clients_killed_; }

 private:
  void ConnectTo(const std::string& address);
  bool OpenSession();
  // While the server is there.
  void WriteOn();
  // False: there are no receipts left.
  bool Begin();
  // False: there was no answer.
  bool TryPush();
  std::optional<PushAnswer> Push();
  // Nothing: its sender is dead.
  std::optional<PushAnswer> PushThroughProcess();
  std::optional<PushAnswer> TryProcess();
  bool Judge(const PushAnswer& answer);

  const WriterOptions options_;
  Gate& gate_;
  Ledger& ledger_;
  std::mt19937_64 random_;
  std::string address_;
  std::unique_ptr<v1::EmbeddingService::Stub> stub_;
  std::unique_ptr<ClientProcess> process_;
  std::string session_;
  uint64_t sequence_ = 0;
  // Null: the next one is to begin.
  crash::Push* push_ = nullptr;
  v1::ApplyGradientRequest request_;
  int64_t clients_killed_ = 0;
};

}  // namespace quire::crash
