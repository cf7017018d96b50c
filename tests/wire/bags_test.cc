// Bags in requests: what they resolve to, and every refusal of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "quire/v1/embedding.pb.h"
#include "tests/wire/pieces.h"
#include "wire/lookup_response.h"
#include "wire/requests.h"

namespace quire::wire {
namespace {

using ::testing::ElementsAre;
using testing::Pieces;

void ExpectError(const absl::Status& status, Reason reason,
                 std::string_view field, std::string_view sentence) {
  EXPECT_EQ(ReasonOf(status), reason);
  EXPECT_EQ(FieldOf(status), field);
  EXPECT_EQ(status.message(), std::string(sentence));
}

class LookupBagsTest : public ::testing::Test {
 protected:
  LookupBagsTest() { bags_.set_pooling(v1::Bags::POOLING_SUM); }

  void AddIds(int count) {
    table_.mutable_ids()->mutable_ids()->Resize(count, 7);
  }
  void SetShape(std::vector<int32_t> dims) {
    v1::Shape& shape = *table_.mutable_ids()->mutable_shape();
    shape.mutable_dims()->Assign(dims.begin(), dims.end());
  }
  void SetOffsets(std::vector<int64_t> offsets) {
    bags_.mutable_offsets()->Assign(offsets.begin(), offsets.end());
  }

  std::vector<int64_t> Resolved() {
    const Pieces pieces(message_.SerializeAsString());
    const auto request = LookupRequest::Parse(pieces);
    EXPECT_TRUE(request.ok()) << request.status();
    if (!request.ok()) {
      return {};
    }
    EXPECT_FALSE(request->used_generated_code());
    EXPECT_EQ(request->bag_count, request->tables[0].bags->bag_count());
    return request->tables[0].bags->offsets;
  }

  void ExpectRefused(Reason reason, std::string_view field,
                     std::string_view sentence) {
    const Pieces pieces(message_.SerializeAsString());
    ExpectError(LookupRequest::Parse(pieces).status(), reason,
                "tables[0]." + std::string(field), sentence);
  }

