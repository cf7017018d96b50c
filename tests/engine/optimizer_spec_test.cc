// Every optimizer of the API: its defaults, its ranges, and what it makes.

#include "engine/optimizer_spec.h"

#include <google/protobuf/util/message_differencer.h>

#include "base/limits.h"
#include "engine/spec_case.h"

namespace quire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;
using testing::ExpectRefused;
using testing::kInfinity;
using testing::kNan;
using testing::Normalized;
using testing::Spec;
using testing::SpecWithOptimizer;

// The optimizers of the API: the fields of the oneof.
std::vector<const FieldDescriptor*> Kinds() {
  const auto& kind = *v1::Optimizer::descriptor()->FindOneofByName("kind");
  std::vector<const FieldDescriptor*> kinds;
  for (int i = 0; i < kind.field_count(); ++i) {
    kinds.push_back(kind.field(i));
  }
  return kinds;
}

// Calls f(message of the optimizer, field, spec) with a fresh specification for
// each hyperparameter of each optimizer; f may set the field.
template <typename F>
void ForEachHyperparameter(F f) {
  for (const FieldDescriptor* kind : Kinds()) {
    for (int i = 0; i < kind->message_type()->field_count(); ++i) {
      v1::TableSpec spec = Spec();
      Message& message = *spec.optimizer().GetReflection()->MutableMessage(
          spec.mutable_optimizer(), kind);
      const FieldDescriptor* field = kind->message_type()->field(i);
      f(message, *field, spec,
        fmt::format("spec.optimizer.{}.{}", kind->name(), field->name()));
    }
  }
}

// --- Defaults ---

struct DefaultCase {
  std::string name;
  std::string given;
  std::string described;
};

class OptimizerDefaultTest : public ::testing::TestWithParam<DefaultCase> {};

TEST_P(OptimizerDefaultTest, ADescribedOptimizerHasEveryDefaultFilledIn) {
  const v1::TableSpec spec = SpecWithOptimizer(GetParam().given);

  const v1::TableSpec full = Normalized(spec);

  const v1::TableSpec wanted = SpecWithOptimizer(GetParam().described);
  EXPECT_TRUE(MessageDifferencer::Equals(full.optimizer(), wanted.optimizer()))
      << full.optimizer().DebugString();
  EXPECT_TRUE(MessageDifferencer::Equals(Normalized(full), full));
}

constexpr const char* kSgdDefaults =
    "learning_rate: 0.01 sgd { momentum: 0 dampening: 0 nesterov: false "
    "weight_decay: 0 maximize: false scope: SCOPE_TOUCHED }";

INSTANTIATE_TEST_SUITE_P(
    All, OptimizerDefaultTest,
    ::testing::Values(
        DefaultCase{"none", "", kSgdDefaults},
        DefaultCase{"sgd", "sgd {}", kSgdDefaults},
        DefaultCase{"adagrad", "adagrad {}",
                    "learning_rate: 0.01 adagrad { lr_decay: 0 "
                    "initial_accumulator_value: 0 eps: 1e-10 weight_decay: 0 "
                    "maximize: false }"},
        DefaultCase{"rowwise_adagrad", "rowwise_adagrad {}",
                    "learning_rate: 0.01 rowwise_adagrad { eps: 1e-8 "
                    "initial_accumulator_value: 0 weight_decay: 0 "
                    "weight_decay_mode: WEIGHT_DECAY_MODE_NONE }"},
        DefaultCase{"sparse_adam", "sparse_adam {}",
                    "learning_rate: 0.001 sparse_adam { beta1: 0.9 "
                    "beta2: 0.999 eps: 1e-8 maximize: false }"},
        DefaultCase{"adam", "adam {}",
                    "learning_rate: 0.001 adam { beta1: 0.9 beta2: 0.999 "
                    "eps: 1e-8 weight_decay: 0 amsgrad: false maximize: false "
                    "scope: SCOPE_TOUCHED }"},
        DefaultCase{"adamw", "adamw {}",
                    "learning_rate: 0.001 adamw { beta1: 0.9 beta2: 0.999 "
                    "eps: 1e-8 weight_decay: 0.01 amsgrad: false "
                    "maximize: false scope: SCOPE_TOUCHED }"},
        DefaultCase{"rowwise_rmsprop", "rowwise_rmsprop {}",
                    "learning_rate: 0.01 rowwise_rmsprop { beta: 0.9 "
                    "eps: 1e-8 alpha: 0 min_shrinkage: 0 }"},
        DefaultCase{"partial_rowwise_adam", "partial_rowwise_adam {}",
                    "learning_rate: 0.001 partial_rowwise_adam { beta1: 0.9 "
                    "beta2: 0.999 eps: 1e-8 weight_decay: 0 }"},
        DefaultCase{"lamb", "lamb {}",
                    "learning_rate: 0.001 lamb { beta1: 0.9 beta2: 0.999 "
                    "eps: 1e-8 weight_decay: 0 }"},
        DefaultCase{"partial_rowwise_lamb", "partial_rowwise_lamb {}",
                    "learning_rate: 0.001 partial_rowwise_lamb { beta1: 0.9 "
                    "beta2: 0.999 eps: 1e-8 weight_decay: 0 }"},
        DefaultCase{"lars_sgd", "lars_sgd {}",
                    "learning_rate: 0.01 lars_sgd { momentum: 0.9 eta: 0.001 "
                    "weight_decay: 0 }"},
        DefaultCase{"ftrl", "ftrl {}",
                    "learning_rate: 0.01 ftrl { l1: 0 l2: 0 beta: 0 "
                    "initial_accumulator_value: 0.1 "
                    "learning_rate_power: -0.5 }"},
        DefaultCase{"what_is_given",
                    "learning_rate: 0 adam { beta2: 0.5 amsgrad: true }",
                    "learning_rate: 0 adam { beta1: 0.9 beta2: 0.5 eps: 1e-8 "
                    "weight_decay: 0 amsgrad: true maximize: false "
                    "scope: SCOPE_TOUCHED }"}),
    [](const auto& test) { return test.param.name; });

