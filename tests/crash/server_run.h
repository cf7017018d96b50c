// A real server that is killed again and again. RELIABILITY 3.1.
//
// Writers push to one table, each in a session of its own, at WRITTEN and at
// SYNCED; what is not answered they push again, under the same number, until it
// is. Some of them are processes, and are killed too. Readers read. After every
// kill of the server the whole table is read and checked against the ledger.
//
// The schedule of kills and what each writer pushes follow from the seed; how
// far each has come when the server dies does not.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "crash/gate.h"
#include "crash/ledger.h"
#include "crash/server_process.h"

namespace quire::crash {

struct ServerRunOptions {
  // The program.
  std::string server;
  // Where data and the server's log go.
  std::string directory;
  int64_t run_seconds = 60;
  // Instead of that: places where the server, of the preset faults, kills
  // itself, each early and late.
  std::vector<std::string> points;
  uint64_t seed = 0;
};

// One thread.
class ServerRun {
 public:
  explicit ServerRun(const ServerRunOptions& options);

  // Once. Throws std::runtime_error if the server does not start at all.
  Outcome Main();

 private:
  std::unique_ptr<ServerProcess> Start(const std::string& kill_point = "");
  // Until the time is over.
  void KillAtRandom();
  void KillAtPoints();
  bool KillAt(const std::string& point, int64_t pass,
              std::chrono::seconds patience);
  // The server is gone: another one takes its place, and the table is checked.
  void Recover();
  void CreateTable(const std::string& address);
  void CheckTable(const std::string& address);

  // Threads, until the gate ends.
  void Write(int number);
  void Read(int number);
  void MakeSnapshots();

  const ServerRunOptions options_;
  std::mt19937_64 random_;
  std::unique_ptr<ServerProcess> server_;
  std::string address_;
  Gate gate_;
  Ledger ledger_;
  int64_t kills_ = 0;
  std::atomic<int64_t> snapshots_ = 0;
  std::atomic<int64_t> clients_killed_ = 0;
};

}  // namespace quire::crash