  v1::LookupRequest message_;
  v1::TableLookup& table_ = *message_.add_tables();
  v1::Bags& bags_ = *table_.mutable_bags();
};

TEST_F(LookupBagsTest, OffsetsGetTheNumberOfIdsAtTheirEnd) {
  AddIds(4);
  SetOffsets({0, 3, 3, 4});
  EXPECT_THAT(Resolved(), ElementsAre(0, 3, 3, 4, 4));
}

TEST_F(LookupBagsTest, EachRowOfIdsIsABag) {
  AddIds(6);
  SetShape({2, 3});
  EXPECT_THAT(Resolved(), ElementsAre(0, 3, 6));
}

TEST_F(LookupBagsTest, RowsWithoutIdsAreEmptyBags) {
  SetShape({2, 0});
  EXPECT_THAT(Resolved(), ElementsAre(0, 0, 0));
  SetShape({0, 5});
  EXPECT_THAT(Resolved(), ElementsAre(0));
}

TEST_F(LookupBagsTest, NoIdsAreAsManyEmptyBagsAsThereAreOffsets) {
  EXPECT_THAT(Resolved(), ElementsAre(0));
  SetOffsets({0, 0});
  EXPECT_THAT(Resolved(), ElementsAre(0, 0, 0));
  SetOffsets({0, 1});
  ExpectRefused(Reason::kBadValue, "bags.offsets[1]",
                "offsets[1] is 1, beyond the 0 ids that came; a bag starts at "
                "or before their end");
}

TEST_F(LookupBagsTest, ThePoolingIsOneOfFour) {
  bags_.set_pooling(v1::Bags::POOLING_UNSPECIFIED);
  ExpectRefused(Reason::kBadValue, "bags.pooling",
                "bags have pooling 0; set it to POOLING_SUM, POOLING_MEAN, "
                "POOLING_MAX or POOLING_SQRTN");
  bags_.set_pooling(static_cast<v1::Bags::Pooling>(5));
  ExpectRefused(Reason::kBadValue, "bags.pooling",
                "bags have pooling 5; set it to POOLING_SUM, POOLING_MEAN, "
                "POOLING_MAX or POOLING_SQRTN");
}

TEST_F(LookupBagsTest, IdsHaveRank1Or2) {
  AddIds(1);
  SetShape({});
  ExpectRefused(Reason::kBadShape, "ids.shape",
                "ids of shape () came with bags; send ids of rank 1 with "
                "offsets, or of rank 2, a row for each bag");
  SetShape({1, 1, 1});
  ExpectRefused(Reason::kBadShape, "ids.shape",
                "ids of shape (1, 1, 1) came with bags; send ids of rank 1 "
                "with offsets, or of rank 2, a row for each bag");
}

TEST_F(LookupBagsTest, OffsetsGoWithIdsOfRank1) {
  AddIds(2);
  ExpectRefused(Reason::kBadShape, "bags.offsets",
                "2 ids of rank 1 came without offsets; say where each bag "
                "starts, or send ids of rank 2, a row for each bag");
  SetShape({1, 2});
  SetOffsets({0});
  ExpectRefused(Reason::kBadShape, "bags.offsets",
                "1 offsets came with ids of shape (1, 2), of which each row is "
                "a bag; leave the offsets out, or send ids of rank 1");
}

TEST_F(LookupBagsTest, OffsetsAscendFrom0ToTheNumberOfIds) {
  AddIds(4);
  SetOffsets({1, 2});
  ExpectRefused(Reason::kBadValue, "bags.offsets[0]",
                "offsets[0] is 1; the first bag starts at 0");
  SetOffsets({0, 3, 2});
  ExpectRefused(Reason::kBadValue, "bags.offsets[2]",
                "offsets[2] is 2, less than offsets[1], which is 3; offsets "
                "ascend");
  SetOffsets({0, 5});
  ExpectRefused(Reason::kBadValue, "bags.offsets[1]",
                "offsets[1] is 5, beyond the 4 ids that came; a bag starts at "
                "or before their end");
}

TEST_F(LookupBagsTest, WeightsGoWithSumsOneForEachId) {
  AddIds(2);
  SetOffsets({0});
  bags_.add_weights(0.5f);
  ExpectRefused(Reason::kBadShape, "bags.weights",
                "1 weights came with 2 ids; send one for each, or none for all "
                "1");
  bags_.set_pooling(v1::Bags::POOLING_MEAN);
  ExpectRefused(Reason::kBadValue, "bags.weights",
                "weights came with POOLING_MEAN; they go with POOLING_SUM "
                "only, leave them out");
}

TEST_F(LookupBagsTest, WinnersAreAskedForOfMaximaAndNotSent) {
  bags_.set_return_winners(true);
  ExpectRefused(Reason::kBadValue, "bags.return_winners",
                "return_winners came with POOLING_SUM; only POOLING_MAX has "
                "winners, leave it out");
  bags_.set_pooling(v1::Bags::POOLING_MAX);
  EXPECT_THAT(Resolved(), ElementsAre(0));
  bags_.add_winners(0);
  ExpectRefused(Reason::kBadValue, "bags.winners",
                "a lookup came with winners; they go with a push, set "
                "return_winners to get them");
}

TEST_F(LookupBagsTest, EmptyRowsAreLimitedBeforeTheyTakeMemory) {
  SetShape({std::numeric_limits<int32_t>::max(), 0});
  ExpectRefused(Reason::kTooLarge, "bags",
                "2147483647 bags in one request up to here; at most 4194304 "
                "are allowed, send several requests");
}

TEST_F(LookupBagsTest, BagsAreLimitedOverAllTables) {
  SetShape({static_cast<int32_t>(kIdsPerRequestMax), 0});
  EXPECT_EQ(Resolved().size(), static_cast<size_t>(kIdsPerRequestMax) + 1);
  *message_.add_tables() = table_;
  message_.mutable_tables(1)->mutable_ids()->mutable_shape()->set_dims(0, 1);
  const Pieces pieces(message_.SerializeAsString());
  ExpectError(LookupRequest::Parse(pieces).status(), Reason::kTooLarge,
              "tables[1].bags",
              "4194305 bags in one request up to here; at most 4194304 are "
              "allowed, send several requests");
}

TEST_F(LookupBagsTest, OffsetsAreLimitedWhileTheyAreBytes) {
  bags_.mutable_offsets()->Resize(kIdsPerRequestMax, 0);
  EXPECT_EQ(Resolved().size(), static_cast<size_t>(kIdsPerRequestMax) + 1);
  bags_.add_offsets(0);
  const Pieces pieces(message_.SerializeAsString());
  ExpectError(LookupRequest::Parse(pieces).status(), Reason::kTooLarge,
              "tables", "more than 4194304 bags in one request; send several");
}

class GradientBagsTest : public ::testing::Test {
 protected:
  GradientBagsTest() {
    table_.mutable_ids()->add_ids(7);
    table_.mutable_gradient()->add_values(0.5f);
    bags_.set_pooling(v1::Bags::POOLING_MAX);
    bags_.add_offsets(0);
  }

