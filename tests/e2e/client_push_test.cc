// Pushes by the client library to a real server: one step each, never split.

#include <atomic>
#include <cmath>
#include <cstring>
#include <latch>
#include <limits>
#include <random>

#include "absl/time/clock.h"
#include "e2e/client_fixture.h"
#include "main/seed.h"

namespace quire::testing {
namespace {

using ::testing::HasSubstr;

using ClientPushTest = ClientTest;

TEST_F(ClientPushTest, SeveralTablesAreOneStepOfEach) {
  CreateFlat("a", 10, 2);
  CreateFlat("b", 10, 3);
  const std::vector<int64_t> ids = {4, 7, 4};
  const std::vector<float> for_a = {1, 2, 10, 20, 3, 4};
  const std::vector<float> for_b(9, 0.5f);
  const std::vector<GradientItem> items = {{.table = "a",
                                            .uid = {},
                                            .ids = ids,
                                            .gradient = for_a,
                                            .learning_rate = {}},
                                           {.table = "b",
                                            .uid = {},
                                            .ids = ids,
                                            .gradient = for_b,
                                            .learning_rate = 2.0}};

  const auto pushed = client_->ApplyGradient(items);

  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_EQ(pushed->tables[0].step, 1);
  EXPECT_EQ(pushed->tables[1].step, 1);
  EXPECT_EQ(pushed->tables[0].rows_changed, 2);
  EXPECT_THAT(client_->Lookup("a", ids, Shape{3})->values,
              ::testing::ElementsAre(-4, -6, -10, -20, -4, -6));
  EXPECT_THAT(client_->Lookup("b", ids, Shape{3})->values,
              ::testing::ElementsAre(-2, -2, -2, -1, -1, -1, -2, -2, -2));
}

TEST_F(ClientPushTest, ManyOfManyThreadsAreEachOneStep) {
  CreateFlat("t", 10, 8);
  constexpr int kThreads = 4;
  constexpr int kEach = 100;
  std::atomic<int> failed = 0;
  std::latch done(kThreads * kEach);

  OnThreads(kThreads, [&](int) {
    for (int i = 0; i < kEach; ++i) {
      const std::vector<int64_t> ids = {3};
      const std::vector<float> gradient(8, -1.0f);
      const GradientItem item{.table = "t",
                              .uid = {},
                              .ids = ids,
                              .gradient = gradient,
                              .learning_rate = {}};
      client_->ApplyGradientAsync({&item, 1}, {},
                                  [&](absl::StatusOr<Pushed> pushed) {
                                    failed += pushed.ok() ? 0 : 1;
                                    done.count_down();
                                  });
      failed += PushFlat(*client_, "t", {4}, 8, -1).ok() ? 0 : 1;
    }
  });
  done.wait();

  EXPECT_EQ(failed, 0);
  EXPECT_EQ(client_->GetTable("t")->step(), 2 * kThreads * kEach);
  const std::vector<int64_t> ids = {3, 4};
  EXPECT_THAT(client_->Lookup("t", ids, Shape{2})->values,
              ::testing::Each(static_cast<float>(kThreads * kEach)));
}

TEST_F(ClientPushTest, ARefusalComesWithTheServersSentenceReasonAndField) {
  CreateFlat("t", 10, 2);
  const auto refused = [&](const std::string& table, std::vector<int64_t> ids,
                           int64_t dim, float value, Reason reason,
                           const std::string& field, const std::string& says) {
    const auto pushed = PushFlat(*client_, table, ids, dim, value);
    EXPECT_EQ(pushed.status().code(), CodeOf(reason)) << pushed.status();
    EXPECT_EQ(ReasonOf(pushed.status()), reason) << pushed.status();
    EXPECT_EQ(FieldOf(pushed.status()), field);
    EXPECT_THAT(MessageOf(pushed.status()), HasSubstr(says));
  };
  refused("nobody", {1}, 2, 1, Reason::kNoSuchTable, "tables[0].table.name",
          "'nobody'");
  refused("a b", {1}, 2, 1, Reason::kBadName, "tables[0].table.name", "a b");
  refused("t", {1, -5}, 2, 1, Reason::kIdOutOfRange, "tables[0].ids.ids[1]",
          "id -5 at position 1");
  refused("t", {1}, 3, 1, Reason::kBadShape, "tables[0].gradient.shape",
          "(1, 2)");
  refused("t", {1}, 2, std::nanf(""), Reason::kNonFinite, "tables[0].gradient",
          "not finite");
  EXPECT_EQ(client_->GetTable("t")->step(), 0);
  const std::vector<int64_t> ids = {1};
  EXPECT_THAT(client_->Lookup("t", ids, Shape{1})->values, ::testing::Each(0));
}

TEST_F(ClientPushTest, ADeadlineThatHasPassedChangesNothing) {
  CreateFlat("t", 10, 1);
  const std::vector<int64_t> ids = {1};
  const std::vector<float> gradient = {1};
  const GradientItem item{.table = "t",
                          .uid = {},
                          .ids = ids,
                          .gradient = gradient,
                          .learning_rate = {}};

  const auto pushed = client_->ApplyGradient(
      {&item, 1}, {.deadline = absl::Now() - absl::Seconds(1)});

  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kDeadline);
  EXPECT_EQ(client_->GetTable("t")->step(), 0);
}

// --- Over the limit ---

// One server takes pushes of 64 KiB, the other ones of any size: what the
// client sums for the first must equal what the second sums itself.
class LargePushTest : public ClientTest {
 protected:
  static constexpr int64_t kLimit = 64 << 10;
  static constexpr int64_t kDim = 9;

