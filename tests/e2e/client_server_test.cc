// The client library while servers and tables come and go.

#include <atomic>
#include <latch>
#include <mutex>
#include <set>

#include "absl/time/clock.h"
#include "e2e/client_fixture.h"

namespace quire::testing {
namespace {

using ::testing::HasSubstr;

using ClientServerTest = ClientTest;

const std::vector<int64_t> kIds = {1, 2};

TEST_F(ClientServerTest, AServerThatIsNotThereIsToldWithItsAddress) {
  CreateFlat("t", 10, 2);
  const std::string address = server_->address();
  client_ =
      *Client::Connect({.server = address, .timeout = absl::Milliseconds(500)});
  EXPECT_TRUE(server_->Stop(absl::Seconds(10)).ok());
  server_.reset();

  const auto rows = client_->Lookup("t", kIds, Shape{2});

  // The deadline may end the last try.
  const auto is_away =
      ::testing::AnyOf(Reason::kCannotConnect, Reason::kDeadline);
  EXPECT_THAT(*ReasonOf(rows.status()), is_away) << rows.status();
  EXPECT_THAT(MessageOf(rows.status()), HasSubstr(address));
  const auto pushed = PushFlat(*client_, "t", {1}, 2, 1);
  EXPECT_THAT(*ReasonOf(pushed.status()), is_away) << pushed.status();
  const auto nobody = Client::Connect({.server = address});
  EXPECT_EQ(ReasonOf(nobody.status()), Reason::kCannotConnect);
  EXPECT_THAT(MessageOf(nobody.status()), HasSubstr(address));
}

TEST_F(ClientServerTest, AServerThatIsBackOnItsPortIsFoundByALivingClient) {
  CreateFlat("t", 10, 2, 1);
  ASSERT_TRUE(client_->Lookup("t", kIds, Shape{2}).ok());
  const std::string address = server_->address();
  EXPECT_TRUE(server_->Stop(absl::Seconds(10)).ok());
  server_.reset();
  ASSERT_FALSE(client_
                   ->Lookup("t", kIds, Shape{2},
                            {.deadline = absl::Now() + absl::Milliseconds(200)})
                   .ok());

  server_ = StartServer(address);
  ASSERT_NE(server_, nullptr);

  // It is waited for; and a new server has no tables.
  const absl::Status status = client_->Lookup("t", kIds, Shape{2}).status();
  EXPECT_EQ(ReasonOf(status), Reason::kNoSuchTable) << status;
  // Its table of the same name has another uid, and another dim.
  CreateFlat("t", 10, 3, 7);
  const auto rows = client_->Lookup("t", kIds, Shape{2});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->shape, (Shape{2, 3}));
  EXPECT_THAT(rows->values, ::testing::Each(7));
}

TEST_F(ClientServerTest,
       ATableMadeAnewIsTableReplacedForThoseWhoMeanTheOldOne) {
  CreateFlat("t", 10, 2, 1);
  const auto pushed = PushFlat(*client_, "t", {3}, 2, 1);
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  const TableUid old_uid = pushed->tables[0].uid;
  ASSERT_TRUE(client_->DropTable("t").ok());
  CreateFlat("t", 10, 2, 5);
  std::vector<float> out(4);
  const LookupItem old_item{
      .table = "t", .uid = old_uid, .ids = kIds, .out = out};

  const absl::Status lookup = client_->Lookup({&old_item, 1});
  const auto push = PushFlat(*client_, "t", {3}, 2, 1, old_uid);

  EXPECT_EQ(ReasonOf(lookup), Reason::kTableReplaced) << lookup;
  EXPECT_EQ(FieldOf(lookup), "tables[0].table.uid");
  EXPECT_EQ(ReasonOf(push.status()), Reason::kTableReplaced) << push.status();
  EXPECT_EQ(client_->GetTable("t")->step(), 0);
  // Whoever does not say which gets the new one.
  const auto rows = client_->Lookup("t", kIds, Shape{2});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_THAT(rows->values, ::testing::Each(5));
}

TEST_F(ClientServerTest, SixtyFourCreatorsAtOnceGetOneTable) {
  constexpr int kCreators = 64;
  std::latch start(kCreators);
  std::mutex mutex;
  std::set<std::string> uids;
  int created = 0;
  int failed = 0;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(Connect(*server_));
  }

