// Lookups: shapes, parts, errors of parts.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/client.h"
#include "main/seed.h"
#include "tests/client/fake_server.h"

namespace quire {
namespace {

using testing::FakeServer;
using ::testing::HasSubstr;
using testing::Refusal;
using testing::UidOf;
using testing::ValueAt;

// Rows of one table that a test asks for, and room for them.
struct Wanted {
  std::string table;
  int64_t dim = 0;
  std::vector<int64_t> ids;
  std::vector<float> out;

  Wanted(std::string name, int64_t width, std::vector<int64_t> rows)
      : table(std::move(name)),
        dim(width),
        ids(std::move(rows)),
        out(ids.size() * static_cast<size_t>(width), -1.0f) {}

  LookupItem Item() {
    return {.table = table, .uid = std::nullopt, .ids = ids, .out = out};
  }

  std::vector<float> Expected() const {
    std::vector<float> rows;
    for (int64_t id : ids) {
      for (int64_t column = 0; column < dim; ++column) {
        rows.push_back(ValueAt(table, id, column));
      }
    }
    return rows;
  }
};

std::vector<int64_t> Iota(int64_t count) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int64_t>(i);
  }
  return ids;
}

class LookupTest : public ::testing::Test {
 protected:
  LookupTest() {
    server_.tables = {{"dictionary", {UidOf(1), 5}},
                      {"words", {UidOf(2), 3}},
                      {"wide", {UidOf(3), 64}}};
  }

  absl::Status Lookup(Client& client, Wanted& wanted) {
    const LookupItem item = wanted.Item();
    return client.Lookup({&item, 1});
  }

  FakeServer server_;
};

TEST_F(LookupTest, ABatchOfRankTwoGivesRowsOfRankThree) {
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {2, 3, 1, 0, 8, 6};

  const auto rows = client->Lookup("dictionary", ids, {3, 2});

  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->shape, (Shape{3, 2, 5}));
  EXPECT_EQ(rows->values, Wanted("dictionary", 5, ids).Expected());
}

TEST_F(LookupTest, AScalarGivesOneRowAndAnEmptyBatchNone) {
  const auto client = server_.Connect();
  const std::vector<int64_t> one = {7};

  const auto row = client->Lookup("dictionary", one, {});
  const auto none = client->Lookup("dictionary", {}, {0, 4});

  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->shape, Shape{5});
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(none->shape, (Shape{0, 4, 5}));
}

TEST_F(LookupTest, ManyTablesComeInOneRoundTrip) {
  const auto client = server_.Connect();
  Wanted first("dictionary", 5, {1, 2, 3});
  Wanted empty("words", 3, {});
  Wanted second("words", 3, {9, 9});
  const std::vector<LookupItem> items = {first.Item(), empty.Item(),
                                         second.Item()};

  const absl::Status status = client->Lookup(items);

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(first.out, first.Expected());
  EXPECT_EQ(second.out, second.Expected());
  EXPECT_EQ(server_.lookup_count, 1);
}

TEST_F(LookupTest, AServerWithoutNumbersOfTwoBytesIsNotAskedForThem) {
  const auto client = server_.Connect();
  Wanted wanted("words", 3, {9});
  LookupItem item = wanted.Item();
  item.wire_dtype = ElementType::kBfloat16;

  const absl::Status status = client->Lookup({&item, 1});

  EXPECT_EQ(ReasonOf(status), Reason::kNotBuilt);
  EXPECT_EQ(FieldOf(status), "items[0].wire_dtype");
  EXPECT_EQ(server_.lookup_count, 0);
}

TEST_F(LookupTest, RowsOfATypeThatWasNotAskedForAreABug) {
  server_.info.add_features("half");  // and answers with floats all the same
  const auto client = server_.Connect();
  Wanted wanted("words", 3, {9});
  LookupItem item = wanted.Item();
  item.wire_dtype = ElementType::kBfloat16;

  EXPECT_EQ(ReasonOf(client->Lookup({&item, 1})), Reason::kBug);
}

TEST_F(LookupTest, NothingAtAllIsALookupToo) {
  const auto client = server_.Connect();

  EXPECT_TRUE(client->Lookup(std::span<const LookupItem>()).ok());
}