  void SetUp() override {
    server_ = StartServer("127.0.0.1:0", kLimit);
    client_ = Connect(*server_);
    roomy_server_ = StartServer();
    roomy_client_ = Connect(*roomy_server_);
  }

  static std::string Rows(Client& client, const std::string& table) {
    v1::ReadRowsRequest request;
    request.mutable_table()->set_name(table);
    for (int64_t id = 0; id < 100; ++id) {
      request.mutable_ids()->add_ids(id);
    }
    const auto rows = client.ReadRows(request);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows->SerializeAsString();
  }

  std::unique_ptr<Server> roomy_server_;
  std::unique_ptr<Client> roomy_client_;
};

TEST_F(LargePushTest, ItsDuplicatesAreSummedInRequestOrderAsTheServerSums) {
  std::mt19937_64 random(Seed());
  std::normal_distribution<float> normal;
  for (const std::string optimizer : {"sgd", "adagrad", "rowwise_adagrad"}) {
    SCOPED_TRACE(optimizer);
    v1::TableSpec spec;
    spec.set_name(optimizer);
    spec.set_num_embeddings(100);
    spec.set_embedding_dim(kDim);
    if (optimizer == "adagrad") {
      spec.mutable_optimizer()->mutable_adagrad();
    } else if (optimizer == "rowwise_adagrad") {
      spec.mutable_optimizer()->mutable_rowwise_adagrad();
    }
    ASSERT_TRUE(Create(*client_, spec).ok());
    ASSERT_TRUE(Create(*roomy_client_, spec).ok());
    ASSERT_EQ(Rows(*client_, optimizer), Rows(*roomy_client_, optimizer));
    for (int64_t step = 1; step <= 3; ++step) {
      std::vector<int64_t> ids(20'000);  // 880 KB
      std::ranges::generate(ids, [&] { return random() % 100; });
      std::vector<float> gradient(ids.size() * kDim);
      // Of very different sizes, so that the order of a sum shows.
      std::ranges::generate(gradient, [&] {
        return std::ldexp(normal(random), static_cast<int>(random() % 24));
      });
      const GradientItem item{.table = optimizer,
                              .uid = {},
                              .ids = ids,
                              .gradient = gradient,
                              .learning_rate = {}};

      const auto pushed = client_->ApplyGradient({&item, 1});
      const auto twin = roomy_client_->ApplyGradient({&item, 1});

      ASSERT_TRUE(pushed.ok()) << pushed.status();
      ASSERT_TRUE(twin.ok()) << twin.status();
      EXPECT_EQ(pushed->tables[0].step, step);
      EXPECT_EQ(twin->tables[0].step, step);
      EXPECT_EQ(pushed->tables[0].rows_changed, twin->tables[0].rows_changed);
      EXPECT_EQ(Rows(*client_, optimizer), Rows(*roomy_client_, optimizer));
    }
  }
}

TEST_F(LargePushTest, OneThatDoesNotFitIsRefusedWithTheLimitAndARemedy) {
  CreateFlat("t", 10'000, kDim);
  std::vector<int64_t> ids(10'000);
  std::ranges::generate(ids, [i = int64_t{0}]() mutable { return i++; });

  const auto pushed = PushFlat(*client_, "t", ids, kDim, 1);

  EXPECT_EQ(pushed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(pushed.status()), Reason::kTooLarge);
  EXPECT_THAT(MessageOf(pushed.status()), HasSubstr("65536 bytes"));
  EXPECT_THAT(MessageOf(pushed.status()), HasSubstr("Push fewer rows"));
  EXPECT_EQ(client_->GetTable("t")->step(), 0);
  // The remedy works: parts of it are pushed, each one step.
  for (size_t at = 0; at < ids.size(); at += 1000) {
    const auto part =
        PushFlat(*client_, "t",
                 {ids.begin() + static_cast<ptrdiff_t>(at),
                  ids.begin() + static_cast<ptrdiff_t>(at) + 1000},
                 kDim, 1);
    ASSERT_TRUE(part.ok()) << part.status();
  }
  EXPECT_EQ(client_->GetTable("t")->step(), 10);
}

}  // namespace
}  // namespace quire::testing
