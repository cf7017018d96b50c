#include "crash/server_run.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "crash/connection.h"
#include "crash/writer.h"
#include "quire/v1/admin.grpc.pb.h"
#include "quire/v1/embedding.grpc.pb.h"

namespace quire::crash {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr char kTable[] = "ledger";
constexpr int64_t kReceipts = int64_t{1} << 20;
constexpr int64_t kPayloadRows = 4096;
constexpr int64_t kLookupRows = 128 << 10;
constexpr int kWriters = 8;
// Of them: those that are killed themselves.
constexpr int kWriterProcesses = 2;
constexpr int kReaders = 2;

}  // namespace

ServerRun::ServerRun(const ServerRunOptions& options)
    : options_(options),
      random_(options.seed),
      ledger_(kReceipts, kPayloadRows) {}

std::unique_ptr<ServerProcess> ServerRun::Start(const std::string& kill_point) {
  return std::make_unique<ServerProcess>(
      std::vector<std::string>{options_.server, "--data-dir",
                               options_.directory + "/data", "--log-segment",
                               options_.points.empty() ? "4MiB" : "64KiB",
                               "--threads", "2"},
      options_.directory, kill_point);
}

void ServerRun::CreateTable(const std::string& address) {
  auto tables = v1::TableService::NewStub(Connect(address));
  v1::CreateTableRequest request;
  v1::TableSpec& spec = *request.mutable_spec();
  spec.set_name(kTable);
  spec.set_num_embeddings(ledger_.row_count());
  spec.set_embedding_dim(kDim);
  spec.mutable_initializer()->mutable_zeros();
  spec.mutable_optimizer()->mutable_sgd();
  spec.mutable_optimizer()->set_learning_rate(1.0);
  grpc::ClientContext context;
  SetDeadline(context);
  v1::CreateTableResponse response;
  const grpc::Status status = tables->CreateTable(&context, request, &response);
  if (!status.ok()) {
    throw std::runtime_error("no table: " + status.error_message());
  }
}

void ServerRun::Write(int number) {
  Writer writer({.seed = options_.seed * 1000 + static_cast<uint64_t>(number),
                 .table = kTable,
                 .is_process = number < kWriterProcesses},
                gate_, ledger_);
  writer.Run();
  clients_killed_ += writer.clients_killed();
}

void ServerRun::Read(int number) {
  std::mt19937_64 random(options_.seed * 2000 + static_cast<uint64_t>(number));
  std::string connected_to;
  std::unique_ptr<v1::EmbeddingService::Stub> stub;
  for (std::string address = gate_.Enter(); !address.empty();
       gate_.Leave(), address = gate_.Enter()) {
    if (address != connected_to) {
      stub = v1::EmbeddingService::NewStub(Connect(address));
      connected_to = address;
    }
    v1::LookupRequest request;
    v1::TableLookup& table = *request.add_tables();
    table.mutable_table()->set_name(kTable);
    for (int i = 0; i < 64; ++i) {
      table.mutable_ids()->add_ids(
          ledger_.receipts() +
          static_cast<int64_t>(random() % uint64_t{kPayloadRows}));
    }
    grpc::ClientContext context;
    SetDeadline(context);
    v1::LookupResponse response;
    if (stub->Lookup(&context, request, &response).ok()) {
      const auto& values = response.tables(0).embeddings().values();
      for (int i = 0; i < 64; ++i) {
        ledger_.Saw(table.ids().ids(i), values.data() + i * kDim);
      }
    }
    std::this_thread::sleep_for(milliseconds(2));
  }
}

void ServerRun::MakeSnapshots() {
  std::mt19937_64 random(options_.seed * 3000);
  for (std::string address = gate_.Enter(); !address.empty();
       gate_.Leave(), address = gate_.Enter()) {
    auto stub = v1::TableService::NewStub(Connect(address));
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CreateSnapshotResponse response;
    const grpc::Status status = stub->CreateSnapshot(&context, {}, &response);
    snapshots_ += status.ok() ? 1 : 0;
    if (!status.ok() && status.error_code() != grpc::StatusCode::UNAVAILABLE) {
      ledger_.Violate(&Violations::others,
                      "no snapshot: " + status.error_message());
    }
    std::this_thread::sleep_for(milliseconds(random() % 500));
  }
}

