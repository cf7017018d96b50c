// Every refusal: its reason, its field and its sentence.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/limits.h"
#include "base/status.h"
#include "quire/v1/embedding.pb.h"
#include "tests/wire/pieces.h"
#include "wire/lookup_response.h"
#include "wire/requests.h"

namespace quire::wire {
namespace {

using testing::Pieces;

// The error that a message gets.
absl::Status Parse(const v1::LookupRequest& message) {
  return LookupRequest::Parse(Pieces(message.SerializeAsString())).status();
}
absl::Status Parse(const v1::ApplyGradientRequest& message) {
  return ApplyGradientRequest::Parse(Pieces(message.SerializeAsString()))
      .status();
}
absl::Status Parse(const v1::LookupResponse& message) {
  return LookupResponse::Parse(Pieces(message.SerializeAsString())).status();
}

void ExpectError(const absl::Status& status, Reason reason,
                 std::string_view field, std::string_view sentence) {
  EXPECT_EQ(status.code(), CodeOf(reason));
  EXPECT_EQ(ReasonOf(status), reason);
  EXPECT_EQ(FieldOf(status), field);
  EXPECT_EQ(status.message(), std::string(sentence));
}

// A message with one good table, so that the one to be spoilt is tables[1].
template <typename Message>
Message OneGoodTable() {
  Message message;
  message.add_tables()->mutable_table()->set_name("words");
  return message;
}

class LookupRefusalTest : public ::testing::Test {
 protected:
  LookupRefusalTest() {
    table_.mutable_table()->set_name("letters");
    table_.mutable_ids()->add_ids(1);
    table_.mutable_ids()->add_ids(2);
  }

  void ExpectRefused(Reason reason, std::string_view field,
                     std::string_view sentence) {
    ExpectError(Parse(message_), reason, field, sentence);
  }

  v1::LookupRequest message_ = OneGoodTable<v1::LookupRequest>();
  v1::TableLookup& table_ = *message_.add_tables();
};

TEST_F(LookupRefusalTest, TheMessageItselfIsFine) {
  EXPECT_EQ(Parse(message_), absl::OkStatus());
}

TEST_F(LookupRefusalTest, AUidIs16Bytes) {
  table_.mutable_table()->set_uid("fifteen bytes..");
  ExpectRefused(Reason::kBadValue, "tables[1].table.uid",
                "a table's uid has 16 bytes, but this one has 15");
}

TEST_F(LookupRefusalTest, AShapeHasAsManyElementsAsThereAreIds) {
  table_.mutable_ids()->mutable_shape()->add_dims(2);
  table_.mutable_ids()->mutable_shape()->add_dims(3);
  ExpectRefused(Reason::kBadShape, "tables[1].ids.shape",
                "a shape of (2, 3) has 6 ids, but 2 came");
}

TEST_F(LookupRefusalTest, AShapeWithoutDimsIsOneId) {
  table_.mutable_ids()->mutable_shape();
  ExpectRefused(Reason::kBadShape, "tables[1].ids.shape",
                "a shape of () has 1 ids, but 2 came");
}

TEST_F(LookupRefusalTest, DimsAreNotNegative) {
  table_.mutable_ids()->mutable_shape()->add_dims(-2);
  ExpectRefused(Reason::kBadShape, "tables[1].ids.shape",
                "dims[0] of a shape is -2; dims are 0 or more");
}

TEST_F(LookupRefusalTest, IdsHaveRank8AtMost) {
  for (int i = 0; i < 9; ++i) {
    table_.mutable_ids()->mutable_shape()->add_dims(1);
  }
  ExpectRefused(Reason::kBadShape, "tables[1].ids.shape",
                "a shape of rank 9; at most 8 dims are allowed");
}

TEST_F(LookupRefusalTest, ProductsOfDimsDoNotOverflow) {
  for (int i = 0; i < 4; ++i) {
    table_.mutable_ids()->mutable_shape()->add_dims(
        std::numeric_limits<int32_t>::max());
  }
  ExpectRefused(Reason::kBadShape, "tables[1].ids.shape",
                "a shape of (2147483647, 2147483647, 2147483647, 2147483647) "
                "has more than 2^63 elements");
}

TEST_F(LookupRefusalTest, AReplyOfNoBytesIsNone) {
  message_.set_max_response_bytes(0);
  ExpectRefused(Reason::kBadValue, "max_response_bytes",
                "max_response_bytes is more than 0 or absent, but here it is "
                "0");
}

TEST_F(LookupRefusalTest, IdsAreLimitedOverAllTables) {
  table_.mutable_ids()->mutable_ids()->Resize(kIdsPerRequestMax, 7);
  EXPECT_EQ(Parse(message_), absl::OkStatus());

  message_.mutable_tables(0)->mutable_ids()->add_ids(7);
  ExpectRefused(Reason::kTooLarge, "tables",
                "4194305 ids in one request; at most 4194304 are allowed, send "
                "several requests");
}

TEST_F(LookupRefusalTest, TablesAreLimited) {
  while (message_.tables_size() < kTablesPerRequestMax) {
    message_.add_tables();
  }
  EXPECT_EQ(Parse(message_), absl::OkStatus());

  message_.add_tables();
  ExpectRefused(Reason::kTooLarge, "tables",
                "more than 4096 tables in one request; send several");
}

TEST_F(LookupRefusalTest, APositionIsOfAnEpoch) {
  message_.mutable_min_position()->set_lsn(7);
  ExpectRefused(Reason::kBadValue, "min_position.epoch",
                "a position has the epoch that it was given with, which is 1 "
                "or more");

  message_.mutable_min_position()->set_epoch(1);
  EXPECT_EQ(Parse(message_), absl::OkStatus());
}

TEST_F(LookupRefusalTest, ElementTypesThatAreNotBuiltAreNamed) {
  for (const auto built :
       {v1::ELEMENT_TYPE_UNSPECIFIED, v1::ELEMENT_TYPE_FLOAT32,
        v1::ELEMENT_TYPE_FLOAT16, v1::ELEMENT_TYPE_BFLOAT16}) {
    table_.set_output_dtype(built);
    EXPECT_EQ(Parse(message_), absl::OkStatus());
  }
  for (const int number : {4, 9, -1}) {
    table_.set_output_dtype(static_cast<v1::ElementType>(number));
    ExpectRefused(Reason::kNotBuilt, "tables[1].output_dtype",
                  fmt::format("this version has no element type {}; it has "
                              "ELEMENT_TYPE_FLOAT32, ELEMENT_TYPE_FLOAT16 and "
                              "ELEMENT_TYPE_BFLOAT16",
                              number));
  }
}

class GradientRefusalTest : public ::testing::Test {
 protected:
  GradientRefusalTest() {
    table_.mutable_table()->set_name("letters");
    table_.mutable_ids()->add_ids(1);
    gradient_.add_values(0.5f);
    gradient_.add_values(1.5f);
  }

