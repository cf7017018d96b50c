#include "client/cli/optimizer_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "base/status.h"
#include "client/cli/output.h"
#include "client/formats/input_error.h"
#include "client/terminal/suggestion.h"

namespace quire::cli {
namespace {

using formats::InputError;
using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The optimizers: the choices of the oneof `kind`.
std::vector<const FieldDescriptor*> Kinds() {
  const auto& oneof = *v1::Optimizer::descriptor()->FindOneofByName("kind");
  std::vector<const FieldDescriptor*> kinds;
  for (int i = 0; i < oneof.field_count(); ++i) {
    kinds.push_back(oneof.field(i));
  }
  return kinds;
}

std::vector<std::string> NamesOfFields(const Descriptor& message) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) {
    names.push_back(message.field(i)->name());
  }
  return names;
}

bool ParseDouble(std::string_view text, double& value) {
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  return error == std::errc() && end == last && std::isfinite(value);
}

absl::Status SetEnum(const FieldDescriptor& field, const std::string& text,
                     Message& message) {
  const std::vector<std::string> names = ShortNames(*field.enum_type());
  const auto found = std::ranges::find(names, text);
  if (found == names.end()) {
    return InputError(
        fmt::format("--{}: '{}' is none of {}{}", Dashed(field.name()), text,
                    fmt::join(names, ", "), terminal::DidYouMean(text, names)));
  }
  const auto index = static_cast<int>(found - names.begin());
  message.GetReflection()->SetEnum(&message, &field,
                                   field.enum_type()->value(1 + index));
  return absl::OkStatus();
}

absl::Status SetField(const FieldDescriptor& field, const std::string& text,
                      Message& message) {
  const auto& reflection = *message.GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    return SetEnum(field, text, message);
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
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

CLI::Option* AddHyperparameter(CLI::App& verb, const FieldDescriptor& field,
                               const std::string& text,
                               std::vector<Hyperparameter>& typed) {
  const std::string option = "--" + Dashed(field.name());
  const std::string& name = field.name();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
    const auto set = [&typed, name](int64_t count) {
      typed.push_back({name, count > 0 ? "true" : "false"});
    };
    return verb.add_flag_function(option, set, text);
  }
  const auto set = [&typed, name](const std::string& value) {
    typed.push_back({name, value});
  };
  const bool is_enum = field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM;
  return verb.add_option_function<std::string>(option, set, text)
      ->type_name(
          is_enum ? fmt::format("{}",
                                fmt::join(ShortNames(*field.enum_type()), "|"))
                  : "X");
}

// "momentum 0.9", "nesterov", "scope all"; "" if it is 0, off, or the value of
// an enum that comes first, which is the default.
std::string SettingText(const Message& message, const FieldDescriptor& field) {
  const auto& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field) ? field.name() : "";
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto& value = *reflection.GetEnum(message, &field);
      return value.number() > 1
                 ? fmt::format("{} {}", field.name(), ShortName(value))
                 : "";
    }
    default: {
      const double value = reflection.GetDouble(message, &field);
      return value != 0 ? fmt::format("{} {}", field.name(), value) : "";
    }
  }
}

}  // namespace

std::vector<std::string> OptimizerNames() {
  std::vector<std::string> names;
  for (const FieldDescriptor* kind : Kinds()) {
    names.push_back(kind->name());
  }
  return names;
}

absl::StatusOr<v1::Optimizer> ParseOptimizer(
    std::string_view name, const std::vector<Hyperparameter>& parameters) {
  const std::vector<FieldDescriptor const*> kinds = Kinds();
  const auto kind = std::ranges::find(
      kinds, name, [](const FieldDescriptor* one) { return one->name(); });
  if (kind == kinds.end()) {
    const std::vector<std::string> names = OptimizerNames();
    return InputError(fmt::format("--optimizer: '{}' is none of {}{}", name,
                                  fmt::join(names, ", "),
                                  terminal::DidYouMean(name, names)));
  }
  v1::Optimizer optimizer;
  Message& message =
      *optimizer.GetReflection()->MutableMessage(&optimizer, *kind);
  const Descriptor& descriptor = *(*kind)->message_type();
  for (const Hyperparameter& parameter : parameters) {
    const FieldDescriptor* field = descriptor.FindFieldByName(parameter.name);
    if (field == nullptr) {
      const std::vector<std::string> names = NamesOfFields(descriptor);
      return InputError(
          fmt::format("--{}: {} has no such hyperparameter; it has {}{}",
                      Dashed(parameter.name), name, fmt::join(names, ", "),
                      terminal::DidYouMean(parameter.name, names)));
    }
    QUIRE_RETURN_IF_ERROR(SetField(*field, parameter.value, message));
  }
  return optimizer;
}

void AddHyperparameters(CLI::App& verb, std::vector<Hyperparameter>& typed) {
  std::map<std::string, std::string> owners;
  std::map<std::string, const FieldDescriptor*> fields;
  for (const FieldDescriptor* kind : Kinds()) {
    for (const std::string& name : NamesOfFields(*kind->message_type())) {
      std::string& list = owners[name];
      list += (list.empty() ? "of " : ", ") + kind->name();
      fields[name] = kind->message_type()->FindFieldByName(name);
    }
  }
  for (const auto& [name, field] : fields) {
    AddHyperparameter(verb, *field, owners[name], typed)
        ->group("Hyperparameters");
  }
}

std::string OptimizerText(const v1::Optimizer& optimizer) {
  std::string text = OptimizerSummary(optimizer);
  const FieldDescriptor* kind =
      v1::Optimizer::descriptor()->FindFieldByNumber(optimizer.kind_case());
  if (kind == nullptr) {
    return text;
  }
  const Message& message =
      optimizer.GetReflection()->GetMessage(optimizer, kind);
  for (int i = 0; i < kind->message_type()->field_count(); ++i) {
    const std::string setting =
        SettingText(message, *kind->message_type()->field(i));
    text += setting.empty() ? "" : ", " + setting;
  }
  return text;
}

std::string OptimizerSummary(const v1::Optimizer& optimizer) {
  const FieldDescriptor* kind =
      v1::Optimizer::descriptor()->FindFieldByNumber(optimizer.kind_case());
  return fmt::format("{}, lr {}", kind == nullptr ? "sgd" : kind->name(),
                     optimizer.learning_rate());
}

std::string Dashed(std::string name) {
  std::ranges::replace(name, '_', '-');
  return name;
}

std::vector<std::string> ShortNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 1; i < type.value_count(); ++i) {
    names.push_back(ShortName(*type.value(i)));
  }
  return names;
}

}  // namespace quire::cli
