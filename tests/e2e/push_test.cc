// Pushes over real gRPC: one step each, all tables or none.

#include <cmath>
#include <limits>

#include "e2e/service_fixture.h"

namespace quire::testing {
namespace {

using ::testing::ElementsAre;

using PushTest = ServiceTest;

TEST_F(PushTest, IsOneStepOfSummedDuplicates) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  const std::vector<float> before = Row("t", 4);
  v1::ApplyGradientRequest request;
  SetGradient({3, 2}, {1, 2, 0.5, 0.5, 3, 4}, Add(request, "t", {4, 7, 4}));

  v1::ApplyGradientResponse response;
  ASSERT_TRUE(Push(request, &response).ok());

  EXPECT_EQ(response.tables(0).rows_changed(), 2);
  EXPECT_EQ(response.tables(0).step(), 1);
  EXPECT_EQ(response.tables(0).table_uid(), Describe("t").uid());
  EXPECT_EQ(response.reached(), v1::DURABILITY_MEMORY);
  EXPECT_FALSE(response.exactly_once());
  EXPECT_FALSE(response.duplicate());
  EXPECT_THAT(Row("t", 4), ElementsAre(std::fma(-1.0f, 4.0f, before[0]),
                                       std::fma(-1.0f, 6.0f, before[1])));
}

// RULINGS 3: an empty push is a step as well; a push of nothing is none.
TEST_F(PushTest, AnEmptyBatchIsAStepThatChangesNoRow) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  const std::vector<float> before = Row("t", 4);
  v1::ApplyGradientRequest request;
  SetGradient({3, 0, 2}, {}, Add(request, "t", {}, {{3, 0}}));

  v1::ApplyGradientResponse response;
  ASSERT_TRUE(Push(request, &response).ok());

  EXPECT_EQ(response.tables(0).rows_changed(), 0);
  EXPECT_EQ(response.tables(0).step(), 1);
  EXPECT_EQ(Row("t", 4), before);
  ASSERT_TRUE(Push({}, &response).ok());
  EXPECT_EQ(response.tables_size(), 0);
  EXPECT_EQ(Describe("t").step(), 1);
}

TEST_F(PushTest, WhoHasNoRowsNeedNotKnowHowWideTheyAre) {
  ASSERT_TRUE(Create("t", 10, 2).ok());
  const auto push = [&](const std::vector<int32_t>& gradient_shape,
                        const std::vector<int64_t>& ids,
                        const std::vector<int32_t>& ids_shape) {
    v1::ApplyGradientRequest request;
    SetGradient(gradient_shape, {}, Add(request, "t", ids, {ids_shape}));
    v1::ApplyGradientResponse response;
    return Push(request, &response);
  };

  EXPECT_TRUE(push({0, 0}, {}, {0}).ok());
  EXPECT_TRUE(push({3, 0, 0}, {}, {3, 0}).ok());
  EXPECT_EQ(Describe("t").step(), 2);
  EXPECT_FALSE(push({0, 3}, {}, {0}).ok());
  EXPECT_FALSE(push({1, 0}, {}, {0}).ok());
  EXPECT_FALSE(push({1, 0}, {4}, {1}).ok());
  EXPECT_EQ(Describe("t").step(), 2);
}

TEST_F(PushTest, ATableNamedTwiceIsOneStepOfBothGradients) {
  ASSERT_TRUE(Create("t", 10, 1).ok());
  const float before = Row("t", 4)[0];
  v1::ApplyGradientRequest request;
  SetGradient({1, 1}, {2}, Add(request, "t", {4}));
  SetGradient({2, 1}, {3, 5}, Add(request, "t", {4, 5}));

  v1::ApplyGradientResponse response;
  ASSERT_TRUE(Push(request, &response).ok());

  for (const auto& table : response.tables()) {
    EXPECT_EQ(table.step(), 1);
    EXPECT_EQ(table.rows_changed(), 2);
  }
  EXPECT_EQ(Row("t", 4)[0], std::fma(-1.0f, 5.0f, before));
}

// Each makes a good push of two tables bad in its second one.
class BadPushTest : public PushTest {
 protected:
  void SetUp() override {
    PushTest::SetUp();
    ASSERT_TRUE(Create("other", 10, 2).ok());
    v1::TableSpec spec = Spec("t", 10, 2);
    spec.mutable_optimizer()->mutable_adagrad();
    ASSERT_TRUE(Create(spec).ok());
    ASSERT_TRUE(Push(GoodPush()).ok());  // there is state to be changed
    ASSERT_EQ(Describe("t").step(), 1);
  }