TEST(OptimizerSpecTest, EveryOptimizerOfTheApiIsFilledInWhole) {
  int count = 0;
  ForEachHyperparameter([&](const Message&, const FieldDescriptor& field,
                            const v1::TableSpec& spec,
                            const std::string& path) {
    const v1::TableSpec full = Normalized(spec);

    const v1::Optimizer& optimizer = full.optimizer();
    const Message& message = optimizer.GetReflection()->GetMessage(
        optimizer,
        v1::Optimizer::descriptor()->FindFieldByNumber(optimizer.kind_case()));
    EXPECT_TRUE(message.GetReflection()->HasField(message, &field)) << path;
    ++count;
  });
  EXPECT_GT(count, 50);
}

// --- What reaches the rows ---

// "beta1=0.5 amsgrad": what is not 0.
std::string Text(const Optimizer& o) {
  std::string text;
  const auto number = [&](std::string_view name, double value) {
    text += value == 0 ? "" : fmt::format(" {}={}", name, value);
  };
  const auto flag = [&](std::string_view name, bool value) {
    text += value ? fmt::format(" {}", name) : "";
  };
  number("momentum", o.momentum);
  number("dampening", o.dampening);
  number("weight_decay", o.weight_decay);
  number("lr_decay", o.lr_decay);
  number("initial_accumulator_value", o.initial_accumulator_value);
  number("eps", o.eps);
  number("beta", o.beta);
  number("beta1", o.beta1);
  number("beta2", o.beta2);
  number("alpha", o.alpha);
  number("min_shrinkage", o.min_shrinkage);
  number("eta", o.eta);
  number("l1", o.l1);
  number("l2", o.l2);
  number("learning_rate_power", o.learning_rate_power);
  flag("nesterov", o.nesterov);
  flag("maximize", o.maximize);
  flag("amsgrad", o.amsgrad);
  flag("all_rows", o.all_rows);
  flag("L2", o.weight_decay_mode == WeightDecayMode::kL2);
  flag("DECOUPLE", o.weight_decay_mode == WeightDecayMode::kDecouple);
  return text;
}

struct ConfigCase {
  OptimizerKind kind;
  std::string given;
  std::string made;
};

class OptimizerConfigTest : public ::testing::TestWithParam<ConfigCase> {};

TEST_P(OptimizerConfigTest, EachHyperparameterReachesTheRowsUnderItsName) {
  const v1::TableSpec full = Normalized(SpecWithOptimizer(GetParam().given));

  const Optimizer optimizer = ConfigOf(full).optimizer;
  EXPECT_EQ(optimizer.kind, GetParam().kind);
  EXPECT_EQ(Text(optimizer), GetParam().made);
}