void ServerRun::CheckTable(const std::string& address) {
  auto stub = v1::EmbeddingService::NewStub(Connect(address));
  std::vector<float> rows(static_cast<size_t>(ledger_.row_count() * kDim));
  for (int64_t first = 0; first < ledger_.row_count(); first += kLookupRows) {
    const int64_t count = std::min(kLookupRows, ledger_.row_count() - first);
    v1::LookupRequest request;
    request.set_max_response_bytes(64 << 20);
    v1::TableLookup& table = *request.add_tables();
    table.mutable_table()->set_name(kTable);
    auto& ids = *table.mutable_ids()->mutable_ids();
    ids.Resize(static_cast<int>(count), 0);
    std::iota(ids.begin(), ids.end(), first);
    grpc::ClientContext context;
    SetDeadline(context);
    v1::LookupResponse response;
    const grpc::Status status = stub->Lookup(&context, request, &response);
    if (!status.ok()) {
      throw std::runtime_error("the table cannot be read: " +
                               status.error_message());
    }
    std::ranges::copy(response.tables(0).embeddings().values(),
                      rows.begin() + first * kDim);
  }
  ledger_.Check(rows);
  ledger_.Settle();
}

void ServerRun::Recover() {
  server_ = Start();
  address_ = server_->WaitForAddress(seconds(60));
  if (address_.empty()) {
    throw std::runtime_error("the server does not start again: see " +
                             options_.directory + "/server.log");
  }
  CheckTable(address_);
}

void ServerRun::KillAtRandom() {
  const auto end = Clock::now() + seconds(options_.run_seconds);
  while (Clock::now() < end) {
    gate_.Open(address_);
    std::this_thread::sleep_for(milliseconds(20 + random_() % 1480));
    server_->Kill();
    ++kills_;
    gate_.Close();
    while (random_() % 5 == 0) {
      server_ = Start();
      std::this_thread::sleep_for(milliseconds(random_() % 60));
      server_->Kill();
      ++kills_;
    }
    Recover();
  }
}

// The server kills itself when it passes the point for that time. False: it
// does not, as long as there is patience.
bool ServerRun::KillAt(const std::string& point, int64_t pass,
                       seconds patience) {
  server_->Kill();
  server_ = Start(fmt::format("{}:{}", point, pass));
  const auto end = Clock::now() + patience;
  address_ = server_->WaitForAddress(patience);
  if (!address_.empty()) {
    gate_.Open(address_);
    while (!server_->has_ended() && Clock::now() < end) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    gate_.Close();
  }
  const bool was_killed = server_->was_killed();
  kills_ += was_killed ? 1 : 0;
  server_->Kill();
  Recover();
  return was_killed;
}

void ServerRun::KillAtPoints() {
  int64_t hit = 0;
  for (const std::string& point : options_.points) {
    // However slow the disk: snapshots take their time.
    const bool is_hit = KillAt(point, 1, seconds(60));
    hit += is_hit ? 1 : 0;
    if (!is_hit) {
      ledger_.Violate(&Violations::others, point + " was never passed");
    }
    // Later, if it is passed so often.
    KillAt(point, 2 + static_cast<int64_t>(random_() % 30), seconds(2));
  }
  fmt::print("crash: points {} hit {}\n", options_.points.size(), hit);
}

Outcome ServerRun::Main() {
  server_ = Start();
  address_ = server_->WaitForAddress(seconds(60));
  if (address_.empty()) {
    throw std::runtime_error("the server does not start: see " +
                             options_.directory + "/server.log");
  }
  CreateTable(address_);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) {
    threads.emplace_back([this, i] { Write(i); });
  }
  for (int i = 0; i < kReaders; ++i) {
    threads.emplace_back([this, i] { Read(i); });
  }
  threads.emplace_back([this] { MakeSnapshots(); });
  std::string broken;
  try {
    options_.points.empty() ? KillAtRandom() : KillAtPoints();
  } catch (const std::exception& error) {
    broken = error.what();
  }
  gate_.End();
  for (std::thread& thread : threads) {
    thread.join();
  }
  if (!broken.empty()) {
    ledger_.Violate(&Violations::others, broken);
  } else if (server_->Stop() != 0) {
    ledger_.Violate(&Violations::others, "SIGTERM did not end it with 0");
  }
  fmt::print("crash: snapshots {} clients killed {}\n", snapshots_.load(),
             clients_killed_.load());
  return {.kills = kills_,
          .acknowledged = ledger_.acknowledged(),
          .violations = ledger_.violations()};
}

}  // namespace quire::crash
