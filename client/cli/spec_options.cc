#include "client/cli/spec_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <span>

#include "base/status.h"
#include "client/cli/output.h"
#include "client/formats/input_error.h"
#include "client/formats/numbers.h"

namespace quire::cli {
namespace {

using formats::InputError;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Those whose hyperparameters have options of their own; the API names more,
// which servers refuse so far.
constexpr auto kOptimizers =
    std::to_array<std::string_view>({"sgd", "adagrad", "rowwise_adagrad"});

const Descriptor* ParametersOf(std::string_view optimizer) {
  const FieldDescriptor* field =
      v1::Optimizer::descriptor()->FindFieldByName(std::string(optimizer));
  return field == nullptr ? nullptr : field->message_type();
}

std::vector<std::string> NamesOfFields(const Descriptor& message) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) {
    names.push_back(message.field(i)->name());
  }
  return names;
}

// "initial_accumulator_value" is typed --initial-accumulator-value.
std::string Dashed(std::string name) {
  std::ranges::replace(name, '_', '-');
  return name;
}

bool ParseDouble(std::string_view text, double& value) {
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  return error == std::errc() && end == last && std::isfinite(value);
}

absl::Status SetEnum(const FieldDescriptor& field, const std::string& text,
                     Message& message) {
  std::vector<std::string> names;
  for (int i = 1; i < field.enum_type()->value_count(); ++i) {  // 0: unset
    const auto* value = field.enum_type()->value(i);
    if (ShortName(*value) == text) {
      message.GetReflection()->SetEnum(&message, &field, value);
      return absl::OkStatus();
    }
    names.push_back(ShortName(*value));
  }
  return InputError(fmt::format("--{}: '{}' is none of {}",
                                Dashed(field.name()), text,
                                fmt::join(names, ", ")));
}

absl::Status SetField(const FieldDescriptor& field, const std::string& text,
                      Message& message) {
  const auto& reflection = *message.GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    return SetEnum(field, text, message);
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
    if (text != "true" && text != "false") {
      return InputError(fmt::format("--{}: '{}' is neither true nor false",
                                    Dashed(field.name()), text));
    }
    reflection.SetBool(&message, &field, text == "true");
    return absl::OkStatus();
  }
  double value = 0;
  if (!ParseDouble(text, value)) {
    return InputError(fmt::format("--{}: '{}' is no finite number",
                                  Dashed(field.name()), text));
  }
  reflection.SetDouble(&message, &field, value);
  return absl::OkStatus();
}

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

std::string SettingText(const Json& setting) {
  return setting.is_string()         ? setting.get<std::string>()
         : setting.is_number_float() ? fmt::format("{}", setting.get<double>())
                                     : setting.dump();
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

absl::StatusOr<v1::Optimizer> ParseOptimizer(
    std::string_view name, const std::vector<Hyperparameter>& parameters) {
  const Descriptor* descriptor = ParametersOf(name);
  if (descriptor == nullptr) {
    return InputError(fmt::format("--optimizer: '{}' is none of {}", name,
                                  fmt::join(kOptimizers, ", ")));
  }
  v1::Optimizer optimizer;
  Message& message = *optimizer.GetReflection()->MutableMessage(
      &optimizer,
      v1::Optimizer::descriptor()->FindFieldByName(std::string(name)));
  for (const Hyperparameter& parameter : parameters) {
    const FieldDescriptor* field = descriptor->FindFieldByName(parameter.name);
    if (field == nullptr) {
      return InputError(
          fmt::format("--{}: {} has no such hyperparameter; it has {}",
                      Dashed(parameter.name), name,
                      fmt::join(NamesOfFields(*descriptor), ", ")));
    }
    QUIRE_RETURN_IF_ERROR(SetField(*field, parameter.value, message));
  }
  return optimizer;
}

void SpecOptions::AddTo(CLI::App& verb) {
  verb.add_option_function<std::string>(
          "--optimizer",
          [this](const std::string& name) {
            optimizer_ = name;
            optimizer_given_ = true;
          },
          fmt::format("{}; default sgd", fmt::join(kOptimizers, ", ")))
      ->type_name("NAME");
  verb.add_option("--lr", learning_rate_, "learning rate; default 0.01")
      ->type_name("X");
  AddHyperparameters(verb);
  verb.add_option("--shards", shard_count_, "a power of two; default 64")
      ->type_name("N");
  CLI::Option* memory =
      verb.add_flag("--memory", is_memory_, "rows live in memory only");
  verb.add_flag("--logged", is_logged_, "every change is logged to disk")
      ->excludes(memory);
  verb.add_flag("--frozen", is_frozen_, "refuse pushes");
}

void SpecOptions::AddHyperparameters(CLI::App& verb) {
  std::map<std::string, std::string> owners;
  for (const std::string_view optimizer : kOptimizers) {
    for (const std::string& name : NamesOfFields(*ParametersOf(optimizer))) {
      std::string& list = owners[name];
      list += (list.empty() ? "of " : ", ") + std::string(optimizer);
    }
  }
  for (const auto& [name, list] : owners) {
    verb.add_option_function<std::string>(
            "--" + Dashed(name),
            [this, name = name](const std::string& value) {
              hyperparameters_.push_back({name, value});
            },
            list)
        ->type_name("VALUE")
        ->group("Hyperparameters");
  }
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
  if (optimizer_given_ || learning_rate_ || !hyperparameters_.empty()) {
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
  spec.set_shard_count(shard_count_.value_or(0));
  spec.set_frozen(is_frozen_);
  return absl::OkStatus();
}

std::string OptimizerText(const v1::Optimizer& optimizer) {
  const Json json = ToJson(optimizer);
  std::string text;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_object()) {
      continue;
    }
    for (const auto& [parameter, setting] : value.items()) {
      text += fmt::format(", {} {}", parameter, SettingText(setting));
    }
  }
  return OptimizerSummary(optimizer) + text;
}

std::string OptimizerSummary(const v1::Optimizer& optimizer) {
  const FieldDescriptor* kind =
      v1::Optimizer::descriptor()->FindFieldByNumber(optimizer.kind_case());
  return fmt::format("{}, lr {}", kind == nullptr ? "sgd" : kind->name(),
                     optimizer.learning_rate());
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