  void ExpectRefused(Reason reason, std::string_view field,
                     std::string_view sentence) {
    ExpectError(Parse(message_), reason, field, sentence);
  }

  v1::ApplyGradientRequest message_ = OneGoodTable<v1::ApplyGradientRequest>();
  v1::TableGradient& table_ = *message_.add_tables();
  v1::Tensor& gradient_ = *table_.mutable_gradient();
};

TEST_F(GradientRefusalTest, TheMessageItselfIsFine) {
  EXPECT_EQ(Parse(message_), absl::OkStatus());
}

TEST_F(GradientRefusalTest, TheRefAndIdsAreThoseOfALookup) {
  v1::ApplyGradientRequest stranger = message_;
  stranger.mutable_tables(1)->mutable_table()->set_uid("?");
  ExpectError(Parse(stranger), Reason::kBadValue, "tables[1].table.uid",
              "a table's uid has 16 bytes, but this one has 1");

  table_.mutable_ids()->mutable_shape()->add_dims(4);
  ExpectRefused(Reason::kBadShape, "tables[1].ids.shape",
                "a shape of (4,) has 4 ids, but 1 came");
}

TEST_F(GradientRefusalTest, AShapeHasAsManyElementsAsThereAreFloats) {
  gradient_.mutable_shape()->add_dims(1);
  gradient_.mutable_shape()->add_dims(3);
  ExpectRefused(Reason::kBadShape, "tables[1].gradient.shape",
                "a shape of (1, 3) has 3 floats, but 2 came");
}

TEST_F(GradientRefusalTest, GradientsHaveRank9AtMost) {
  gradient_.mutable_shape()->add_dims(2);
  for (int i = 1; i < 9; ++i) {
    gradient_.mutable_shape()->add_dims(1);
  }
  EXPECT_EQ(Parse(message_), absl::OkStatus());

  gradient_.mutable_shape()->add_dims(1);
  ExpectRefused(Reason::kBadShape, "tables[1].gradient.shape",
                "a shape of rank 10; at most 9 dims are allowed");
}

TEST_F(GradientRefusalTest, LearningRatesAreFiniteAndNotNegative) {
  table_.set_learning_rate(-0.25);
  ExpectRefused(Reason::kBadValue, "tables[1].learning_rate",
                "a learning rate is 0 or more, but this one is -0.25");

  table_.set_learning_rate(std::numeric_limits<double>::infinity());
  ExpectRefused(Reason::kNonFinite, "tables[1].learning_rate",
                "a learning rate is finite, but this one is inf");

  table_.set_learning_rate(std::nan(""));
  ExpectRefused(Reason::kNonFinite, "tables[1].learning_rate",
                "a learning rate is finite, but this one is nan");
}

TEST_F(GradientRefusalTest, IdsAndTablesAreLimited) {
  table_.mutable_ids()->mutable_ids()->Resize(kIdsPerRequestMax + 1, 7);
  ExpectRefused(Reason::kTooLarge, "tables",
                "4194305 ids in one request; at most 4194304 are allowed, send "
                "several requests");

  while (message_.tables_size() <= kTablesPerRequestMax) {
    message_.add_tables();
  }
  ExpectRefused(Reason::kTooLarge, "tables",
                "more than 4096 tables in one request; send several");
}

TEST_F(GradientRefusalTest, ATensorSaysOneThing) {
  gradient_.set_packed("12345678");
  ExpectRefused(Reason::kBadValue, "tables[1].gradient.packed",
                "a tensor has both values and packed; set one of them");

  gradient_.clear_values();
  ExpectRefused(Reason::kBadValue, "tables[1].gradient.packed",
                "elements of ELEMENT_TYPE_FLOAT32 go into values, not packed");

  gradient_.set_dtype(v1::ELEMENT_TYPE_FLOAT32);
  ExpectRefused(Reason::kBadValue, "tables[1].gradient.packed",
                "elements of ELEMENT_TYPE_FLOAT32 go into values, not packed");

  gradient_.set_dtype(static_cast<v1::ElementType>(9));
  ExpectRefused(Reason::kNotBuilt, "tables[1].gradient.dtype",
                "this version has no element type 9; it has "
                "ELEMENT_TYPE_FLOAT32, ELEMENT_TYPE_FLOAT16 and "
                "ELEMENT_TYPE_BFLOAT16");
}

TEST_F(GradientRefusalTest, HalvesAreWholeAndPackedAndAsManyAsTheShapeHas) {
  gradient_.set_dtype(v1::ELEMENT_TYPE_BFLOAT16);
  ExpectRefused(Reason::kBadValue, "tables[1].gradient.values",
                "elements of ELEMENT_TYPE_BFLOAT16 go into packed, not values");

  gradient_.set_packed("1234");
  ExpectRefused(Reason::kBadValue, "tables[1].gradient.packed",
                "a tensor has both values and packed; set one of them");

  gradient_.clear_values();
  EXPECT_EQ(Parse(message_), absl::OkStatus());

  gradient_.set_packed("12345");
  ExpectRefused(Reason::kBadShape, "tables[1].gradient.packed",
                "packed has 5 bytes; an element of ELEMENT_TYPE_BFLOAT16 takes "
                "2");

  gradient_.set_dtype(v1::ELEMENT_TYPE_FLOAT16);
  gradient_.set_packed("123456");
  gradient_.mutable_shape()->add_dims(1);
  gradient_.mutable_shape()->add_dims(2);
  ExpectRefused(Reason::kBadShape, "tables[1].gradient.shape",
                "a shape of (1, 2) has 2 floats, but 3 came");
}

TEST_F(GradientRefusalTest, APushIsNamedWholeOrNotAtAll) {
  v1::ApplyGradientRequest named = message_;
  named.mutable_push_id()->set_sequence(7);
  ExpectError(Parse(named), Reason::kBadValue, "push_id.session_id",
              "a session's id has 16 bytes, but this one has 0");
  named.mutable_push_id()->set_session_id("sixteen bytes it");
  EXPECT_EQ(Parse(named), absl::OkStatus());
  named.mutable_push_id()->set_sequence(0);
  ExpectError(Parse(named), Reason::kBadValue, "push_id.sequence",
              "pushes of a session count from 1");
}

TEST(MalformedTest, WhatIsNoMessageIsSaidToBeNone) {
  const google::protobuf::LogSilencer silencer;

  ExpectError(LookupRequest::Parse(Pieces("garbage")).status(),
              Reason::kMalformed, "",
              "the 7 bytes received are not a quire.v1.LookupRequest");
  ExpectError(ApplyGradientRequest::Parse(Pieces("\x1a\x7f")).status(),
              Reason::kMalformed, "",
              "the 2 bytes received are not a quire.v1.ApplyGradientRequest");
  ExpectError(LookupStreamRequest::Parse(Pieces("\x08")).request.status(),
              Reason::kMalformed, "",
              "the 1 bytes received are not a quire.v1.LookupStreamRequest");
}

TEST(MalformedTest, NamesAreUtf8) {
  const google::protobuf::LogSilencer silencer;
  v1::LookupRequest message;
  message.add_tables()->mutable_table()->set_name("\xff");

  ExpectError(Parse(message), Reason::kMalformed, "",
              "the 7 bytes received are not a quire.v1.LookupRequest");
}

TEST(StreamRefusalTest, ARefusedRequestKeepsItsNumber) {
  v1::LookupStreamRequest message;
  message.set_request_id(77);
  message.mutable_request()->set_max_response_bytes(-1);
  const std::string canonical = message.SerializeAsString();
  // The number once more, at the end: for the generated code.
  const std::string unusual = canonical + "\x08\x4d";

  for (const std::string& bytes : {canonical, unusual}) {
    const auto parsed = LookupStreamRequest::Parse(Pieces(bytes));

    EXPECT_EQ(parsed.request_id, 77);
    EXPECT_EQ(ReasonOf(parsed.request.status()), Reason::kBadValue);
    EXPECT_EQ(FieldOf(parsed.request.status()), "max_response_bytes");
  }
}

// The number that a malformed message on a stream is refused under.
std::optional<uint64_t> NumberOf(std::string_view bytes) {
  const auto parsed = LookupStreamRequest::Parse(Pieces(bytes));
  EXPECT_EQ(ReasonOf(parsed.request.status()), Reason::kMalformed);
  return parsed.request_id;
}

TEST(StreamRefusalTest, AMalformedRequestKeepsItsNumberIfItCanBeRead) {
  using namespace std::string_view_literals;
  const google::protobuf::LogSilencer silencer;

  EXPECT_EQ(NumberOf("\x08\x05\x12\x01\x07"sv), 5) << "before the request";
  EXPECT_EQ(NumberOf("\x12\x01\x07\x08\x05"sv), 5) << "after it";
  EXPECT_EQ(NumberOf("\x08\x05\x08\x06\x12\x01\x07"sv), 6) << "the last one";
  EXPECT_EQ(NumberOf("\x08\x05\x12\x7f"sv), 5) << "before the bytes break";
  EXPECT_EQ(NumberOf("\x12\x01\x07"sv), 0) << "there is none";
  EXPECT_EQ(NumberOf("\x12\x7f"sv), std::nullopt) << "the bytes break";
  EXPECT_EQ(NumberOf("\x08\xff"sv), std::nullopt) << "within the number";
  EXPECT_EQ(NumberOf("\x7b\x08\x05"sv), std::nullopt) << "inside of a group";
}

TEST(StreamRefusalTest, AMessageWithoutARequestAsksForNothing) {
  const auto parsed = LookupStreamRequest::Parse(Pieces("\x08\x05"));

  EXPECT_EQ(parsed.request_id, 5);
  ASSERT_TRUE(parsed.request.ok());
  EXPECT_TRUE(parsed.request->tables.empty());
}

class BadReplyTest : public ::testing::Test {
 protected:
  BadReplyTest() {
    table_.set_table_uid("sixteen bytes...");
    table_.mutable_embeddings()->add_values(1);
  }