INSTANTIATE_TEST_SUITE_P(
    All, OptimizerConfigTest,
    ::testing::Values(
        ConfigCase{OptimizerKind::kSgd,
                   "sgd { momentum: 0.5 nesterov: true weight_decay: 0.25 "
                   "maximize: true scope: SCOPE_ALL }",
                   " momentum=0.5 weight_decay=0.25 nesterov maximize "
                   "all_rows"},
        ConfigCase{OptimizerKind::kSgd,
                   "sgd { momentum: 0.5 dampening: -0.75 }",
                   " momentum=0.5 dampening=-0.75"},
        ConfigCase{OptimizerKind::kAdagrad,
                   "adagrad { lr_decay: 0.5 initial_accumulator_value: 2 "
                   "eps: 0.25 weight_decay: 0.125 maximize: true }",
                   " weight_decay=0.125 lr_decay=0.5 "
                   "initial_accumulator_value=2 eps=0.25 maximize"},
        ConfigCase{OptimizerKind::kRowwiseAdagrad,
                   "rowwise_adagrad { eps: 0.5 initial_accumulator_value: 3 "
                   "weight_decay: 0.25 "
                   "weight_decay_mode: WEIGHT_DECAY_MODE_L2 }",
                   " weight_decay=0.25 "
                   "initial_accumulator_value=3 eps=0.5 L2"},
        ConfigCase{OptimizerKind::kRowwiseAdagrad,
                   "rowwise_adagrad { eps: 0 weight_decay: 0.25 "
                   "weight_decay_mode: WEIGHT_DECAY_MODE_DECOUPLE }",
                   " weight_decay=0.25 DECOUPLE"},
        ConfigCase{OptimizerKind::kSparseAdam,
                   "sparse_adam { beta1: 0.25 beta2: 0.5 eps: 2 "
                   "maximize: true }",
                   " eps=2 beta1=0.25 beta2=0.5 maximize"},
        ConfigCase{OptimizerKind::kAdam,
                   "adam { beta1: 0.25 beta2: 0.5 eps: 2 weight_decay: 3 "
                   "amsgrad: true maximize: true scope: SCOPE_ALL }",
                   " weight_decay=3 eps=2 beta1=0.25 beta2=0.5 maximize "
                   "amsgrad all_rows"},
        ConfigCase{OptimizerKind::kAdamW,
                   "adamw { beta1: 0.25 beta2: 0.5 eps: 2 weight_decay: 3 "
                   "amsgrad: true maximize: true scope: SCOPE_ALL }",
                   " weight_decay=3 eps=2 beta1=0.25 beta2=0.5 maximize "
                   "amsgrad all_rows"},
        ConfigCase{OptimizerKind::kRowwiseRmsprop,
                   "rowwise_rmsprop { beta: 0.25 eps: 2 alpha: 3 "
                   "min_shrinkage: 0.5 }",
                   " eps=2 beta=0.25 alpha=3 "
                   "min_shrinkage=0.5"},
        ConfigCase{OptimizerKind::kPartialRowwiseAdam,
                   "partial_rowwise_adam { beta1: 0.25 beta2: 0.5 eps: 2 "
                   "weight_decay: 3 }",
                   " weight_decay=3 eps=2 beta1=0.25 "
                   "beta2=0.5"},
        ConfigCase{OptimizerKind::kLamb,
                   "lamb { beta1: 0.25 beta2: 0.5 eps: 2 weight_decay: 3 }",
                   " weight_decay=3 eps=2 beta1=0.25 beta2=0.5"},
        ConfigCase{OptimizerKind::kPartialRowwiseLamb,
                   "partial_rowwise_lamb { beta1: 0.25 beta2: 0.5 eps: 2 "
                   "weight_decay: 3 }",
                   " weight_decay=3 eps=2 beta1=0.25 "
                   "beta2=0.5"},
        ConfigCase{OptimizerKind::kLarsSgd,
                   "lars_sgd { momentum: 0.25 eta: 0.5 weight_decay: 2 }",
                   " momentum=0.25 weight_decay=2 eta=0.5"},
        ConfigCase{OptimizerKind::kFtrl,
                   "ftrl { l1: 0.25 l2: 0.5 beta: 2 "
                   "initial_accumulator_value: 3 learning_rate_power: -4 }",
                   " initial_accumulator_value=3 beta=2 l1=0.25 l2=0.5 "
                   "learning_rate_power=-4"}));

// --- Ranges ---

TEST(OptimizerSpecTest, NoHyperparameterIsNanInfiniteOrInfiniteAsAFloat) {
  for (const double value : {kNan, kInfinity, -kInfinity, 1e39, -1e39}) {
    ForEachHyperparameter([&](Message& message, const FieldDescriptor& field,
                              const v1::TableSpec& spec,
                              const std::string& path) {
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
        message.GetReflection()->SetDouble(&message, &field, value);
        ExpectRefused(spec, Reason::kBadValue, path,
                      fmt::format("{} is {}", path, value));
      }
    });
  }
}

