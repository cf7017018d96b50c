#include "engine/table_spec.h"

#include "base/limits.h"
#include "engine/spec_case.h"

namespace quire {
namespace {

using testing::ExpectRefused;
using ::testing::HasSubstr;
using testing::kInfinity;
using testing::kNan;
using testing::Normalized;
using testing::Spec;

// --- What a table is ---

TEST(TableSpecTest, DefaultsAreFilledInAndNormalizingTwiceChangesNothing) {
  const v1::TableSpec once = Normalized(Spec());
  const v1::TableSpec twice = Normalized(once);

  EXPECT_EQ(once.SerializeAsString(), twice.SerializeAsString());
  EXPECT_EQ(once.shard_count(), 64);
  EXPECT_EQ(once.initializer().normal().stddev(), 1.0f);
  EXPECT_TRUE(once.optimizer().has_sgd());
  EXPECT_EQ(once.optimizer().learning_rate(), 0.01);
}

TEST(TableSpecTest, NoTableHasSuchANameOrSuchSizes) {
  ExpectRefused(Spec("name: '../x'"), Reason::kBadName, "spec.name", "../x");
  ExpectRefused(Spec(fmt::format("name: '{}'", std::string(129, 'a'))),
                Reason::kBadName, "spec.name", "129 bytes");
  ExpectRefused(Spec("embedding_dim: 0"), Reason::kBadValue,
                "spec.embedding_dim", "it must be in [1, 65536]");
  ExpectRefused(Spec("embedding_dim: 65537"), Reason::kBadValue,
                "spec.embedding_dim", "it must be in [1, 65536]");
  ExpectRefused(Spec("num_embeddings: -1"), Reason::kBadValue,
                "spec.num_embeddings", "it must be in [0, 1099511627776]");
  ExpectRefused(Spec("shard_count: 3"), Reason::kBadValue, "spec.shard_count",
                "it must be a power of two");
}

TEST(TableSpecTest, InitialRowsAreOfFiniteNumbersInOrder) {
  ExpectRefused(Spec("initializer { uniform { low: 1 } }"), Reason::kBadValue,
                "spec.initializer.uniform.low", "low must not exceed high");
  ExpectRefused(Spec("initializer { constant { value: nan } }"),
                Reason::kBadValue, "spec.initializer.constant.value",
                "is nan; it must be finite");
  ExpectRefused(Spec("initializer { normal { stddev: -1 } }"),
                Reason::kBadValue, "spec.initializer.normal.stddev",
                "is -1; it must be finite and 0 or more");
}

TEST(TableSpecTest, AFieldOfALaterVersionIsNotIgnored) {
  v1::TableSpec spec = Spec("optimizer { sgd {} }");
  v1::Sgd& sgd = *spec.mutable_optimizer()->mutable_sgd();
  sgd.GetReflection()->MutableUnknownFields(&sgd)->AddVarint(99, 1);

  ExpectRefused(spec, Reason::kNotBuilt, "spec.optimizer.sgd", "99");
}

// --- torch's table rules ---

TEST(TableSpecTest, WithoutRulesThereAreNone) {
  const v1::TableSpec full = Normalized(Spec());
  const TableConfig config = ConfigOf(full);

  EXPECT_FALSE(full.has_padding_idx() || full.has_max_norm() ||
               full.has_norm_type() || full.has_clip());
  EXPECT_EQ(full.non_finite_policy(), v1::NON_FINITE_POLICY_REJECT);
  EXPECT_FALSE(config.padding_idx || config.max_norm ||
               config.scale_grad_by_freq);
  EXPECT_EQ(config.non_finite_policy, NonFinitePolicy::kReject);
  EXPECT_EQ(config.clip.kind, GradientClip::Kind::kNone);
}

TEST(TableSpecTest, ANegativePaddingIdxCountsFromTheEnd) {
  for (const int64_t padding_idx : {-10, -1, 0, 9}) {
    v1::TableSpec spec = Spec();
    spec.set_padding_idx(padding_idx);

    const v1::TableSpec full = Normalized(spec);

    EXPECT_EQ(full.padding_idx(), (padding_idx + 10) % 10);
    EXPECT_EQ(ConfigOf(full).padding_idx, (padding_idx + 10) % 10);
  }
}

TEST(TableSpecTest, APaddingIdxOutsideOfTheTableIsRefusedInTorchsRange) {
  for (const int64_t padding_idx :
       {int64_t{-11}, int64_t{10}, std::numeric_limits<int64_t>::min(),
        std::numeric_limits<int64_t>::max()}) {
    v1::TableSpec spec = Spec();
    spec.set_padding_idx(padding_idx);
    ExpectRefused(spec, Reason::kBadValue, "spec.padding_idx",
                  fmt::format("spec.padding_idx is {}; it must be within the "
                              "10 rows, -10 through 9",
                              padding_idx));
  }
}

TEST(TableSpecTest, ATableWithoutRowsHasNoPaddingRow) {
  v1::TableSpec spec = Spec("padding_idx: 0");
  spec.set_num_embeddings(0);

  ExpectRefused(spec, Reason::kBadValue, "spec.padding_idx",
                "a table of 0 rows has no padding row");
}

TEST(TableSpecTest, MaxNormBringsTheEuclideanNormUnlessToldOtherwise) {
  const v1::TableSpec full = Normalized(Spec("max_norm: 0.5"));
  EXPECT_EQ(full.norm_type(), 2.0);
  EXPECT_TRUE(full.has_norm_type());
  EXPECT_EQ(ConfigOf(full).max_norm, 0.5);
  EXPECT_EQ(ConfigOf(full).norm_type, 2.0);

  for (const double norm_type :
       {0.0, 0.5, 1.0, 3.0, -1.0, kInfinity, -kInfinity}) {
    v1::TableSpec spec = Spec("max_norm: 0");
    spec.set_norm_type(norm_type);
    EXPECT_EQ(ConfigOf(Normalized(spec)).max_norm, 0.0);
    EXPECT_EQ(ConfigOf(Normalized(spec)).norm_type, norm_type);
  }
}

TEST(TableSpecTest, ANormTypeWithoutMaxNormIsKeptAndHasNoEffect) {
  const v1::TableSpec full = Normalized(Spec("norm_type: 1"));

  EXPECT_EQ(full.norm_type(), 1.0);
  EXPECT_FALSE(ConfigOf(full).max_norm.has_value());
}

TEST(TableSpecTest, NormsThatMeanNothingAreRefused) {
  for (const double max_norm : {-1.0, kNan, kInfinity}) {
    v1::TableSpec spec = Spec();
    spec.set_max_norm(max_norm);
    ExpectRefused(spec, Reason::kBadValue, "spec.max_norm",
                  fmt::format("spec.max_norm is {}; it must be finite and 0 or "
                              "more",
                              max_norm));
  }
  ExpectRefused(Spec("max_norm: 1 norm_type: nan"), Reason::kBadValue,
                "spec.norm_type",
                "spec.norm_type is nan; it must be a number or an infinity");
}

TEST(TableSpecTest, DivisionByFrequencyReachesTheTable) {
  EXPECT_TRUE(ConfigOf(Normalized(Spec("scale_grad_by_freq: true")))
                  .scale_grad_by_freq);
}

TEST(TableSpecTest, EachNonFinitePolicyReachesTheTable) {
  const auto policy = [](const std::string& name) {
    return ConfigOf(
               Normalized(Spec("non_finite_policy: NON_FINITE_POLICY_" + name)))
        .non_finite_policy;
  };
  EXPECT_EQ(policy("REJECT"), NonFinitePolicy::kReject);
  EXPECT_EQ(policy("SKIP_ROW"), NonFinitePolicy::kSkipRow);
  EXPECT_EQ(policy("ALLOW"), NonFinitePolicy::kAllow);
  ExpectRefused(Spec("non_finite_policy: 99"), Reason::kBadValue,
                "spec.non_finite_policy", "99, which is no NonFinitePolicy");
}

TEST(TableSpecTest, EachClipReachesTheTable) {
  using Kind = GradientClip::Kind;
  const std::pair<std::string, Kind> cases[] = {{"value", Kind::kValue},
                                                {"row_norm", Kind::kRowNorm},
                                                {"push_norm", Kind::kPushNorm}};
  for (const auto& [name, kind] : cases) {
    const v1::TableSpec full =
        Normalized(Spec(fmt::format("clip {{ {}: 0.25 }}", name)));
    EXPECT_EQ(ConfigOf(full).clip.kind, kind);
    EXPECT_EQ(ConfigOf(full).clip.bound, 0.25);
    for (const double bound : {0.0, -1.0, kNan, kInfinity}) {
      ExpectRefused(Spec(fmt::format("clip {{ {}: {} }}", name, bound)),
                    Reason::kBadValue, "spec.clip." + name,
                    fmt::format("spec.clip.{} is {}; it must be finite and "
                                "more than 0 (to take no gradients, freeze the "
                                "table)",
                                name, bound));
    }
  }
}

TEST(TableSpecTest, AClipWithoutABoundIsNone) {
  EXPECT_FALSE(Normalized(Spec("clip {}")).has_clip());
}

TEST(TableSpecTest, WhatIsNotBuiltIsRefusedByName) {
  const std::pair<std::string, std::string> cases[] = {
      {"kind: TABLE_KIND_HASHED", "spec.kind"},
      {"storage_dtype: ELEMENT_TYPE_FLOAT16", "spec.storage_dtype"},
      {"storage_dtype: ELEMENT_TYPE_BFLOAT16", "spec.storage_dtype"}};
  for (const auto& [text, field] : cases) {
    ExpectRefused(Spec(text), Reason::kNotBuilt, field, "is not built yet");
  }
}

TEST(TableSpecTest, ATableIsLoggedWhereThereIsALog) {
  const auto normalized = [](const std::string& text, bool has_log) {
    const absl::StatusOr<v1::TableSpec> full = Normalize(Spec(text), has_log);
    EXPECT_TRUE(full.ok()) << full.status();
    return std::pair(full->persistence(), full->default_durability());
  };
  const auto memory = std::pair(v1::PERSISTENCE_MEMORY, v1::DURABILITY_MEMORY);
  EXPECT_EQ(normalized("", false), memory);
  EXPECT_EQ(normalized("persistence: PERSISTENCE_MEMORY", true), memory);
  EXPECT_EQ(normalized("", true),
            std::pair(v1::PERSISTENCE_LOGGED, v1::DURABILITY_WRITTEN));
  EXPECT_EQ(normalized("default_durability: DURABILITY_SYNCED", true),
            std::pair(v1::PERSISTENCE_LOGGED, v1::DURABILITY_SYNCED));
}

TEST(TableSpecTest, ADurabilityThatATableDoesNotReachIsRefused) {
  const std::tuple<std::string, bool, std::string> cases[] = {
      {"persistence: PERSISTENCE_LOGGED", false, "spec.persistence"},
      {"default_durability: DURABILITY_WRITTEN", false,
       "spec.default_durability"},
      {"default_durability: DURABILITY_MEMORY", true,
       "spec.default_durability"},
      {"default_durability: DURABILITY_REPLICATED", true,
       "spec.default_durability"},
      {"persistence: PERSISTENCE_MEMORY default_durability: "
       "DURABILITY_SYNCED",
       true, "spec.default_durability"}};
  for (const auto& [text, has_log, field] : cases) {
    const absl::Status refused = Normalize(Spec(text), has_log).status();
    EXPECT_EQ(ReasonOf(refused), Reason::kUnsupportedDurability) << refused;
    EXPECT_EQ(FieldOf(refused), field) << refused;
  }
}

// --- Comparing ---

TEST(TableSpecTest, WaysToSayTheSameAreTheSame) {
  const std::pair<std::string, std::string> cases[] = {
      {"padding_idx: -1", "padding_idx: 9"},
      {"max_norm: 1", "max_norm: 1 norm_type: 2"},
      {"",
       "optimizer { learning_rate: 0.01 sgd { momentum: 0 "
       "scope: SCOPE_TOUCHED } }"},
      {"optimizer { adam {} }",
       "optimizer { learning_rate: 0.001 adam { beta1: 0.9 } }"},
      {"clip {}", "non_finite_policy: NON_FINITE_POLICY_REJECT"}};
  for (const auto& [existing, wanted] : cases) {
    EXPECT_TRUE(
        CheckSame(Normalized(Spec(existing)), Normalized(Spec(wanted))).ok())
        << existing << " and " << wanted;
  }
}

struct DifferenceCase {
  std::string existing;
  std::string wanted;
  std::string field;
  std::string sentence;
};

class DifferenceTest : public ::testing::TestWithParam<DifferenceCase> {};

TEST_P(DifferenceTest, TheFirstDifferenceIsNamedWithBothValues) {
  const DifferenceCase& c = GetParam();

  const absl::Status status =
      CheckSame(Normalized(Spec(c.existing)), Normalized(Spec(c.wanted)));

  EXPECT_EQ(ReasonOf(status), Reason::kTableDiffers);
  EXPECT_EQ(FieldOf(status), c.field);
  EXPECT_THAT(std::string(status.message()), HasSubstr(c.sentence));
}

INSTANTIATE_TEST_SUITE_P(
    All, DifferenceTest,
    ::testing::Values(
        DifferenceCase{"padding_idx: -1", "padding_idx: 8", "spec.padding_idx",
                       "it has 9, the request wants 8"},
        DifferenceCase{"", "padding_idx: 0", "spec.padding_idx",
                       "it has absent, the request wants 0"},
        DifferenceCase{"max_norm: 1", "max_norm: 1 norm_type: 1",
                       "spec.norm_type", "it has 2, the request wants 1"},
        DifferenceCase{"clip { value: 1 }", "clip { row_norm: 1 }",
                       "spec.clip.value", "it has 1, the request wants absent"},
        DifferenceCase{"optimizer { adam {} }",
                       "optimizer { adam { amsgrad: true } }",
                       "spec.optimizer.adam.amsgrad",
                       "it has false, the request wants true"},
        DifferenceCase{"optimizer { sgd { scope: SCOPE_ALL } }", "",
                       "spec.optimizer.sgd.scope",
                       "it has SCOPE_ALL, the request wants SCOPE_TOUCHED"}));

}  // namespace
}  // namespace quire
