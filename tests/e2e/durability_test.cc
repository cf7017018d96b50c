// LOGGED tables, sessions and snapshots, as a stock client sees them.

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iterator>
#include <numeric>
#include <thread>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/client.h"
#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

constexpr auto kPrecondition = grpc::StatusCode::FAILED_PRECONDITION;

class DurableServiceTest : public ServiceTest {
 protected:
  void SetUp() override {
    std::string name =
        (std::filesystem::temp_directory_path() / "quire-XXXXXX").string();
    directory_ = mkdtemp(name.data());
    StartServer(directory_ + "/data");
    v1::TableSpec spec = Spec("t", 10, 1);
    spec.mutable_initializer()->mutable_zeros();
    ASSERT_TRUE(Create(spec).ok());
    session_ = OpenSession();
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  void Restart() {
    EXPECT_TRUE(server_->Stop(absl::Seconds(5)).ok());
    server_.reset();
    StartServer(directory_ + "/data");
  }

  std::string OpenSession() {
    grpc::ClientContext context;
    v1::OpenSessionResponse response;
    EXPECT_TRUE(rows_->OpenSession(&context, {}, &response).ok());
    EXPECT_EQ(response.session_id().size(), 16u);
    return response.session_id();
  }

  // Adds 1 to row 1.
  v1::ApplyGradientRequest PushOf(uint64_t sequence) const {
    v1::ApplyGradientRequest request;
    request.mutable_push_id()->set_session_id(session_);
    request.mutable_push_id()->set_sequence(sequence);
    SetGradient({1, 1}, {-1}, Add(request, "t", {1}));
    return request;
  }

  v1::RewindTableRequest RewindOf(uint64_t to_lsn) const {
    v1::RewindTableRequest request;
    request.mutable_table()->set_name("t");
    request.set_to_lsn(to_lsn);
    return request;
  }
  grpc::Status Rewind(const v1::RewindTableRequest& request,
                      v1::RewindTableResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::RewindTableResponse ignored;
    return tables_->RewindTable(&context, request,
                                response == nullptr ? &ignored : response);
  }

  void RestartWithBackups(const std::string& backup_dir) {
    server_.reset();
    ServerOptions options = Options(directory_ + "/data");
    options.backup_dir = backup_dir;
    auto server = Server::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    Use(*std::move(server));
  }
  grpc::Status BackUp(const std::string& name,
                      v1::BackUpResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::BackUpRequest request;
    request.set_name(name);
    v1::BackUpResponse ignored;
    return tables_->BackUp(&context, request,
                           response == nullptr ? &ignored : response);
  }
  std::vector<std::string> Features() {
    grpc::ClientContext context;
    v1::GetServerInfoResponse info;
    EXPECT_TRUE(info_->GetServerInfo(&context, {}, &info).ok());
    return {info.features().begin(), info.features().end()};
  }

  std::string directory_;
  std::string session_;
};

TEST_F(DurableServiceTest, APushIsAppliedOnceHoweverOftenItComes) {
  v1::ApplyGradientResponse first;
  ASSERT_TRUE(Push(PushOf(1), &first).ok());
  EXPECT_FALSE(first.duplicate());
  EXPECT_TRUE(first.exactly_once());
  EXPECT_EQ(first.reached(), v1::DURABILITY_WRITTEN);
  EXPECT_GT(first.position().epoch(), 0u);
  EXPECT_GT(first.position().lsn(), 0u);

  v1::ApplyGradientResponse again;
  ASSERT_TRUE(Push(PushOf(1), &again).ok());
  EXPECT_TRUE(again.duplicate());
  EXPECT_TRUE(again.exactly_once());
  EXPECT_EQ(again.position().lsn(), first.position().lsn());
  EXPECT_EQ(again.tables(0).table_uid(), first.tables(0).table_uid());
  EXPECT_EQ(Row("t", 1)[0], 1.0f);

  Restart();
  v1::ApplyGradientResponse later;
  ASSERT_TRUE(Push(PushOf(1), &later).ok());
  EXPECT_TRUE(later.duplicate());
  EXPECT_EQ(later.position().lsn(), first.position().lsn());
  EXPECT_GT(later.position().epoch(), first.position().epoch());
  EXPECT_EQ(Row("t", 1)[0], 1.0f);
  EXPECT_EQ(Describe("t").step(), 1);
}

TEST_F(DurableServiceTest, WhatIsWrongWithAPushsNameIsSaid) {
  ASSERT_TRUE(Push(PushOf(2000)).ok());
  v1::ApplyGradientRequest other = PushOf(2000);
  other.mutable_tables(0)->mutable_gradient()->set_values(0, -2);
  ExpectRefused([&] { return Push(other); },
                {kInvalid, "SEQUENCE_REUSED", "push_id.sequence", {"2000"}});
  ExpectRefused([&] { return Push(PushOf(5)); },
                {kPrecondition, "SEQUENCE_TOO_OLD", "push_id.sequence", {}});
  v1::ApplyGradientRequest unknown = PushOf(1);
  unknown.mutable_push_id()->set_session_id("nobody knows it.");
  ExpectRefused([&] { return Push(unknown); },
                {kPrecondition, "SESSION_EXPIRED", "push_id.session_id", {}});
  const auto close = [&] {
    grpc::ClientContext context;
    v1::CloseSessionRequest request;
    request.set_session_id(session_);
    v1::CloseSessionResponse response;
    return rows_->CloseSession(&context, request, &response);
  };
  ASSERT_TRUE(close().ok());
  ExpectRefused([&] { return Push(PushOf(2001)); },
                {kPrecondition, "SESSION_EXPIRED", "push_id.session_id", {}});
  ExpectRefused(close,
                {kPrecondition, "SESSION_EXPIRED", "push_id.session_id", {}});
}

// A refusal does not use up the number; and what had been applied is known
// also when it would be refused by now.
TEST_F(DurableServiceTest, ARefusalLeavesTheNumberToThePush) {
  v1::ApplyGradientRequest bad = PushOf(1);
  bad.mutable_tables(0)->mutable_ids()->set_ids(0, 99);
  ExpectRefused([&] { return Push(bad); },
                {kOutOfRange, "ID_OUT_OF_RANGE", "tables[0].ids.ids[0]", {}});
  v1::ApplyGradientResponse pushed;
  ASSERT_TRUE(Push(PushOf(1), &pushed).ok());
  EXPECT_FALSE(pushed.duplicate());

  grpc::ClientContext context;
  v1::DropTableRequest drop;
  drop.mutable_table()->set_name("t");
  v1::DropTableResponse dropped;
  ASSERT_TRUE(tables_->DropTable(&context, drop, &dropped).ok());
  ASSERT_TRUE(Push(PushOf(1), &pushed).ok());
  EXPECT_TRUE(pushed.duplicate());
  EXPECT_EQ(pushed.tables_size(), 1);
}

TEST_F(DurableServiceTest, APushSaysHowSafeItIsToBe) {
  v1::ApplyGradientRequest push = PushOf(1);
  push.set_min_durability(v1::DURABILITY_SYNCED);
  v1::ApplyGradientResponse response;
  ASSERT_TRUE(Push(push, &response).ok());
  EXPECT_EQ(response.reached(), v1::DURABILITY_SYNCED);
  push = PushOf(2);
  push.set_min_durability(v1::DURABILITY_REPLICATED);
  ExpectRefused(
      [&] { return Push(push); },
      {kPrecondition, "UNSUPPORTED_DURABILITY", "min_durability", {"SYNCED"}});
}

TEST_F(DurableServiceTest, PushesOnAStreamAreAnsweredInOrder) {
  grpc::ClientContext context;
  auto stream = rows_->ApplyGradientStream(&context);
  constexpr uint64_t kCount = 50;
  for (uint64_t i = 1; i <= kCount; ++i) {
    v1::ApplyGradientStreamRequest request;
    request.set_request_id(i);
    *request.mutable_request() = PushOf(i);
    request.mutable_request()->set_min_durability(
        i % 5 == 0 ? v1::DURABILITY_SYNCED : v1::DURABILITY_UNSPECIFIED);
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  uint64_t lsn = 0;
  for (uint64_t i = 1; i <= kCount; ++i) {
    v1::ApplyGradientStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.request_id(), i);
    EXPECT_GT(response.response().position().lsn(), lsn);
    lsn = response.response().position().lsn();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(Row("t", 1)[0], static_cast<float>(kCount));
}

TEST_F(DurableServiceTest, ASnapshotIsMadeAndToldOf) {
  v1::ApplyGradientResponse pushed;
  ASSERT_TRUE(Push(PushOf(1), &pushed).ok());
  grpc::ClientContext context;
  v1::CreateSnapshotResponse made;
  ASSERT_TRUE(tables_->CreateSnapshot(&context, {}, &made).ok());
  EXPECT_EQ(made.position().lsn(), pushed.position().lsn());

  grpc::ClientContext stats_context;
  v1::GetStatsResponse stats;
  ASSERT_TRUE(info_->GetStats(&stats_context, {}, &stats).ok());
  EXPECT_EQ(stats.sessions(), 1);
  EXPECT_EQ(stats.log().snapshot_lsn(), made.position().lsn());
  EXPECT_EQ(stats.log().appended().lsn(), made.position().lsn());
  EXPECT_GE(stats.log().synced().lsn(), made.position().lsn());
  EXPECT_FALSE(stats.log().has_failed());
}

TEST_F(DurableServiceTest, ATableIsRewound) {
  const std::string old_uid = Describe("t").uid();
  v1::ApplyGradientResponse pushed;
  ASSERT_TRUE(Push(PushOf(1), &pushed).ok());
  const uint64_t first = pushed.position().lsn();
  ASSERT_TRUE(Push(PushOf(2)).ok());
  ASSERT_TRUE(Push(PushOf(3), &pushed).ok());
  EXPECT_EQ(Row("t", 1)[0], 3.0f);

  v1::RewindTableResponse rewound;
  const grpc::Status status = Rewind(RewindOf(first), &rewound);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(Row("t", 1)[0], 1.0f);
  EXPECT_EQ(rewound.table().step(), 1);
  EXPECT_NE(rewound.table().uid(), old_uid);
  EXPECT_EQ(rewound.table().uid(), Describe("t").uid());
  EXPECT_GT(rewound.position().lsn(), pushed.position().lsn());
  EXPECT_GT(rewound.position().epoch(), 0u);

  // What was undone is not done again, and who means the old one is told.
  ASSERT_TRUE(Push(PushOf(2), &pushed).ok());
  EXPECT_TRUE(pushed.duplicate());
  v1::ApplyGradientRequest of_the_old = PushOf(4);
  of_the_old.mutable_tables(0)->mutable_table()->set_uid(old_uid);
  ExpectRefused(
      [&] { return Push(of_the_old); },
      {kPrecondition, "TABLE_REPLACED", "tables[0].table.uid", {"rewound"}});
  ASSERT_TRUE(Push(PushOf(4)).ok());
  EXPECT_EQ(Row("t", 1)[0], 2.0f);
  Restart();
  EXPECT_EQ(Row("t", 1)[0], 2.0f);
  EXPECT_EQ(Describe("t").uid(), rewound.table().uid());
  EXPECT_EQ(Describe("t").step(), 2);

  ExpectRefused([&] { return Rewind(RewindOf(0)); },
                {kInvalid, "BAD_VALUE", "to_lsn", {"1 or more"}});
  ExpectRefused([&] { return Rewind(RewindOf(1'000'000)); },
                {kPrecondition, "NOT_KEPT", "", {"1000000", "last change"}});
}

// Every push adds 1 to every row: rows that are not as of one position differ.
TEST_F(DurableServiceTest, AnExportIsAsOfOnePositionWhilePushesGoOn) {
  constexpr int64_t kRows = 30'000;
  constexpr int64_t kDim = 64;
  v1::TableSpec spec = Spec("counts", kRows, kDim);
  spec.mutable_initializer()->mutable_zeros();
  ASSERT_TRUE(Create(spec).ok());
  while (Describe("counts").state() != v1::TABLE_STATE_READY) {
    std::this_thread::yield();
  }
  // One bag of all rows: its gradient goes to each.
  std::vector<int64_t> ids(kRows);
  std::iota(ids.begin(), ids.end(), 0);
  v1::ApplyGradientRequest push;
  v1::TableGradient& gradient = Add(push, "counts", ids);
  gradient.mutable_bags()->set_pooling(v1::Bags::POOLING_SUM);
  gradient.mutable_bags()->add_offsets(0);
  SetGradient({1, kDim}, std::vector<float>(kDim, -1.0f), gradient);
  const grpc::Status first = Push(push);
  ASSERT_TRUE(first.ok()) << first.error_message();
  std::atomic<bool> is_over = false;
  std::vector<std::thread> writers;
  for (int w = 0; w < 2; ++w) {
    writers.emplace_back([&] {
      while (!is_over) {
        EXPECT_TRUE(Push(push).ok());
      }
    });
  }
  for (int look = 0; look < 5; ++look) {
    grpc::ClientContext context;
    v1::ExportTableRequest request;
    request.mutable_table()->set_name("counts");
    auto reader = tables_->ExportTable(&context, request);
    v1::ExportTableResponse response;
    ASSERT_TRUE(reader->Read(&response));
    EXPECT_GT(response.position().lsn(), 0u);
    const auto count = static_cast<float>(response.header().step());
    int64_t rows = 0;
    int64_t others = 0;
    while (reader->Read(&response)) {
      const auto& values = response.chunk().values().values();
      rows += values.size() / kDim;
      others += std::ranges::count_if(
          values, [&](float value) { return value != count; });
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(rows, kRows);
    EXPECT_EQ(others, 0) << "of " << kRows * kDim << ", at step " << count;
  }
  is_over = true;
  for (std::thread& writer : writers) {
    writer.join();
  }
}

TEST_F(DurableServiceTest, WithoutADirectoryForThemThereAreNoBackups) {
  ExpectRefused([&] { return BackUp("monday"); },
                {kPrecondition, "NO_BACKUP_DIR", "", {"--backup-dir"}});
  EXPECT_THAT(Features(), ::testing::Contains("snapshots"));
  EXPECT_THAT(Features(), ::testing::Not(::testing::Contains("backup")));
}

TEST_F(DurableServiceTest, ABackupIsMadeUnderItsNameAndNowhereElse) {
  namespace fs = std::filesystem;
  const fs::path backups = fs::path(directory_) / "backups";
  fs::create_directory(backups);
  RestartWithBackups(backups);
  EXPECT_THAT(Features(), ::testing::Contains("backup"));
  v1::ApplyGradientResponse pushed;
  ASSERT_TRUE(Push(PushOf(1), &pushed).ok());

  v1::BackUpResponse made;
  const grpc::Status status = BackUp("monday", &made);

  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(made.position().epoch(), pushed.position().epoch());
  EXPECT_EQ(made.position().lsn(), pushed.position().lsn());
  EXPECT_GT(made.bytes(), 0);
  EXPECT_EQ(std::ranges::count_if(
                fs::recursive_directory_iterator(backups / "monday"),
                [](const auto& entry) { return entry.is_regular_file(); }),
            made.files());
  ExpectRefused([&] { return BackUp("monday"); },
                {kInvalid, "BAD_VALUE", "name", {"has a file"}});
  for (const std::string& name :
       {std::string(), std::string(".."), std::string("../tuesday"),
        std::string("monday/inner"), directory_ + "/tuesday"}) {
    ExpectRefused([&] { return BackUp(name); },
                  {kInvalid, "BAD_NAME", "name", {"not a path"}});
  }
  fs::create_directory_symlink(directory_, backups / "link");
  ExpectRefused([&] { return BackUp("link"); },
                {kInvalid, "BAD_VALUE", "name", {"symbolic link"}});
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), {}), 2);
  EXPECT_EQ(std::distance(fs::directory_iterator(backups), {}), 2);
}

