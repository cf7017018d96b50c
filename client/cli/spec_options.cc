#include "client/cli/spec_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "client/cli/output.h"
#include "client/cli/program.h"
#include "client/formats/input_error.h"
#include "client/formats/numbers.h"

namespace quire::cli {
namespace {

using formats::InputError;

// The numbers behind the colon of "uniform:-1,1".
absl::StatusOr<std::vector<float>> ParseArguments(std::string_view whole,
                                                  size_t count) {
  std::vector<float> numbers;
  const size_t colon = whole.find(':');
  std::string_view rest =
      colon == std::string_view::npos ? "" : whole.substr(colon + 1);
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    float number = 0;
    if (!formats::ParseFloat(rest.substr(0, comma), number) ||
        !std::isfinite(number)) {
      return InputError(fmt::format("--init {}: '{}' is no finite number",
                                    whole, rest.substr(0, comma)));
    }
    numbers.push_back(number);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  if (numbers.size() != count) {
    return InputError(fmt::format("--init {}: {} numbers; {} are needed", whole,
                                  numbers.size(), count));
  }
  return numbers;
}

}  // namespace

absl::StatusOr<v1::Initializer> ParseInitializer(std::string_view text) {
  v1::Initializer initializer;
  const std::string_view kind = text.substr(0, text.find(':'));
  const bool bare = kind.size() == text.size();
  if (kind == "zeros" && bare) {
    initializer.mutable_zeros();
  } else if (kind == "normal" && bare) {
    initializer.mutable_normal();
  } else if (kind == "normal") {
    QUIRE_ASSIGN_OR_RETURN(const auto numbers, ParseArguments(text, 2));
    initializer.mutable_normal()->set_mean(numbers[0]);
    initializer.mutable_normal()->set_stddev(numbers[1]);
  } else if (kind == "uniform") {
    QUIRE_ASSIGN_OR_RETURN(const auto numbers, ParseArguments(text, 2));
    initializer.mutable_uniform()->set_low(numbers[0]);
    initializer.mutable_uniform()->set_high(numbers[1]);
  } else if (kind == "constant") {
    QUIRE_ASSIGN_OR_RETURN(const auto numbers, ParseArguments(text, 1));
    initializer.mutable_constant()->set_value(numbers[0]);
  } else {
    return InputError(fmt::format(
        "--init: '{}' is none of normal, normal:MEAN,STDDEV, zeros, "
        "uniform:LOW,HIGH, constant:X",
        text));
  }
  return initializer;
}

void SpecOptions::AddTo(CLI::App& verb) {
  verb.add_option_function<std::string>(
          "--optimizer",
          [this](const std::string& name) {
            optimizer_ = name;
            optimizer_given_ = true;
          },
          fmt::format("{}; default sgd", fmt::join(OptimizerNames(), ", ")))
      ->type_name("NAME");
  verb.add_option("--lr", learning_rate_,
                  "learning rate; default 0.01, of the Adam and LAMB families "
                  "0.001")
      ->type_name("X");
  AddHyperparameters(verb, hyperparameters_);
  AddRules(verb);
  verb.add_option("--shards", shard_count_, "a power of two; default 64")
      ->type_name("N");
  CLI::Option* memory =
      verb.add_flag("--memory", is_memory_, "rows live in memory only");
  verb.add_flag("--logged", is_logged_, "every change is logged to disk")
      ->excludes(memory);
  verb.add_flag("--frozen", is_frozen_, "refuse pushes");
}

void SpecOptions::AddRules(CLI::App& verb) {
  constexpr const char* kGroup = "Rules of the table";
  verb.add_option("--padding-idx", padding_idx_,
                  "a row that no gradient changes; negative: from the end")
      ->type_name("ID")
      ->group(kGroup);
  verb.add_option("--max-norm", max_norm_,
                  "lookups scale rows to this norm at most")
      ->type_name("X")
      ->group(kGroup);
  verb.add_option("--norm-type", norm_type_,
                  "the p of that norm, also inf; default 2")
      ->type_name("P")
      ->group(kGroup);
  verb.add_flag("--scale-grad-by-freq", scale_grad_by_freq_,
                "divide the gradient of an id by how often the push has it")
      ->group(kGroup);
  AddChoice<v1::NonFinitePolicy>(
      verb, "--non-finite", non_finite_policy_,
      {{"reject", v1::NON_FINITE_POLICY_REJECT},
       {"skip_row", v1::NON_FINITE_POLICY_SKIP_ROW},
       {"allow", v1::NON_FINITE_POLICY_ALLOW}},
      "what a push does with NaN and infinity; default reject")
      ->group(kGroup);
  CLI::Option* value =
      verb.add_option("--clip-value", clip_value_,
                      "put each element of a gradient into [-X, X]");
  CLI::Option* row =
      verb.add_option("--clip-row-norm", clip_row_norm_,
                      "scale each row's gradient to this norm at most");
  CLI::Option* push =
      verb.add_option("--clip-push-norm", clip_push_norm_,
                      "scale a push's gradients to this norm at most, as one");
  for (CLI::Option* option : {value, row, push}) {
    option->type_name("X")->group(kGroup);
  }
  value->excludes(row)->excludes(push);
  row->excludes(push);
}

void SpecOptions::AddInitializerTo(CLI::App& verb) {
  verb.add_option("--init", initializer_,
                  "initial rows: normal, normal:MEAN,STDDEV, zeros, "
                  "uniform:LOW,HIGH, constant:X; default normal")
      ->type_name("INIT");
  verb.add_option("--seed", seed_,
                  "of the initial rows; default: from the name")
      ->type_name("N");
}

absl::Status SpecOptions::Apply(v1::TableSpec& spec) const {
  const bool goes_on =
      spec.has_optimizer() && !optimizer_given_ && hyperparameters_.empty();
  if (!goes_on &&
      (optimizer_given_ || learning_rate_ || !hyperparameters_.empty())) {
    QUIRE_ASSIGN_OR_RETURN(*spec.mutable_optimizer(),
                           ParseOptimizer(optimizer_, hyperparameters_));
  }
  if (learning_rate_) {
    spec.mutable_optimizer()->set_learning_rate(*learning_rate_);
  }
  if (initializer_) {
    QUIRE_ASSIGN_OR_RETURN(*spec.mutable_initializer(),
                           ParseInitializer(*initializer_));
  }
  if (seed_) {
    spec.set_seed(*seed_);
  }
  if (is_memory_ || is_logged_) {
    spec.set_persistence(is_memory_ ? v1::PERSISTENCE_MEMORY
                                    : v1::PERSISTENCE_LOGGED);
  }
  ApplyRules(spec);
  if (shard_count_) {
    spec.set_shard_count(*shard_count_);
  }
  if (is_frozen_) {
    spec.set_frozen(true);
  }
  return absl::OkStatus();
}

void SpecOptions::ApplyRules(v1::TableSpec& spec) const {
  if (padding_idx_) {
    spec.set_padding_idx(*padding_idx_);
  }
  if (max_norm_) {
    spec.set_max_norm(*max_norm_);
  }
  if (norm_type_) {
    spec.set_norm_type(*norm_type_);
  }
  if (scale_grad_by_freq_) {
    spec.set_scale_grad_by_freq(true);
  }
  if (non_finite_policy_ != v1::NON_FINITE_POLICY_UNSPECIFIED) {
    spec.set_non_finite_policy(non_finite_policy_);
  }
  if (clip_value_) {
    spec.mutable_clip()->set_value(*clip_value_);
  }
  if (clip_row_norm_) {
    spec.mutable_clip()->set_row_norm(*clip_row_norm_);
  }
  if (clip_push_norm_) {
    spec.mutable_clip()->set_push_norm(*clip_push_norm_);
  }
}

std::string RulesText(const v1::TableSpec& spec) {
  std::vector<std::string> rules;
  if (spec.scale_grad_by_freq()) {
    rules.push_back("divided by frequency");
  }
  const v1::GradientClip& clip = spec.clip();
  switch (clip.kind_case()) {
    case v1::GradientClip::kValue:
      rules.push_back(fmt::format("clipped to [-{0}, {0}]", clip.value()));
      break;
    case v1::GradientClip::kRowNorm:
      rules.push_back(
          fmt::format("clipped to norm {} each row", clip.row_norm()));
      break;
    case v1::GradientClip::kPushNorm:
      rules.push_back(
          fmt::format("clipped to norm {} each push", clip.push_norm()));
      break;
    case v1::GradientClip::KIND_NOT_SET:
      break;
  }
  if (spec.non_finite_policy() > v1::NON_FINITE_POLICY_REJECT) {
    rules.push_back(fmt::format(
        "non-finite: {}",
        ShortName(*v1::NonFinitePolicy_descriptor()->FindValueByNumber(
            spec.non_finite_policy()))));
  }
  return fmt::format("{}", fmt::join(rules, ", "));
}

std::string InitializerText(const v1::Initializer& initializer) {
  switch (initializer.kind_case()) {
    case v1::Initializer::kZeros:
      return "zeros";
    case v1::Initializer::kConstant:
      return fmt::format("constant({})", initializer.constant().value());
    case v1::Initializer::kUniform:
      return fmt::format("uniform({}, {})", initializer.uniform().low(),
                         initializer.uniform().high());
    case v1::Initializer::kNormal:
      return fmt::format("normal({}, {})", initializer.normal().mean(),
                         initializer.normal().has_stddev()
                             ? initializer.normal().stddev()
                             : 1.0f);
    case v1::Initializer::KIND_NOT_SET:
      return "normal(0, 1)";
  }
  return "?";
}

}  // namespace quire::cli