TEST(OptimizerSpecTest, OnlyADampeningAndAPowerMayBeNegative) {
  ForEachHyperparameter([&](Message& message, const FieldDescriptor& field,
                            const v1::TableSpec& spec,
                            const std::string& path) {
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE) {
      return;
    }
    message.GetReflection()->SetDouble(&message, &field, -0.5);
    if (field.name() == "dampening" || field.name() == "learning_rate_power") {
      EXPECT_TRUE(Normalize(spec, false).ok()) << path;
    } else {
      ExpectRefused(spec, Reason::kBadValue, path,
                    fmt::format("{} is -0.5; it must be ", path));
    }
  });
}

TEST(OptimizerSpecTest, AnEnumHasOnlyTheValuesOfTheApi) {
  int count = 0;
  ForEachHyperparameter([&](Message& message, const FieldDescriptor& field,
                            const v1::TableSpec& spec,
                            const std::string& path) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      message.GetReflection()->SetEnumValue(&message, &field, 99);
      ExpectRefused(
          spec, Reason::kBadValue, path,
          fmt::format("is 99, which is no {}", field.enum_type()->name()));
      ++count;
    }
  });
  EXPECT_EQ(count, 4);
}

struct RangeCase {
  std::string optimizer;
  std::string field;
  std::string sentence;  // behind "spec.optimizer.FIELD "
};

class OptimizerRangeTest : public ::testing::TestWithParam<RangeCase> {};

TEST_P(OptimizerRangeTest, AValueOutsideOfItsRangeIsRefusedInASentence) {
  const RangeCase& c = GetParam();
  const std::string field = "spec.optimizer." + c.field;

  ExpectRefused(SpecWithOptimizer(c.optimizer), Reason::kBadValue, field,
                c.sentence);
}

INSTANTIATE_TEST_SUITE_P(
    All, OptimizerRangeTest,
    ::testing::Values(
        RangeCase{"learning_rate: -1", "learning_rate",
                  "learning_rate is -1; it must be finite and 0 or more"},
        RangeCase{"learning_rate: inf adam {}", "learning_rate",
                  "learning_rate is inf; it must be finite and 0 or more"},
        RangeCase{"learning_rate: 0 ftrl {}", "learning_rate",
                  "learning_rate is 0; it must be finite and more than 0"},
        RangeCase{"sgd { momentum: -1 }", "sgd.momentum",
                  "momentum is -1; it must be finite and 0 or more"},
        RangeCase{"sgd { dampening: nan }", "sgd.dampening",
                  "dampening is nan; it must be finite"},
        RangeCase{"sgd { momentum: 1e39 }", "sgd.momentum",
                  "momentum is 1e+39; as a float32 it is infinite"},
        RangeCase{"sgd { nesterov: true }", "sgd.nesterov",
                  "nesterov requires a momentum and zero dampening; momentum "
                  "is 0, dampening 0"},
        RangeCase{"sgd { nesterov: true momentum: 0.9 dampening: 0.5 }",
                  "sgd.nesterov",
                  "nesterov requires a momentum and zero dampening; momentum "
                  "is 0.9, dampening 0.5"},
        RangeCase{"adagrad { lr_decay: -1 }", "adagrad.lr_decay",
                  "lr_decay is -1; it must be finite and 0 or more"},
        RangeCase{"adagrad { initial_accumulator_value: -1 }",
                  "adagrad.initial_accumulator_value",
                  "is -1; it must be finite and 0 or more"},
        RangeCase{"adagrad { eps: -1 }", "adagrad.eps",
                  "eps is -1; it must be finite and 0 or more"},
        RangeCase{"rowwise_adagrad { weight_decay: 0.5 }",
                  "rowwise_adagrad.weight_decay_mode",
                  "weight_decay is 0.5 and would have no effect; set "
                  "spec.optimizer.rowwise_adagrad.weight_decay_mode to L2 or "
                  "DECOUPLE"},
        RangeCase{"rowwise_adagrad { weight_decay: 0.5 "
                  "weight_decay_mode: WEIGHT_DECAY_MODE_NONE }",
                  "rowwise_adagrad.weight_decay_mode", "would have no effect"},
        RangeCase{"sparse_adam { eps: 0 }", "sparse_adam.eps",
                  "eps is 0; it must be finite and more than 0"},
        RangeCase{"sparse_adam { beta1: 1 }", "sparse_adam.beta1",
                  "beta1 is 1; it must be in [0, 1)"},
        RangeCase{"adam { beta2: 1 }", "adam.beta2",
                  "beta2 is 1; it must be in [0, 1)"},
        RangeCase{"adamw { beta1: -0.1 }", "adamw.beta1",
                  "beta1 is -0.1; it must be in [0, 1)"},
        RangeCase{"rowwise_rmsprop { beta: 1 }", "rowwise_rmsprop.beta",
                  "beta is 1; it must be in [0, 1)"},
        RangeCase{"rowwise_rmsprop { min_shrinkage: 1.5 }",
                  "rowwise_rmsprop.min_shrinkage",
                  "min_shrinkage is 1.5; it must be in [0, 1]"},
        RangeCase{"partial_rowwise_adam { beta1: 1 }",
                  "partial_rowwise_adam.beta1", "it must be in [0, 1)"},
        RangeCase{"lamb { beta2: 1 }", "lamb.beta2", "it must be in [0, 1)"},
        RangeCase{"partial_rowwise_lamb { beta2: 1 }",
                  "partial_rowwise_lamb.beta2", "it must be in [0, 1)"},
        RangeCase{"ftrl { learning_rate_power: 0.5 }",
                  "ftrl.learning_rate_power",
                  "learning_rate_power is 0.5; it must be finite and 0 or "
                  "less"}));

