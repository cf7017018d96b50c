// A server that reads what it has on disk: what it answers meanwhile, and how
// that ends. The disk is a model that holds the reads up.

#include <future>
#include <map>
#include <thread>

#include "base/mutex.h"
#include "client/client.h"
#include "e2e/service_fixture.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "journal/model_disk.h"

namespace quire::testing {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using journal::ModelDisk;
using ::testing::Contains;

constexpr auto kUnavailable = grpc::StatusCode::UNAVAILABLE;

// Of chunks of a snapshot; all other reads of these tests are shorter.
constexpr size_t kChunkReadBytes = 1 << 20;

// Holds the second chunk that is read up.
class Hold {
 public:
  explicit Hold(ModelDisk& disk) : disk_(disk) {
    disk_.OnRead([this](size_t bytes) {
      if (bytes >= kChunkReadBytes) {
        Pass();
      }
    });
  }
  ~Hold() { disk_.OnRead(nullptr); }

  void WaitUntilHeld() {
    MutexLock lock(mutex_);
    while (passes_ < 2) {
      changed_.Wait(mutex_);
    }
  }
  void Release() {
    MutexLock lock(mutex_);
    is_released_ = true;
    changed_.NotifyAll();
  }

 private:
  void Pass() {
    MutexLock lock(mutex_);
    ++passes_;
    changed_.NotifyAll();
    while (passes_ >= 2 && !is_released_) {
      changed_.Wait(mutex_);
    }
  }

  ModelDisk& disk_;
  Mutex mutex_;
  CondVar changed_;
  int passes_ QUIRE_GUARDED_BY(mutex_) = 0;
  bool is_released_ QUIRE_GUARDED_BY(mutex_) = false;
};

class RecoveryTest : public ServiceTest {
 protected:
  // A snapshot of four chunks of a megabyte, and a push in the log since.
  void SetUp() override {
    auto server = Server::Start(OptionsOf(disk_));
    ASSERT_TRUE(server.ok()) << server.status();
    Use(*std::move(server));
    v1::TableSpec spec = Spec("t", 4096, 256);
    spec.set_shard_count(1);
    spec.mutable_initializer()->mutable_zeros();
    ASSERT_TRUE(Create(spec).ok());
    while (Describe("t").state() != v1::TABLE_STATE_READY) {
      std::this_thread::yield();
    }
    for (const int64_t id : {0, 1024, 2048, 3072}) {
      PushOnes(id);
    }
    grpc::ClientContext context;
    v1::CreateSnapshotResponse made;
    ASSERT_TRUE(tables_->CreateSnapshot(&context, {}, &made).ok());
    PushOnes(0);
    server_.reset();
  }
  void TearDown() override { server_.reset(); }

  static ServerOptions OptionsOf(ModelDisk& disk) {
    ServerOptions options = Options("model");
    options.log.segment_bytes = 1 << 16;
    options.open_directory = [&disk](const std::string&)
        -> absl::StatusOr<std::unique_ptr<journal::Directory>> {
      return disk.Open();
    };
    return options;
  }
  void Listen() {
    auto server = Server::Listen(OptionsOf(disk_));
    ASSERT_TRUE(server.ok()) << server.status();
    Use(*std::move(server));
  }

  // Adds 1 to all of a row.
  void PushOnes(int64_t id) {
    v1::ApplyGradientRequest push;
    SetGradient({1, 256}, std::vector<float>(256, -1.0f), Add(push, "t", {id}));
    ASSERT_TRUE(Push(push).ok());
  }

  grpc::Status LookupRow0() {
    v1::LookupRequest request;
    Add(request, "t", {0});
    return Lookup(request);
  }
  v1::GetStatsResponse Stats() {
    grpc::ClientContext context;
    v1::GetStatsResponse stats;
    EXPECT_TRUE(info_->GetStats(&context, {}, &stats).ok());
    return stats;
  }
  v1::GetServerInfoResponse Info() {
    grpc::ClientContext context;
    v1::GetServerInfoResponse info;
    EXPECT_TRUE(info_->GetServerInfo(&context, {}, &info).ok());
    return info;
  }
  HealthCheckResponse::ServingStatus HealthOf(const std::string& service) {
    grpc::ClientContext context;
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    EXPECT_TRUE(
        Health::NewStub(channel_)->Check(&context, request, &response).ok());
    return response.status();
  }

  // All that is on the disk.
  std::map<std::string, std::vector<std::byte>> Content() const {
    std::map<std::string, std::vector<std::byte>> content;
    for (const std::string& name : disk_.Names()) {
      content[name] = disk_.Content(name);
    }
    return content;
  }