  absl::Status Parse() {
    const Pieces pieces(message_.SerializeAsString());
    return ApplyGradientRequest::Parse(pieces).status();
  }
  void ExpectRefused(Reason reason, std::string_view field,
                     std::string_view sentence) {
    ExpectError(Parse(), reason, "tables[0]." + std::string(field), sentence);
  }

  v1::ApplyGradientRequest message_;
  v1::TableGradient& table_ = *message_.add_tables();
  v1::Bags& bags_ = *table_.mutable_bags();
};

TEST_F(GradientBagsTest, MaximaBringAWinnerForEachFloat) {
  ExpectRefused(Reason::kBadValue, "bags.winners",
                "a push of POOLING_MAX came without winners; send those that "
                "the lookup gives when its bags.return_winners is set");
  bags_.add_winners(0);
  EXPECT_EQ(Parse(), absl::OkStatus());
  bags_.add_winners(0);
  ExpectRefused(Reason::kBadShape, "bags.winners",
                "2 winners came with a gradient of 1 floats; send one for "
                "each");
  bags_.set_pooling(v1::Bags::POOLING_MEAN);
  ExpectRefused(Reason::kBadValue, "bags.winners",
                "winners came with POOLING_MEAN; they go with POOLING_MAX "
                "only, leave them out");
}

TEST_F(GradientBagsTest, MaximaWithoutAGradientNeedNoWinners) {
  table_.clear_gradient();
  EXPECT_EQ(Parse(), absl::OkStatus());
}

TEST_F(GradientBagsTest, APushAsksForNoWinners) {
  bags_.set_return_winners(true);
  ExpectRefused(Reason::kBadValue, "bags.return_winners",
                "a push came with return_winners; it goes with a lookup, leave "
                "it out");
}

TEST_F(GradientBagsTest, GradientsOfWeightsNeedWeights) {
  constexpr std::string_view kSentence =
      "gradients of weights are wanted, but no weights came; send bags of "
      "POOLING_SUM with weights, or leave it out";
  table_.set_return_weight_gradients(true);
  ExpectRefused(Reason::kBadValue, "return_weight_gradients", kSentence);
  bags_.set_pooling(v1::Bags::POOLING_SUM);
  ExpectRefused(Reason::kBadValue, "return_weight_gradients", kSentence);
  bags_.add_weights(0.5f);
  EXPECT_EQ(Parse(), absl::OkStatus());
  table_.clear_bags();
  ExpectRefused(Reason::kBadValue, "return_weight_gradients", kSentence);
}

TEST_F(GradientBagsTest, ScalesOfGradientsAreFinite) {
  table_.clear_bags();
  table_.set_gradient_scale(-0.5);
  EXPECT_EQ(Parse(), absl::OkStatus());
  table_.set_gradient_scale(std::nan(""));
  ExpectRefused(Reason::kNonFinite, "gradient_scale",
                "a gradient_scale is finite, but this one is nan; leave it out "
                "for 1");
  table_.set_gradient_scale(-std::numeric_limits<double>::infinity());
  ExpectRefused(Reason::kNonFinite, "gradient_scale",
                "a gradient_scale is finite, but this one is -inf; leave it "
                "out for 1");
}

TEST(WinnersTest, AReplyHasOneForEachFloatOrNone) {
  v1::LookupResponse message;
  v1::TableLookupResult& table = *message.add_tables();
  table.set_table_uid("sixteen bytes...");
  table.mutable_embeddings()->add_values(1);
  table.add_winners(-1);
  const Pieces good(message.SerializeAsString());
  const auto response = LookupResponse::Parse(good);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_FALSE(response->used_generated_code());
  EXPECT_EQ(response->tables[0].winners.size(), sizeof(int32_t));

  table.add_winners(0);
  const Pieces bad(message.SerializeAsString());
  ExpectError(LookupResponse::Parse(bad).status(), Reason::kBug,
              "tables[0].winners",
              "the server sent a reply that cannot be read: 2 winners came "
              "with 1 floats; there is one for each");
}

}  // namespace
}  // namespace quire::wire