TEST_F(DurableServiceTest, ARowIsShownWithItsStateAndItsLastChange) {
  v1::TableSpec spec = Spec("adam", 4, 2);
  spec.mutable_optimizer()->mutable_adam();
  ASSERT_TRUE(Create(spec).ok());
  v1::ApplyGradientRequest push;
  SetGradient({1, 2}, {1, 2}, Add(push, "adam", {3}));
  v1::ApplyGradientResponse pushed;
  ASSERT_TRUE(Push(push, &pushed).ok());
  const auto get = [&](int64_t id, v1::GetRowResponse* row) {
    grpc::ClientContext context;
    v1::GetRowRequest request;
    request.mutable_table()->set_name("adam");
    request.set_id(id);
    return tables_->GetRow(&context, request, row);
  };
  v1::GetRowResponse row;
  ASSERT_TRUE(get(3, &row).ok());
  EXPECT_EQ(row.table_uid(), Describe("adam").uid());
  EXPECT_EQ(row.step(), 1);
  EXPECT_EQ(row.values_size(), 2);
  ASSERT_EQ(row.state_size(), 2);
  EXPECT_EQ(row.state(0).name(), "exp_avg");
  EXPECT_EQ(row.state(1).name(), "exp_avg_sq");
  EXPECT_EQ(row.state(0).values_size(), 2);
  EXPECT_GT(row.state(0).values(0), 0.0f);
  EXPECT_EQ(row.last_change().lsn(), pushed.position().lsn());
  EXPECT_EQ(row.last_change().kind(), v1::ROW_CHANGE_KIND_PUSH);
  EXPECT_EQ(row.first_lsn(), 1u);
  ASSERT_TRUE(get(0, &row).ok());
  EXPECT_EQ(row.last_change().kind(), v1::ROW_CHANGE_KIND_CREATE);
  ExpectRefused([&] { return get(4, &row); },
                {kOutOfRange, "ID_OUT_OF_RANGE", "id", {"[0, 4)"}});
}

