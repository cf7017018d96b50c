// Lookups over real gRPC: shapes, refusals, and replies larger than what a
// stock client receives by itself.

#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using LookupTest = ServiceTest;

TEST_F(LookupTest, TheSeedExampleHasTheShapeOfItsIdsAndDim) {
  ASSERT_TRUE(Create("dictionary", 10, 5).ok());
  v1::LookupRequest request;
  Add(request, "dictionary", {2, 3, 1, 0, 8, 6}, {{3, 2}});

  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());

  const v1::Tensor& tensor = response.tables(0).embeddings();
  EXPECT_THAT(tensor.shape().dims(), ElementsAre(3, 2, 5));
  ASSERT_EQ(tensor.values_size(), 30);
  EXPECT_EQ(std::vector<float>(tensor.values().begin() + 20,
                               tensor.values().begin() + 25),
            Row("dictionary", 8));
}

TEST_F(LookupTest, IdsOfEveryRankGiveRowsOfOneRankMore) {
  ASSERT_TRUE(Create("t", 10, 3).ok());
  v1::LookupRequest request;
  Add(request, "t", {4}, std::vector<int>{});          // a scalar
  Add(request, "t", {4, 5});                           // no shape
  Add(request, "t", {}, {{2, 0, 3}});                  // empty
  Add(request, "t", {7}, {{1, 1, 1, 1, 1, 1, 1, 1}});  // rank 8

  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());

  EXPECT_THAT(response.tables(0).embeddings().shape().dims(), ElementsAre(3));
  EXPECT_THAT(response.tables(1).embeddings().shape().dims(),
              ElementsAre(2, 3));
  EXPECT_THAT(response.tables(2).embeddings().shape().dims(),
              ElementsAre(2, 0, 3, 3));
  EXPECT_EQ(response.tables(2).embeddings().values_size(), 0);
  EXPECT_EQ(response.tables(3).embeddings().shape().dims_size(), 9);
}