  static v1::ApplyGradientRequest GoodPush() {
    v1::ApplyGradientRequest request;
    for (const char* name : {"other", "t"}) {
      SetGradient({2, 2}, {1, 2, 3, 4}, Add(request, name, {1, 2}));
    }
    return request;
  }

  using Change = std::function<void(v1::TableGradient&)>;
  void ExpectRefusedPush(const Change& change, const Refusal& refusal) {
    ExpectRefused(
        [&] {
          v1::ApplyGradientRequest request = GoodPush();
          change(*request.mutable_tables(1));
          return Push(request);
        },
        refusal);
  }
};

TEST_F(BadPushTest, AnUnknownTableABadNameOrAStaleUidIsRefused) {
  ExpectRefusedPush(
      [](auto& entry) { entry.mutable_table()->set_name("nobody"); },
      {grpc::StatusCode::NOT_FOUND,
       "NO_SUCH_TABLE",
       "tables[1].table.name",
       {"'nobody'"}});
  ExpectRefusedPush([](auto& entry) { entry.mutable_table()->set_name("a b"); },
                    {kInvalid, "BAD_NAME", "tables[1].table.name", {"a b"}});
  ExpectRefusedPush(
      [](auto& entry) { entry.mutable_table()->set_uid(std::string(16, 'x')); },
      {grpc::StatusCode::FAILED_PRECONDITION,
       "TABLE_REPLACED",
       "tables[1].table.uid",
       {"'t'"}});
}

TEST_F(BadPushTest, AnIdOutOfRangeIsToldWithItsFirstPosition) {
  for (const int64_t bad :
       {int64_t{-1}, int64_t{10}, std::numeric_limits<int64_t>::min()}) {
    ExpectRefusedPush(
        [&](auto& entry) { entry.mutable_ids()->set_ids(1, bad); },
        {kOutOfRange,
         "ID_OUT_OF_RANGE",
         "tables[1].ids.ids[1]",
         {"'t'", "id " + std::to_string(bad) + " ", "position 1", "[0, 10)"}});
  }
}

TEST_F(BadPushTest, AGradientOfAnotherShapeIsToldWithTheOneNeeded) {
  const auto refused = [&](std::vector<int> dims, std::vector<float> values,
                           std::vector<std::string> says) {
    ExpectRefusedPush(
        [&](auto& entry) { SetGradient(dims, values, entry); },
        {kInvalid, "BAD_SHAPE", "tables[1].gradient.shape", says});
  };
  refused({2, 1}, {1, 2}, {"(2, 1)", "(2, 2)", "'t'"});
  refused({2, 3}, {1, 2, 3, 4, 5, 6}, {"(2, 3)", "(2, 2)"});
  refused({4}, {1, 2, 3, 4}, {"(4,)", "(2, 2)"});
  refused({1, 2, 2}, {1, 2, 3, 4}, {"(1, 2, 2)"});
  refused({1, 2}, {1, 2}, {"(1, 2)"});  // nothing is broadcast
  refused({}, {1}, {"()"});
  // As many values as the shape says, or it is refused before its table.
  refused({2, 2}, {1, 2, 3}, {"4 floats", "3 came"});
  refused({2, 2}, {1, 2, 3, 4, 5}, {"4 floats", "5 came"});
  refused({2, 2}, {}, {"4 floats", "0 came"});
  refused({-2, -2}, {1, 2, 3, 4}, {"dims[0]"});
  refused(std::vector<int>(10, 1), {1}, {"rank 10", "9"});
  refused(std::vector<int>(4, 1 << 16), {}, {"2^63"});
}

TEST_F(BadPushTest, NoShapeMeansAFlatGradientWhichIsNoneOfTheIds) {
  ExpectRefusedPush(
      [](auto& entry) { entry.mutable_gradient()->clear_shape(); },
      {kInvalid, "BAD_SHAPE", "tables[1].gradient.shape", {"(4,)"}});
  ExpectRefusedPush([](auto& entry) { entry.clear_gradient(); },
                    {kInvalid, "BAD_SHAPE", "tables[1].gradient.shape", {}});
}

