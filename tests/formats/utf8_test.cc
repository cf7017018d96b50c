#include "client/formats/utf8.h"

#include <gtest/gtest.h>

namespace quire::formats {
namespace {

TEST(Utf8Test, ValidTextIsValid) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("king"));
  EXPECT_TRUE(IsUtf8("naïve 漢字 😀 \xf4\x8f\xbf\xbf"));
}

TEST(Utf8Test, WhatRfc3629ForbidsIsNotValid) {
  for (std::string_view text : {
           "\x80",              // a continuation alone
           "caf\xe9",           // Latin-1
           "\xe6\xbc",          // cut short
           "\xc0\xaf",          // overlong
           "\xe0\x80\xaf",      // overlong
           "\xf0\x80\x80\xaf",  // overlong
           "\xed\xa0\x80",      // a surrogate
           "\xf4\x90\x80\x80",  // above U+10FFFF
           "\xff",
       }) {
    EXPECT_FALSE(IsUtf8(text));
  }
}

TEST(Utf8Test, ABadByteIsOneStep) {
  EXPECT_EQ(NextUtf8("\xe6\xbcx").size, 1u);
  EXPECT_EQ(NextUtf8("漢x").size, 3u);
  EXPECT_EQ(NextUtf8("漢x").code_point, U'漢');
}

}  // namespace
}  // namespace quire::formats
