// Specifications as text, and what Normalize makes of them.

#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "base/status.h"
#include "engine/table_spec.h"

namespace quire::testing {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A table of 10 x 4 with what `text` says besides.
inline v1::TableSpec Spec(const std::string& text = "") {
  v1::TableSpec spec;
  spec.set_name("t");
  spec.set_num_embeddings(10);
  spec.set_embedding_dim(4);
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(text, &spec))
      << text;
  return spec;
}

inline v1::TableSpec SpecWithOptimizer(const std::string& text) {
  return Spec(fmt::format("optimizer {{ {} }}", text));
}

inline v1::TableSpec Normalized(const v1::TableSpec& spec) {
  const absl::StatusOr<v1::TableSpec> full = Normalize(spec, false);
  EXPECT_TRUE(full.ok()) << full.status() << spec.ShortDebugString();
  return full.value_or(v1::TableSpec());
}

inline void ExpectRefused(const v1::TableSpec& spec, Reason reason,
                          const std::string& field,
                          const std::string& sentence) {
  SCOPED_TRACE(spec.ShortDebugString());
  const absl::Status status = Normalize(spec, false).status();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(ReasonOf(status), reason) << status;
  EXPECT_EQ(FieldOf(status), field) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(sentence));
}

}  // namespace quire::testing