// What waits for a push that has not come holds up nobody: not the threads that
// all calls come in by.
TEST_F(DurableServiceTest, ALookupWaitsForItsPosition) {
  v1::ApplyGradientResponse pushed;
  ASSERT_TRUE(Push(PushOf(1), &pushed).ok());
  v1::LookupRequest request;
  Add(request, "t", {1});
  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());
  EXPECT_EQ(response.position().epoch(), pushed.position().epoch());
  EXPECT_EQ(response.position().lsn(), pushed.position().lsn());

  *request.mutable_min_position() = pushed.position();
  ASSERT_TRUE(Lookup(request, &response).ok());
  request.mutable_min_position()->set_lsn(pushed.position().lsn() + 2);
  std::atomic<int> answered = 0;
  std::vector<std::thread> waiting;
  for (int i = 0; i < 10; ++i) {
    waiting.emplace_back([&] {
      grpc::ClientContext context;
      v1::LookupResponse late;
      const grpc::Status status = rows_->Lookup(&context, request, &late);
      EXPECT_TRUE(status.ok()) << status.error_message();
      EXPECT_GE(late.position().lsn(), request.min_position().lsn());
      EXPECT_EQ(late.tables(0).embeddings().values(0), 3.0f);
      ++answered;
    });
  }
  grpc::ClientContext context;
  auto stream = rows_->LookupStream(&context);
  v1::LookupStreamRequest on_stream;
  on_stream.set_request_id(7);
  *on_stream.mutable_request() = request;
  ASSERT_TRUE(stream->Write(on_stream));
  ASSERT_TRUE(Push(PushOf(2)).ok());
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Row("t", 1)[0], 2.0f);
  }
  EXPECT_EQ(answered, 0);

  ASSERT_TRUE(Push(PushOf(3)).ok());

  for (std::thread& thread : waiting) {
    thread.join();
  }
  v1::LookupStreamResponse late;
  ASSERT_TRUE(stream->Read(&late));
  EXPECT_EQ(late.request_id(), 7u);
  EXPECT_EQ(late.response().tables(0).embeddings().values(0), 3.0f);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(DurableServiceTest, APositionThatDoesNotComeIsToldInTime) {
  v1::LookupRequest request;
  Add(request, "t", {1});
  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());
  const v1::Position here = response.position();
  *request.mutable_min_position() = here;
  request.mutable_min_position()->set_lsn(here.lsn() + 1);
  const auto lookup_within = [&](std::chrono::milliseconds time) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + time);
    return rows_->Lookup(&context, request, &response);
  };
  const grpc::Status late = lookup_within(std::chrono::milliseconds(200));
  if (late.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
    EXPECT_EQ(late.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(DetailsOf(late).reason, "NOT_CAUGHT_UP");
    EXPECT_EQ(DetailsOf(late).field, "min_position");
    EXPECT_TRUE(DetailsOf(late).has_retry);
  }

  const auto refused_for = [&](uint64_t epoch, uint64_t lsn,
                               const Refusal& refusal) {
    request.mutable_min_position()->set_epoch(epoch);
    request.mutable_min_position()->set_lsn(lsn);
    ExpectRefused([&] { return Lookup(request); }, refusal);
  };
  refused_for(0, 1, {kInvalid, "BAD_VALUE", "min_position.epoch", {"epoch"}});
  refused_for(here.epoch() + 1, 1,
              {kPrecondition, "POSITION_LOST", "min_position", {"epoch"}});
  Restart();
  refused_for(here.epoch(), here.lsn() + 1,
              {kPrecondition,
               "POSITION_LOST",
               "min_position",
               {std::to_string(here.lsn())}});
  *request.mutable_min_position() = here;
  ASSERT_TRUE(Lookup(request, &response).ok());
  EXPECT_EQ(response.position().epoch(), here.epoch() + 1);
}

