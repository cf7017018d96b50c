#include "client/terminal/literal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/formats/input_error.h"

namespace quire::terminal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string NestedError(std::string_view text) {
  const auto ids = ParseNestedIds(text);
  EXPECT_TRUE(formats::IsInputError(ids.status())) << text;
  return std::string(ids.status().message());
}

std::string PlainError(std::string_view text) {
  std::vector<int64_t> ids;
  const absl::Status status = AppendPlainIds(text, ids);
  EXPECT_TRUE(formats::IsInputError(status)) << text;
  return std::string(status.message());
}

TEST(LiteralTest, NestedListsKeepTheirShape) {
  const auto ids = ParseNestedIds(" [[2,3], [1,0],\n[8,6]] ");

  ASSERT_EQ(ids.status(), absl::OkStatus());
  EXPECT_THAT(ids->dims, ElementsAre(3, 2));
  EXPECT_THAT(ids->values, ElementsAre(2, 3, 1, 0, 8, 6));
}

TEST(LiteralTest, EmptyListsAndScalarsHaveAShapeToo) {
  EXPECT_THAT(ParseNestedIds("7")->dims, ElementsAre());
  EXPECT_THAT(ParseNestedIds("[]")->dims, ElementsAre(0));
  EXPECT_THAT(ParseNestedIds("[[],[]]")->dims, ElementsAre(2, 0));
  EXPECT_THAT(ParseNestedIds("[[[]]]")->dims, ElementsAre(1, 1, 0));
}

TEST(LiteralTest, RaggedNestingIsRefusedWithItsPlace) {
  EXPECT_EQ(NestedError("[[2,3],[1]]"),
            "character 8: ragged nesting: [1] has length 1, others 2");
  EXPECT_EQ(NestedError("[[[1],[2]],[[3],[4,5]]]"),
            "character 17: ragged nesting: [1][1] has length 2, others 1");
  EXPECT_EQ(NestedError("[1,[2]]"),
            "character 4: ragged nesting: [1] is a list, where others are "
            "numbers");
  EXPECT_EQ(NestedError("[[2],1]"),
            "character 6: ragged nesting: [1] is a number, where others are "
            "lists");
  EXPECT_THAT(NestedError("[[],1]"), HasSubstr("[1] is a number"));
  EXPECT_THAT(NestedError("[[],[1]]"), HasSubstr("[1] has length 1"));
  EXPECT_THAT(NestedError("[[],[[]]]"), HasSubstr("ragged"));
}

TEST(LiteralTest, WhatIsNoIdIsRefusedWithItsPlace) {
  EXPECT_EQ(NestedError("[1,-2]"),
            "character 4: -2 is no id: ids are 0 or more");
  EXPECT_EQ(NestedError("[9223372036854775808]"),
            "character 2: 9223372036854775808 is no id: it is over 2^63 - 1");
  EXPECT_EQ(NestedError("[2.5]"),
            "character 2: '2.5' is no id: ids are whole numbers");
  EXPECT_EQ(NestedError("[king]"),
            "character 2: 'king' is no id: ids are whole numbers");
}

TEST(LiteralTest, BrokenListsAreRefusedWithTheirPlace) {
  EXPECT_EQ(NestedError("[[1,2]"), "character 7: a list is not closed");
  EXPECT_EQ(NestedError("[1 2]"), "character 4: ',' or ']' is missing");
  EXPECT_EQ(NestedError("[1,]"), "character 4: a number is missing");
  EXPECT_EQ(NestedError("[1]]"), "character 4: the literal has ended here");
  EXPECT_EQ(NestedError("[1,\n2,\nx]"),
            "line 3, character 1: 'x' is no id: ids are whole numbers");
  EXPECT_EQ(NestedError(""), "character 1: a number is missing");
}

TEST(LiteralTest, DeepNestingEndsInASentence) {
  EXPECT_EQ(NestedError(std::string(1'000'000, '[')),
            "character 10: more than 9 levels of lists");
}

TEST(LiteralTest, FloatsAreReadTheSameWay) {
  const auto floats = ParseNestedFloats("[[0.1,-2],[1e-3,4]]");

  ASSERT_EQ(floats.status(), absl::OkStatus());
  EXPECT_THAT(floats->dims, ElementsAre(2, 2));
  EXPECT_THAT(floats->values, ElementsAre(0.1f, -2, 1e-3f, 4));
  EXPECT_EQ(ParseNestedFloats("[0.1,x]").status().message(),
            "character 6: 'x' is no number");
}

TEST(LiteralTest, SeveralLiteralsAreReadOneAfterTheOther) {
  const std::string_view text = "[1]\n[2,3]";
  size_t position = 0;

  EXPECT_THAT(ParseNestedIds(text, position)->values, ElementsAre(1));
  EXPECT_THAT(ParseNestedIds(text, position)->values, ElementsAre(2, 3));
  EXPECT_EQ(position, text.size());
}

TEST(LiteralTest, PlainIdsAreOneOrARangeWithBothEnds) {
  std::vector<int64_t> ids;

  for (std::string_view text : {"7", "0..3", "5..5"}) {
    EXPECT_EQ(AppendPlainIds(text, ids), absl::OkStatus());
  }

  EXPECT_THAT(ids, ElementsAre(7, 0, 1, 2, 3, 5));
}

TEST(LiteralTest, PlainTextThatIsNoIdIsQuoted) {
  EXPECT_EQ(PlainError("king"), "'king' is no id: ids are whole numbers");
  EXPECT_EQ(PlainError("-1"), "-1 is no id: ids are 0 or more");
  EXPECT_EQ(PlainError("3..1"), "the range 3..1 ends before it begins");
  EXPECT_EQ(PlainError("3.."), "'' is no id: ids are whole numbers");
  EXPECT_THAT(PlainError("0..9223372036854775807"),
              HasSubstr("makes more than 67108864 ids"));
}

}  // namespace
}  // namespace quire::terminal