class OptimizerEdgeTest : public ::testing::TestWithParam<std::string> {};

TEST_P(OptimizerEdgeTest, WhatTorchAndTheOthersTakeIsTaken) {
  EXPECT_TRUE(Normalize(SpecWithOptimizer(GetParam()), false).ok())
      << Normalize(SpecWithOptimizer(GetParam()), false).status();
}

INSTANTIATE_TEST_SUITE_P(
    All, OptimizerEdgeTest,
    ::testing::Values(
        "learning_rate: 0", "learning_rate: 0 sparse_adam {}",
        "sgd { momentum: 1.5 }", "sgd { momentum: 0.9 nesterov: true }",
        "adagrad { eps: 0 }", "adam { beta1: 0 beta2: 0 eps: 0 }",
        "rowwise_adagrad { weight_decay_mode: WEIGHT_DECAY_MODE_L2 }",
        "rowwise_rmsprop { min_shrinkage: 1 }",
        "ftrl { initial_accumulator_value: 0 learning_rate_power: 0 }"));

// --- Scope ---

class ScopeTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ScopeTest, AllIsRefusedTogetherWithMaxNorm) {
  v1::TableSpec spec = SpecWithOptimizer(GetParam() + " { scope: SCOPE_ALL }");
  EXPECT_TRUE(Normalize(spec, false).ok());

  spec.set_max_norm(2);
  ExpectRefused(spec, Reason::kBadValue,
                "spec.optimizer." + GetParam() + ".scope",
                ".scope is ALL and spec.max_norm is 2; a table has one of "
                "them: take TOUCHED, or no max_norm");
}

TEST_P(ScopeTest, AllIsForTablesThatAPushCanWriteWhole) {
  v1::TableSpec spec =
      SpecWithOptimizer(GetParam() + " { weight_decay: 0.5 scope: SCOPE_ALL }");
  spec.set_num_embeddings(kAllScopeElementsMax / 4);
  EXPECT_TRUE(ConfigOf(Normalized(spec)).optimizer.all_rows);

  spec.set_num_embeddings(kAllScopeElementsMax / 4 + 1);
  ExpectRefused(spec, Reason::kTooLarge,
                "spec.optimizer." + GetParam() + ".scope",
                "each push writes all 4194305 x 4 = 16777220 elements; it may "
                "be 16777216 at most: take TOUCHED, or fewer rows");
}

INSTANTIATE_TEST_SUITE_P(All, ScopeTest,
                         ::testing::Values("sgd", "adam", "adamw"));

TEST(OptimizerSpecTest, AllOfPlainSgdIsTouchedAndShownAsItWasGiven) {
  v1::TableSpec spec = SpecWithOptimizer("sgd { scope: SCOPE_ALL }");
  spec.set_num_embeddings(kNumEmbeddingsMax);

  const v1::TableSpec full = Normalized(spec);

  EXPECT_EQ(full.optimizer().sgd().scope(), v1::SCOPE_ALL);
  EXPECT_FALSE(ConfigOf(full).optimizer.all_rows);
}

}  // namespace
}  // namespace quire