TEST_F(LookupTest, AnEmptyBatchIsLegalAndItsTensorHasTheRightShape) {
  ASSERT_TRUE(Create("t", 10, 3).ok());
  ASSERT_TRUE(Create("empty", 0, 7).ok());
  v1::LookupRequest request;
  Add(request, "t", {});  // no shape: [0]
  Add(request, "t", {}, {{0}});
  Add(request, "empty", {}, {{4, 0}});
  // Zero absorbs, however large its neighbours are.
  Add(request, "t", {}, {{2'000'000'000, 2'000'000'000, 0, 2'000'000'000}});

  v1::LookupResponse response;
  ASSERT_TRUE(Lookup(request, &response).ok());

  const auto dims = [&](int i) {
    return response.tables(i).embeddings().shape().dims();
  };
  EXPECT_THAT(dims(0), ElementsAre(0, 3));
  EXPECT_THAT(dims(1), ElementsAre(0, 3));
  EXPECT_THAT(dims(2), ElementsAre(4, 0, 7));
  EXPECT_THAT(dims(3),
              ElementsAre(2'000'000'000, 2'000'000'000, 0, 2'000'000'000, 3));
  for (const auto& table : response.tables()) {
    EXPECT_EQ(table.embeddings().values_size(), 0);
  }
}

TEST_F(LookupTest, OfNothingIsAnsweredWithNothing) {
  v1::LookupResponse response;
  ASSERT_TRUE(Lookup({}, &response).ok());
  EXPECT_EQ(response.tables_size(), 0);
}

// Each makes a good lookup of two tables bad in its second table.
class BadLookupTest : public LookupTest {
 protected:
  void SetUp() override {
    LookupTest::SetUp();
    ASSERT_TRUE(Create("t", 10, 5).ok());
  }

  // `add` adds the second entry.
  void ExpectRefusedLookup(const std::function<void(v1::LookupRequest&)>& add,
                           const Refusal& refusal) {
    ExpectRefused(
        [&] {
          v1::LookupRequest request;
          Add(request, "t", {1});
          add(request);
          return Lookup(request);
        },
        refusal);
  }
};

TEST_F(BadLookupTest, AnUnknownTableIsNotFoundByItsName) {
  ExpectRefusedLookup([](auto& r) { Add(r, "nobody", {1}); },
                      {grpc::StatusCode::NOT_FOUND,
                       "NO_SUCH_TABLE",
                       "tables[1].table.name",
                       {"'nobody'"}});
}

TEST_F(BadLookupTest, ABadNameIsToldAsSuch) {
  const std::string longest(128, 'a');
  ExpectRefusedLookup([&](auto& r) { Add(r, longest, {1}); },
                      {grpc::StatusCode::NOT_FOUND,
                       "NO_SUCH_TABLE",
                       "tables[1].table.name",
                       {longest}});
  for (const std::string& bad :
       {std::string(), std::string("../etc"), std::string("a b"),
        std::string(".a"), std::string("-a"), std::string("a/b"),
        std::string("a\0b", 3), std::string("k\xc3\xb6nig"),
        std::string(129, 'a')}) {
    ExpectRefusedLookup([&](auto& r) { Add(r, bad, {1}); },
                        {kInvalid,
                         "BAD_NAME",
                         "tables[1].table.name",
                         {std::to_string(bad.size()) + " bytes"}});
  }
}

TEST_F(BadLookupTest, AnIdOutOfRangeIsToldWithItsFirstPositionAndTheTable) {
  for (const int64_t bad :
       {int64_t{-1}, int64_t{10}, std::numeric_limits<int64_t>::min(),
        std::numeric_limits<int64_t>::max()}) {
    ExpectRefusedLookup(
        [&](auto& r) {
          Add(r, "t", {0, 9, bad, 3, -7}, {{5}});
        },
        {kOutOfRange,
         "ID_OUT_OF_RANGE",
         "tables[1].ids.ids[2]",
         {"'t'", "id " + std::to_string(bad) + " ", "position 2", "[0, 10)"}});
  }
}

TEST_F(BadLookupTest, AShapeThatDisagreesWithItsIdsIsToldWithBoth) {
  const auto refused = [&](std::vector<int64_t> ids, std::vector<int> dims,
                           std::vector<std::string> says) {
    ExpectRefusedLookup([&](auto& r) { Add(r, "t", ids, dims); },
                        {kInvalid, "BAD_SHAPE", "tables[1].ids.shape", says});
  };
  refused({1, 2}, {3}, {"(3,)", "3 ids", "2 came"});
  refused({1, 2}, {}, {"()", "1 ids", "2 came"});
  refused({}, {}, {"0 came"});
  refused({1}, {0}, {"0 ids", "1 came"});
  refused({1}, {-1, -1}, {"dims[0]", "-1"});
  refused({1}, {1, std::numeric_limits<int>::min()}, {"dims[1]"});
  refused({1}, std::vector<int>(9, 1), {"rank 9", "8"});
  refused({}, std::vector<int>(4, 2'000'000'000), {"2^63"});
  // 2^32 * 2^32 wraps to 0 in 64 bits: no empty batch, though.
  refused({}, std::vector<int>(4, 1 << 16), {"2^63"});
  refused({1}, std::vector<int>(8, std::numeric_limits<int>::max()), {"2^63"});
  refused({}, std::vector<int>(100'000, 0), {"rank 100000"});
}

// The shape of ids is legal, that of their rows is not.
TEST_F(BadLookupTest, RowsOfTooManyElementsAreRefused) {
  ASSERT_TRUE(Create("wide", 1, 65536).ok());
  ExpectRefusedLookup(
      [](auto& r) {
        Add(r, "wide", {}, {{1 << 20, 1 << 20, 1 << 10}});
      },
      {kInvalid, "BAD_SHAPE", "tables[1].ids.shape", {}});
}

TEST_F(BadLookupTest, AStaleUidIsToldFromAMissingTable) {
  const std::string old_uid = Describe("t").uid();
  ASSERT_EQ(old_uid.size(), 16u);
  v1::DropTableRequest drop;
  drop.mutable_table()->set_name("t");
  grpc::ClientContext context;
  v1::DropTableResponse dropped;
  ASSERT_TRUE(tables_->DropTable(&context, drop, &dropped).ok());
  EXPECT_EQ(dropped.uid(), old_uid);
  ASSERT_TRUE(Create("t", 10, 5).ok());
  ASSERT_NE(Describe("t").uid(), old_uid);

  ExpectRefusedLookup(
      [&](auto& r) { Add(r, "t", {1}).mutable_table()->set_uid(old_uid); },
      {grpc::StatusCode::FAILED_PRECONDITION,
       "TABLE_REPLACED",
       "tables[1].table.uid",
       {"'t'"}});
  ExpectRefusedLookup(
      [&](auto& r) { Add(r, "t", {1}).mutable_table()->set_uid("short"); },
      {kInvalid, "BAD_VALUE", "tables[1].table.uid", {"16", "5"}});
  v1::LookupRequest current;
  Add(current, "t", {1}).mutable_table()->set_uid(Describe("t").uid());
  EXPECT_TRUE(Lookup(current).ok());
}

TEST_F(BadLookupTest, MoreIdsOrTablesThanARequestMayHaveAreTooLarge) {
  const std::vector<int64_t> ids((1 << 22) / 2, 1);
  ExpectRefusedLookup(
      [&](auto& r) {
        Add(r, "t", ids);
        Add(r, "t", ids);
      },
      {kInvalid, "TOO_LARGE", "tables", {"4194305", "4194304", "several"}});
  ExpectRefusedLookup(
      [&](auto& r) {
        for (int i = 0; i < 4096; ++i) {
          Add(r, "t", {1});
        }
      },
      {kInvalid, "TOO_LARGE", "tables", {"4096"}});
}

TEST_F(BadLookupTest, MaxResponseBytesIsMoreThanNothing) {
  for (const int64_t bad :
       {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    ExpectRefusedLookup(
        [&](auto& r) { r.set_max_response_bytes(bad); },
        {kInvalid, "BAD_VALUE", "max_response_bytes", {std::to_string(bad)}});
  }
}

// --- Large replies ---

class LargeReplyTest : public LookupTest {
 protected:
  // 1024 rows of dim 1280: 5 MiB.
  void SetUp() override {
    LookupTest::SetUp();
    ASSERT_TRUE(Create("wide", 100, 1280).ok());
    std::vector<int64_t> ids(1024);
    std::ranges::generate(ids, [i = 0]() mutable { return i++ % 100; });
    Add(request_, "wide", ids, {{32, 32}});
  }

  // A channel as anybody makes it, but for what `receive_max` says.
  std::unique_ptr<v1::EmbeddingService::Stub> StockStub(
      std::optional<int> receive_max = {}) const {
    grpc::ChannelArguments arguments;
    if (receive_max) {
      arguments.SetInt("grpc.max_receive_message_length", *receive_max);
    }
    return v1::EmbeddingService::NewStub(grpc::CreateCustomChannel(
        server_->address(), grpc::InsecureChannelCredentials(), arguments));
  }

  static grpc::Status LookupBy(v1::EmbeddingService::Stub& stub,
                               const v1::LookupRequest& request,
                               v1::LookupResponse* response) {
    grpc::ClientContext context;
    return stub.Lookup(&context, request, response);
  }

  v1::LookupRequest request_;
};

// LANDSCAPE A16: a client with gRPC's own limits, that knows nothing of ours,
// does what the sentence says.
TEST_F(LargeReplyTest, TheSentenceLeadsAStockClientToAFiveMebibyteReply) {
  const auto stock = StockStub();
  v1::LookupResponse response;

  const grpc::Status refused = LookupBy(*stock, request_, &response);

  EXPECT_EQ(refused.error_code(), kInvalid);
  EXPECT_EQ(DetailsOf(refused).reason, "REPLY_TOO_LARGE");
  EXPECT_EQ(DetailsOf(refused).field, "max_response_bytes");
  EXPECT_THAT(refused.error_message(), HasSubstr("4000000"));
  EXPECT_THAT(refused.error_message(),
              HasSubstr("grpc.max_receive_message_length"));
  const std::string advice = "set max_response_bytes to ";
  const size_t found = refused.error_message().find(advice);
  ASSERT_NE(found, std::string::npos) << refused.error_message();
  const int advised =
      std::stoi(refused.error_message().substr(found + advice.size()));
  EXPECT_GE(advised, 5 << 20);
  // Half of the advice: the reply is sent, and the client's gRPC refuses it.
  request_.set_max_response_bytes(advised);
  EXPECT_EQ(LookupBy(*stock, request_, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  // All of it, to the byte.
  const grpc::Status status =
      LookupBy(*StockStub(advised), request_, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.ByteSizeLong(), static_cast<size_t>(advised));
  const v1::Tensor& rows = response.tables(0).embeddings();
  EXPECT_THAT(rows.shape().dims(), ElementsAre(32, 32, 1280));
  ASSERT_EQ(rows.values_size(), 1024 * 1280);
  for (const int id : {0, 1, 99}) {
    const std::vector<float> row = Row("wide", id);
    EXPECT_EQ(std::memcmp(row.data(), &rows.values().Get(id * 1280), 5120), 0);
  }
}

// What is sent by default fits the default.
TEST_F(LargeReplyTest, ARefusalIsDueJustAboveTheDefaultAndNotBelow) {
  const auto stock = StockStub();
  auto& ids = *request_.mutable_tables(0)->mutable_ids();
  ids.clear_shape();
  ids.mutable_ids()->Truncate(781);  // 781 * 5120 = 3,998,720
  v1::LookupResponse response;
  const grpc::Status fits = LookupBy(*stock, request_, &response);
  EXPECT_TRUE(fits.ok()) << fits.error_message();
  EXPECT_LE(response.ByteSizeLong(), 4'000'000u);

  ids.add_ids(0);

  EXPECT_EQ(DetailsOf(LookupBy(*stock, request_, &response)).reason,
            "REPLY_TOO_LARGE");
}

TEST_F(LargeReplyTest, AboveTheServersLimitTheSentenceSaysToAskForLess) {
  auto& ids = *request_.mutable_tables(0)->mutable_ids();
  ids.clear_shape();
  ids.mutable_ids()->Resize(14'000, 1);  // 14,000 * 5120 = 71,680,000
  request_.set_max_response_bytes(std::numeric_limits<int64_t>::max());
  ExpectRefused([&] { return Lookup(request_); }, {kInvalid,
                                                   "REPLY_TOO_LARGE",
                                                   "max_response_bytes",
                                                   {"67108864", "fewer ids"}});
  ids.mutable_ids()->Resize(13'000, 1);  // 66,560,000
  v1::LookupResponse response;
  EXPECT_TRUE(Lookup(request_, &response).ok());
  EXPECT_EQ(response.tables(0).embeddings().values_size(), 13'000 * 1280);
  ExpectNothingInFlight();
}

}  // namespace
}  // namespace quire::testing