TEST_F(LookupTest, RandomLookupsAreSplitAndJoined) {
  server_.info.mutable_limits()->set_lookup_reply_bytes(2000);
  server_.info.mutable_limits()->set_ids_per_request(40);
  server_.info.mutable_limits()->set_tables_per_request(3);
  const auto client = server_.Connect();
  std::mt19937_64 random(testing::Seed());
  const auto below = [&](int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random);
  };

  for (int round = 0; round < 50; ++round) {
    std::vector<Wanted> wanted;
    for (int64_t i = below(8); i > 0; --i) {
      const auto table = std::next(server_.tables.begin(), below(3));
      std::vector<int64_t> ids(
          static_cast<size_t>(below(4) == 0 ? 0 : below(200)));
      std::ranges::generate(ids, [&] { return below(1 << 20); });
      wanted.emplace_back(table->first, table->second.dim, std::move(ids));
    }
    std::vector<LookupItem> items;
    for (Wanted& item : wanted) {
      items.push_back(item.Item());
    }

    const absl::Status status = client->Lookup(items);

    ASSERT_TRUE(status.ok()) << status;
    for (const Wanted& item : wanted) {
      ASSERT_EQ(item.out, item.Expected());
    }
  }
}

TEST_F(LookupTest, MoreThanAMessageIsFetchedInPartsSomeAtOnce) {
  const auto client = server_.Connect({.lookup_parts_in_flight = 3});
  server_.on_lookup = [&](auto&, auto& request, auto& response) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return server_.AnswerLookup(request, response);
  };
  // 77 MB.
  Wanted wanted("wide", 64, Iota(300'000));

  const absl::Status status = Lookup(*client, wanted);

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(wanted.out, wanted.Expected());
  EXPECT_GT(server_.lookup_count, 1);
  EXPECT_EQ(server_.lookups_at_once_max, 3);
}

TEST_F(LookupTest, ASmallLookupIsOneRequest) {
  const auto client = server_.Connect();
  Wanted wanted("wide", 64, Iota(4096));

  ASSERT_TRUE(Lookup(*client, wanted).ok());

  EXPECT_EQ(server_.lookup_count, 1);
}

TEST_F(LookupTest, OutThatIsNoMultipleOfTheIdsIsRefusedHere) {
  const auto client = server_.Connect();
  std::vector<float> out(7);
  const std::vector<int64_t> ids = {1, 2};
  const std::vector<LookupItem> items = {
      {.table = "words", .uid = {}, .ids = {}, .out = {}},
      {.table = "words", .uid = {}, .ids = ids, .out = out}};

  const absl::Status status = client->Lookup(items);

  EXPECT_EQ(ReasonOf(status), Reason::kBadShape);
  EXPECT_EQ(FieldOf(status), "items[1].out");
  EXPECT_EQ(server_.lookup_count, 0);
}

TEST_F(LookupTest, OutForAnotherDimIsAnErrorThatNamesBoth) {
  const auto client = server_.Connect();
  Wanted wanted("words", 4, {1, 2});

  const absl::Status status = Lookup(*client, wanted);

  EXPECT_EQ(ReasonOf(status), Reason::kBadShape);
  EXPECT_THAT(std::string(status.message()), HasSubstr("has dim 3"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("dim 4"));
}

TEST_F(LookupTest, ATableFarWiderThanOutIsToldFromAReplyLimit) {
  server_.info.mutable_limits()->set_lookup_reply_bytes(10'000);
  const auto client = server_.Connect();
  Wanted wanted("wide", 1, Iota(1000));

  const absl::Status status = Lookup(*client, wanted);

  EXPECT_EQ(ReasonOf(status), Reason::kBadShape);
  EXPECT_THAT(std::string(status.message()), HasSubstr("wider than out"));
}

TEST_F(LookupTest, AShapeOfAnotherSizeIsRefusedHere) {
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {1, 2, 3};

  const auto rows = client->Lookup("words", ids, {2, 2});

  EXPECT_EQ(ReasonOf(rows.status()), Reason::kBadShape);
  EXPECT_EQ(FieldOf(rows.status()), "shape");
}

// Refuses ids of 1000 and more as a server of ours does.
class BadIdTest : public LookupTest {
 protected:
  BadIdTest() {
    server_.info.mutable_limits()->set_ids_per_request(10);
    server_.on_lookup = [this](auto& context, auto& request, auto& response) {
      return Answer(context, request, response);
    };
  }

  grpc::Status Answer(grpc::ServerContext& /*context*/,
                      const v1::LookupRequest& request,
                      v1::LookupResponse& response) {
    for (int i = 0; i < request.tables_size(); ++i) {
      const v1::IdBatch& batch = request.tables(i).ids();
      for (int j = 0; j < batch.ids_size(); ++j) {
        if (batch.ids(j) >= 1000) {
          // Later parts are refused sooner.
          std::this_thread::sleep_for(
              std::chrono::milliseconds(2000 - batch.ids(j)));
          return Refusal(Reason::kIdOutOfRange,
                         fmt::format("id {} is out of range", batch.ids(j)),
                         fmt::format("tables[{}].ids.ids[{}]", i, j));
        }
      }
    }
    return server_.AnswerLookup(request, response);
  }
};

TEST_F(BadIdTest, TheFieldCountsFromTheBeginningOfTheLookup) {
  const auto client = server_.Connect();
  Wanted first("words", 3, Iota(7));
  Wanted second("words", 3, Iota(37));
  second.ids[25] = 1995;
  const std::vector<LookupItem> items = {first.Item(), second.Item()};

  const absl::Status status = client->Lookup(items);

  EXPECT_EQ(ReasonOf(status), Reason::kIdOutOfRange);
  EXPECT_EQ(FieldOf(status), "tables[1].ids.ids[25]");
  EXPECT_THAT(std::string(status.message()), HasSubstr("id 1995"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("count from id 23"));
}

TEST_F(BadIdTest, OfTwoBadIdsTheFirstIsNamedThoughTheSecondIsRefusedFirst) {
  const auto client = server_.Connect();
  Wanted wanted("words", 3, Iota(40));
  wanted.ids[15] = 1900;
  wanted.ids[25] = 1999;

  const absl::Status status = Lookup(*client, wanted);

  EXPECT_EQ(FieldOf(status), "tables[0].ids.ids[15]");
}

TEST_F(BadIdTest, NoPartIsAskedForAfterARefusal) {
  const auto client = server_.Connect({.lookup_parts_in_flight = 1});
  Wanted wanted("words", 3, Iota(1000));
  wanted.ids[25] = 1999;

  const absl::Status status = Lookup(*client, wanted);

  EXPECT_EQ(FieldOf(status), "tables[0].ids.ids[25]");
  EXPECT_EQ(server_.lookup_count, 3);
}

TEST_F(BadIdTest, PartsInFlightAfterARefusalAreCancelled) {
  server_.on_lookup = [this](auto& context, auto& request, auto& response) {
    if (request.tables(0).ids().ids(0) == 30) {
      // Much longer than the test may take.
      for (int i = 0; i < 6000 && !context.IsCancelled(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    }
    return Answer(context, request, response);
  };
  const auto client = server_.Connect();
  Wanted wanted("words", 3, Iota(40));
  wanted.ids[25] = 1999;
  const absl::Time start = absl::Now();

  const absl::Status status = Lookup(*client, wanted);

  EXPECT_EQ(ReasonOf(status), Reason::kIdOutOfRange);
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

// Answers that no server of ours gives.
class BadReplyTest : public LookupTest {
 protected:
  absl::Status LookupWith(std::function<void(v1::LookupResponse&)> spoil) {
    server_.on_lookup = [this, spoil](auto&, auto& request, auto& response) {
      grpc::Status status = server_.AnswerLookup(request, response);
      spoil(response);
      return status;
    };
    const auto client = server_.Connect();
    Wanted wanted("words", 3, {1, 2});
    return Lookup(*client, wanted);
  }
};

TEST_F(BadReplyTest, ATableTooFewIsABug) {
  EXPECT_EQ(ReasonOf(LookupWith([](auto& reply) { reply.clear_tables(); })),
            Reason::kBug);
}

TEST_F(BadReplyTest, ARowTooManyIsABug) {
  const absl::Status status = LookupWith([](auto& reply) {
    auto& rows = *reply.mutable_tables(0)->mutable_embeddings();
    rows.mutable_shape()->set_dims(0, 3);
    for (int i = 0; i < 3; ++i) {
      rows.add_values(0);
    }
  });

  EXPECT_EQ(ReasonOf(status), Reason::kBug);
}

TEST_F(BadReplyTest, AnotherRankIsABug) {
  const absl::Status status = LookupWith([](auto& reply) {
    auto& shape =
        *reply.mutable_tables(0)->mutable_embeddings()->mutable_shape();
    shape.clear_dims();
    shape.add_dims(6);
  });

  EXPECT_EQ(ReasonOf(status), Reason::kBug);
}

TEST_F(BadReplyTest, AShapeWithoutItsFloatsIsABug) {
  const absl::Status status = LookupWith([](auto& reply) {
    reply.mutable_tables(0)->mutable_embeddings()->clear_values();
  });

  EXPECT_EQ(ReasonOf(status), Reason::kBug);
}

TEST_F(BadReplyTest, AShortUidIsABug) {
  const absl::Status status = LookupWith(
      [](auto& reply) { reply.mutable_tables(0)->set_table_uid("short"); });

  EXPECT_EQ(ReasonOf(status), Reason::kBug);
}

TEST_F(LookupTest, ATableThatIsReplacedBetweenPartsIsAnError) {
  server_.info.mutable_limits()->set_ids_per_request(10);
  std::atomic<uint8_t> uid = 10;
  server_.on_lookup = [&](auto&, auto& request, auto& response) {
    grpc::Status status = server_.AnswerLookup(request, response);
    response.mutable_tables(0)->set_table_uid(testing::Text(UidOf(uid++)));
    return status;
  };
  const auto client = server_.Connect();
  Wanted wanted("words", 3, Iota(40));

  EXPECT_EQ(ReasonOf(Lookup(*client, wanted)), Reason::kTableReplaced);
}

// A table that is made anew with another dim while the client remembers it.
TEST_F(LookupTest, AnotherTableOfTheNameIsFoundOut) {
  server_.on_lookup = [&](auto&, auto& request, auto& response) {
    if (request.tables(0).table().uid() !=
        testing::Text(server_.tables.at("words").uid)) {
      return Refusal(Reason::kTableReplaced, "replaced");
    }
    return server_.AnswerLookup(request, response);
  };
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {4, 5};
  ASSERT_TRUE(client->Lookup("words", ids, {2}).ok());
  server_.tables.at("words") = {UidOf(77), 9};

  const auto rows = client->Lookup("words", ids, {2});

  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->shape, (Shape{2, 9}));
  EXPECT_EQ(rows->values, Wanted("words", 9, ids).Expected());
}

TEST_F(LookupTest, ATableThatIsReplacedAgainAndAgainIsAnError) {
  server_.on_lookup = [&](auto&, auto&, auto&) {
    return Refusal(Reason::kTableReplaced, "replaced");
  };
  const auto client = server_.Connect();
  const std::vector<int64_t> ids = {4, 5};

  const auto rows = client->Lookup("words", ids, {2});

  EXPECT_EQ(ReasonOf(rows.status()), Reason::kTableReplaced);
  EXPECT_EQ(server_.lookup_count, 2);
}

TEST_F(LookupTest, TheUidThatIsMeantIsSent) {
  std::string uid;
  server_.on_lookup = [&](auto&, auto& request, auto& response) {
    uid = request.tables(0).table().uid();
    return server_.AnswerLookup(request, response);
  };
  const auto client = server_.Connect();
  Wanted wanted("words", 3, {1});
  LookupItem item = wanted.Item();
  item.uid = UidOf(2);

  ASSERT_TRUE(client->Lookup({&item, 1}).ok());

  EXPECT_EQ(uid, testing::Text(UidOf(2)));
}

}  // namespace
}  // namespace quire