// A packed array whose bytes are no whole number of floats.
TEST_F(BadPushTest, AWrongNumberOfBytesIsMalformed) {
  ExpectRefused(
      [&] {
        std::string bytes = GoodPush().SerializeAsString();
        // One byte off the end of the last array, and off every length on the
        // way to it: entry, gradient, values.
        const std::string values("\x1a\x10", 2);
        const size_t at = bytes.rfind(values);
        EXPECT_NE(at, std::string::npos);
        bytes.pop_back();
        bytes[at + 1] = 0x0f;
        const auto shorten = [&](const std::string& field_and_length) {
          const size_t found = bytes.rfind(field_and_length, at);
          EXPECT_NE(found, std::string::npos);
          --bytes[found + field_and_length.size() - 1];
        };
        const v1::TableGradient entry = GoodPush().tables(1);
        shorten(std::string("\x3a") +
                static_cast<char>(entry.gradient().ByteSizeLong()));
        shorten(std::string("\x1a") + static_cast<char>(entry.ByteSizeLong()));
        return SendRaw("/quire.v1.EmbeddingService/ApplyGradient", bytes);
      },
      {kInvalid, "MALFORMED", "", {}});
}

TEST_F(BadPushTest, NanAndInfinityInAGradientAreToldWithTheirPlace) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(),
        std::numeric_limits<float>::signaling_NaN(), inf, -inf}) {
    ExpectRefusedPush(
        [&](auto& entry) { entry.mutable_gradient()->set_values(3, bad); },
        {kInvalid,
         "NON_FINITE",
         "tables[1].gradient",
         {"id 2", "row 1", "column 1", "nothing was changed"}});
  }
}

// RULINGS 2: the sums are finite as well.
TEST_F(BadPushTest, DuplicatesWhoseSumIsInfiniteAreRefused) {
  const float most = std::numeric_limits<float>::max();
  ExpectRefusedPush(
      [&](auto& entry) {
        entry.mutable_ids()->set_ids(1, 1);
        SetGradient({2, 2}, {0, most, 0, most}, entry);
      },
      {kInvalid, "NON_FINITE", "tables[1].gradient", {"sum", "id 1"}});
}

TEST_F(BadPushTest, ALearningRateIsFiniteAndNotNegative) {
  ExpectRefusedPush([](auto& entry) { entry.set_learning_rate(-1); },
                    {kInvalid, "BAD_VALUE", "tables[1].learning_rate", {"-1"}});
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(),
                           std::numeric_limits<double>::infinity()}) {
    ExpectRefusedPush([&](auto& entry) { entry.set_learning_rate(bad); },
                      {kInvalid, "NON_FINITE", "tables[1].learning_rate", {}});
  }
  v1::ApplyGradientRequest twice;
  SetGradient({1, 2}, {1, 1}, Add(twice, "t", {1}));
  SetGradient({1, 2}, {1, 1}, Add(twice, "t", {1}));
  twice.mutable_tables(0)->set_learning_rate(1);
  twice.mutable_tables(1)->set_learning_rate(2);
  ExpectRefused([&] { return Push(twice); }, {kInvalid,
                                              "BAD_VALUE",
                                              "tables[1].learning_rate",
                                              {"named twice", "1", "2"}});
}

TEST_F(BadPushTest, AFrozenTableTakesNone) {
  v1::AlterTableRequest alter;
  alter.mutable_table()->set_name("t");
  alter.set_frozen(true);
  grpc::ClientContext context;
  v1::AlterTableResponse altered;
  ASSERT_TRUE(tables_->AlterTable(&context, alter, &altered).ok());
  EXPECT_TRUE(altered.table().spec().frozen());

  ExpectRefusedPush([](auto&) {}, {grpc::StatusCode::FAILED_PRECONDITION,
                                   "TABLE_FROZEN",
                                   "tables[1].table.name",
                                   {"'t'"}});
}

TEST_F(BadPushTest, AMoreDurablePushThanItsTablesIsRefused) {
  for (int wanted : {2, 3, 4}) {
    ExpectRefused(
        [&] {
          v1::ApplyGradientRequest request = GoodPush();
          request.set_min_durability(static_cast<v1::Durability>(wanted));
          return Push(request);
        },
        {grpc::StatusCode::FAILED_PRECONDITION,
         "UNSUPPORTED_DURABILITY",
         "min_durability",
         {"MEMORY"}});
  }
}

TEST_F(BadPushTest, MoreIdsOrTablesThanARequestMayHaveAreTooLarge) {
  ExpectRefused(
      [&] {
        v1::ApplyGradientRequest request = GoodPush();
        for (int i = 0; i < 4095; ++i) {
          *request.add_tables() = request.tables(0);
        }
        return Push(request);
      },
      {kInvalid, "TOO_LARGE", "tables", {"4096"}});
}

}  // namespace
}  // namespace quire::testing