  void ExpectRefused(std::string_view field, std::string_view sentence) {
    ExpectError(Parse(message_), Reason::kBug, field,
                "the server sent a reply that cannot be read: " +
                    std::string(sentence));
  }

  v1::LookupResponse message_;
  v1::TableLookupResult& table_ = *message_.add_tables();
};

TEST_F(BadReplyTest, TheReplyItselfIsFine) {
  EXPECT_EQ(Parse(message_), absl::OkStatus());
}

TEST_F(BadReplyTest, AUidIsAlwaysThere) {
  table_.clear_table_uid();
  ExpectRefused("tables[0].table_uid",
                "a table's uid has 16 bytes, but this one has 0");
}

TEST_F(BadReplyTest, AShapeAgreesWithItsFloats) {
  table_.mutable_embeddings()->mutable_shape()->add_dims(3);
  ExpectRefused("tables[0].embeddings.shape",
                "a shape of (3,) has 3 floats, but 1 came");
}

TEST_F(BadReplyTest, RowsAreOfATypeThatThereIs) {
  table_.mutable_embeddings()->set_dtype(static_cast<v1::ElementType>(9));
  ExpectRefused("tables[0].embeddings.dtype",
                "this version has no element type 9; it has "
                "ELEMENT_TYPE_FLOAT32, ELEMENT_TYPE_FLOAT16 and "
                "ELEMENT_TYPE_BFLOAT16");
}

TEST_F(BadReplyTest, GarbageIsNoReply) {
  ExpectError(
      LookupResponse::Parse(Pieces("garbage")).status(), Reason::kBug, "",
      "the server sent a reply that cannot be read: the 7 bytes received "
      "are not a quire.v1.LookupResponse");
}

TEST_F(BadReplyTest, FieldsOfVersionsToComeAreIgnored) {
  message_.mutable_position()->set_lsn(3);
  table_.set_found("\x01");

  const Pieces pieces(message_.SerializeAsString());
  const auto response = LookupResponse::Parse(pieces);

  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->used_generated_code());
  EXPECT_EQ(response->tables[0].shape, Shape({1}));
}

}  // namespace
}  // namespace quire::wire
