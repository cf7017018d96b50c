#include "row/renorm.h"

#include <gtest/gtest.h>

#include <limits>

namespace quire {
namespace {

using kernels::NormKind;

TEST(RenormTest, EachNormTypeHasItsKind) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::pair<double, NormKind> kinds[] = {
      {2.0, NormKind::kTwo},           {1.0, NormKind::kOne},
      {0.0, NormKind::kZero},          {-0.0, NormKind::kZero},
      {kInfinity, NormKind::kLargest}, {-kInfinity, NormKind::kSmallest},
      {3.0, NormKind::kOther},         {-2.0, NormKind::kOther},
      {0.5, NormKind::kOther},         {1.9999999, NormKind::kOther}};
  for (const auto& [norm_type, kind] : kinds) {
    const kernels::Renorm renorm = RenormOf(1.25, norm_type);

    EXPECT_EQ(renorm.kind, kind) << norm_type;
    EXPECT_EQ(renorm.max_norm, 1.25);
    EXPECT_EQ(renorm.p, static_cast<float>(norm_type));
    EXPECT_EQ(renorm.epsilon, 1e-7);
  }
}

}  // namespace
}  // namespace quire