  ModelDisk disk_;
};

TEST_F(RecoveryTest, AServerThatRecoversSaysHowFarItIs) {
  Hold hold(disk_);
  Listen();
  hold.WaitUntilHeld();

  for (const char* service : {"", "quire.v1.EmbeddingService"}) {
    EXPECT_EQ(HealthOf(service), HealthCheckResponse::NOT_SERVING) << service;
  }
  const v1::RecoveryStats recovery = Stats().recovery();
  EXPECT_EQ(recovery.phase(), v1::RECOVERY_PHASE_SNAPSHOT);
  EXPECT_GT(recovery.share_done(), 0);
  EXPECT_LT(recovery.share_done(), 1);
  EXPECT_GT(recovery.seconds_left(), 0);
  EXPECT_EQ(recovery.bytes_done(), 1 << 20);
  EXPECT_GT(recovery.bytes_total(), 4 << 20);
  EXPECT_EQ(Stats().tables_size(), 0);
  EXPECT_FALSE(Stats().has_log());
  EXPECT_EQ(Info().epoch(), 0u);
  EXPECT_GT(Info().limits().push_bytes(), 0);
  EXPECT_THAT(Info().features(), Contains("logged_tables"));

  hold.Release();
  EXPECT_TRUE(server_->WaitUntilReady().ok());
  EXPECT_EQ(HealthOf(""), HealthCheckResponse::SERVING);
  EXPECT_FALSE(Stats().has_recovery());
  EXPECT_EQ(Stats().tables_size(), 1);
  EXPECT_GT(Stats().log().estimated_recovery_seconds(), 0);
  EXPECT_EQ(Info().epoch(), 2u);
  EXPECT_EQ(Row("t", 0)[0], 2.0f);
}

TEST_F(RecoveryTest, WhatItIsAskedMeanwhileIsRefusedWithAdvice) {
  Hold hold(disk_);
  Listen();
  hold.WaitUntilHeld();
  const auto expect_recovering = [](const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), kUnavailable) << status.error_message();
    const Details details = DetailsOf(status);
    EXPECT_EQ(details.reason, "RECOVERING");
    EXPECT_TRUE(details.has_retry);
    EXPECT_THAT(status.error_message(), ::testing::HasSubstr("% done"));
  };

  expect_recovering(LookupRow0());
  grpc::ClientContext list_context;
  v1::ListTablesResponse tables;
  expect_recovering(tables_->ListTables(&list_context, {}, &tables));
  grpc::ClientContext stream_context;
  auto stream = rows_->LookupStream(&stream_context);
  v1::LookupStreamResponse response;
  EXPECT_FALSE(stream->Read(&response));
  expect_recovering(stream->Finish());

  hold.Release();
  EXPECT_TRUE(server_->WaitUntilReady().ok());
  EXPECT_TRUE(LookupRow0().ok());
}

TEST_F(RecoveryTest, OurClientWaitsForItAndAWatcherIsTold) {
  Hold hold(disk_);
  Listen();
  hold.WaitUntilHeld();
  grpc::ClientContext watch_context;
  auto watch = Health::NewStub(channel_)->Watch(&watch_context, {});
  HealthCheckResponse told;
  ASSERT_TRUE(watch->Read(&told));
  EXPECT_EQ(told.status(), HealthCheckResponse::NOT_SERVING);
  auto client = Client::Connect({.server = server_->address()});
  ASSERT_TRUE(client.ok()) << client.status();
  auto tables =
      std::async(std::launch::async, [&] { return (*client)->ListTables(); });
  // It has been refused at least once.
  const auto refused = [this] {
    const v1::GetStatsResponse stats = Stats();
    for (const auto& method : stats.methods()) {
      if (method.method() == "ListTables") {
        return method.failed() > 0;
      }
    }
    return false;
  };
  while (!refused()) {
    std::this_thread::yield();
  }

  hold.Release();

  const auto listed = tables.get();
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_EQ(listed->size(), 1u);
  ASSERT_TRUE(watch->Read(&told));
  EXPECT_EQ(told.status(), HealthCheckResponse::SERVING);
  watch_context.TryCancel();
}

TEST_F(RecoveryTest, AStopEndsItAndLeavesTheDiskAsItWas) {
  const auto before = Content();
  {
    Hold hold(disk_);
    Listen();
    hold.WaitUntilHeld();
    auto stopped = std::async(std::launch::async, [&] {
      EXPECT_TRUE(server_->Stop(absl::Seconds(5)).ok());
    });
    // Now the server knows that it is to stop.
    while (DetailsOf(LookupRow0()).reason != "STOPPING") {
      std::this_thread::yield();
    }
    hold.Release();
    stopped.get();
    EXPECT_EQ(ReasonOf(server_->WaitUntilReady()), Reason::kStopping);
    server_.reset();
  }
  EXPECT_TRUE(Content() == before);

  Listen();
  EXPECT_TRUE(server_->WaitUntilReady().ok());
  EXPECT_EQ(Row("t", 0)[0], 2.0f);
}

TEST_F(RecoveryTest, OneThatFailsSaysWhy) {
  for (const std::string& name : disk_.Names()) {
    if (name.starts_with("log/")) {
      std::vector<std::byte> bytes = disk_.Content(name);
      bytes[1000] ^= std::byte{1};
      disk_.SetContent(name, bytes);
      break;
    }
  }
  const auto before = Content();

  const auto refused = Server::Start(OptionsOf(disk_));

  EXPECT_EQ(ReasonOf(refused.status()), Reason::kCorrupt) << refused.status();
  EXPECT_TRUE(Content() == before);
}

}  // namespace
}  // namespace quire::testing