TEST_F(DurableServiceTest, MemoryTablesHaveNoPosition) {
  v1::TableSpec spec = Spec("memory", 4, 2);
  spec.set_persistence(v1::PERSISTENCE_MEMORY);
  ASSERT_TRUE(Create(spec).ok());
  v1::LookupRequest request;
  Add(request, "memory", {1});
  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());
  EXPECT_FALSE(response.has_position());
  request.mutable_min_position()->set_epoch(1);
  request.mutable_min_position()->set_lsn(1'000'000);
  ASSERT_TRUE(Lookup(request, &response).ok());
  EXPECT_FALSE(response.has_position());
}

// The grace is for calls that end by themselves.
TEST_F(DurableServiceTest, AStopTellsWhoeverWaitsForAPosition) {
  std::thread waiting([&] {
    v1::LookupRequest request;
    Add(request, "t", {1});
    request.mutable_min_position()->set_epoch(1);
    request.mutable_min_position()->set_lsn(1'000'000);
    const grpc::Status status = Lookup(request);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(DetailsOf(status).reason, "STOPPING") << status.error_message();
  });
  while (server_->engine().waiting_lookup_count() == 0) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(server_->Stop(absl::Hours(1)).ok());
  waiting.join();
}

TEST_F(DurableServiceTest, TheClientReadsNoOlderThanItIsTold) {
  ASSERT_TRUE(Create("wide", 40'000, 100).ok());
  auto client = Client::Connect({.server = server_->address()});
  ASSERT_TRUE(client.ok()) << client.status();
  const std::vector<int64_t> ids(40'000, 1);  // two messages
  const std::vector<float> gradient(100, -1.0f);
  const GradientItem item = {.table = "wide",
                             .uid = {},
                             .ids = std::span(ids).first(1),
                             .gradient = gradient,
                             .learning_rate = {}};
  const auto pushed = (*client)->ApplyGradient({&item, 1});
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  std::optional<v1::Position> position;
  LookupOptions options = {.min_position = pushed->position,
                           .position = &position};

  const auto rows = (*client)->Lookup("wide", ids, {40'000}, options);

  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_TRUE(position.has_value());
  EXPECT_EQ(position->epoch(), pushed->position->epoch());
  EXPECT_EQ(position->lsn(), pushed->position->lsn());
  options.min_position->set_lsn(position->lsn() + 1);
  options.deadline = absl::Now() + absl::Milliseconds(500);
  const absl::Status late =
      (*client)->Lookup("wide", ids, {40'000}, options).status();
  EXPECT_EQ(ReasonOf(late), Reason::kNotCaughtUp) << late;
  options.min_position->set_epoch(99);
  const absl::Status lost =
      (*client)->Lookup("wide", ids, {40'000}, options).status();
  EXPECT_EQ(ReasonOf(lost), Reason::kPositionLost) << lost;
}

}  // namespace
}  // namespace quire::testing