  // Half of the memory: a second one at once would not fit.
  OnThreads(kCreators, [&](int i) {
    start.arrive_and_wait();
    const auto response = Create(*clients[static_cast<size_t>(i) % 8],
                                 FlatSpec("t", 600'000, 64, 3));
    const std::lock_guard lock(mutex);
    if (!response.ok()) {
      ++failed;
      ADD_FAILURE() << response.status();
      return;
    }
    uids.insert(response->table().uid());
    created += response->created() ? 1 : 0;
  });

  EXPECT_EQ(failed, 0);
  EXPECT_EQ(uids.size(), 1u);
  EXPECT_EQ(created, 1);
  EXPECT_EQ(client_->ListTables()->size(), 1u);
  const auto rows = client_->Lookup("t", kIds, Shape{2});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_THAT(rows->values, ::testing::Each(3));
}

// Each lookup and push under way succeeds whole, or there is no such table.
TEST_F(ClientServerTest, ATableIsDroppedAndMadeAgainUnderLookupsAndPushes) {
  constexpr int64_t kRows = 100;
  constexpr int64_t kDim = 65;
  std::atomic<bool> stop = false;
  std::atomic<int64_t> whole = 0;
  std::atomic<int64_t> pushes = 0;
  std::atomic<int64_t> not_found = 0;
  std::mutex mutex;
  std::vector<std::string> wrong;
  const auto judge = [&](const absl::Status& status) {
    if (ReasonOf(status) == Reason::kNoSuchTable) {
      ++not_found;
    } else {
      const std::lock_guard lock(mutex);
      wrong.push_back(MessageOf(status));
    }
  };
  std::vector<int64_t> ids(kRows);
  std::ranges::generate(ids, [i = int64_t{0}]() mutable { return i++; });
  CreateFlat("t", kRows, kDim, 1);

  std::thread dropper([&] {
    const auto client = Connect(*server_);
    for (int round = 0; round < 50; ++round) {
      // Until the table has been used again: a drop of an idle one shows
      // nothing.
      const int64_t seen_whole = whole;
      const int64_t seen_pushes = pushes;
      const absl::Time give_up = absl::Now() + absl::Seconds(30);
      while ((whole == seen_whole || pushes == seen_pushes) &&
             absl::Now() < give_up) {
        std::this_thread::yield();
      }
      EXPECT_TRUE(client->DropTable("t").ok());
      const int64_t seen_not_found = not_found;
      while (not_found == seen_not_found && absl::Now() < give_up) {
        std::this_thread::yield();
      }
      EXPECT_TRUE(Create(*client, FlatSpec("t", kRows, kDim,
                                           static_cast<float>(1000 * round)))
                      .ok());
    }
    stop = true;
  });
  OnThreads(4, [&](int thread) {
    const auto client = Connect(*server_);
    std::vector<float> out(kRows * kDim);
    while (!stop) {
      if (thread % 2 == 0) {
        const auto pushed = PushFlat(*client, "t", ids, kDim, -1);
        pushed.ok() ? static_cast<void>(++pushes) : judge(pushed.status());
        continue;
      }
      const LookupItem item{.table = "t", .uid = {}, .ids = ids, .out = out};
      const absl::Status status = client->Lookup({&item, 1});
      if (!status.ok()) {
        judge(status);
        continue;
      }
      ++whole;
      for (size_t row = 0; row < kRows; ++row) {
        const auto first = out.begin() + static_cast<ptrdiff_t>(row * kDim);
        if (!std::all_of(first, first + kDim,
                         [first](float value) { return value == *first; })) {
          judge(absl::InternalError("a torn row"));
        }
      }
    }
  });
  dropper.join();

  EXPECT_THAT(wrong, ::testing::IsEmpty());
  EXPECT_GT(whole, 0);
  EXPECT_GT(pushes, 0);
  EXPECT_GT(not_found, 0);
  // The memory of 50 dropped tables has been given back.
  const int64_t one_table = client_->GetTable("t")->stats().value_bytes();
  absl::StatusOr<v1::GetStatsResponse> stats = client_->GetStats();
  const absl::Time give_up = absl::Now() + absl::Seconds(30);
  while (stats->table_bytes() > one_table && absl::Now() < give_up) {
    stats = client_->GetStats();
  }
  EXPECT_EQ(stats->table_bytes(), one_table);
}

}  // namespace
}  // namespace quire::testing
