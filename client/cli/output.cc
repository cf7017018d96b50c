#include "client/cli/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <iterator>

#include "client/cli/program.h"
#include "client/formats/numbers.h"

namespace quire::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string NameOf(OutputFormat format) {
  switch (format) {
    case OutputFormat::kTable:
      return "table";
    case OutputFormat::kJson:
      return "json";
    case OutputFormat::kJsonLines:
      return "jsonl";
    case OutputFormat::kCsv:
      return "csv";
    case OutputFormat::kNpy:
      return "npy";
  }
  return "?";
}

// JSON has no such numbers: they are spelt as protobuf's own JSON does.
Json NumberJson(double number) {
  if (std::isfinite(number)) {
    return number;
  }
  return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
}

Json BytesJson(const FieldDescriptor& field, const std::string& bytes) {
  const bool is_text = field.type() == FieldDescriptor::TYPE_STRING ||
                       field.name().starts_with("label");
  return is_text ? bytes : ToHex(bytes);
}

// The value of a field or, for a repeated one, of its element `index`.
Json ValueJson(const Message& message, const FieldDescriptor& field,
               int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool repeated = field.is_repeated();
  const auto get = [&](auto one, auto element) {
    return repeated ? (reflection.*element)(message, &field, index)
                    : (reflection.*one)(message, &field);
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32);
    case FieldDescriptor::CPPTYPE_INT64:
      return get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64);
    case FieldDescriptor::CPPTYPE_UINT32:
      return get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32);
    case FieldDescriptor::CPPTYPE_UINT64:
      return get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberJson(
          get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return ToDouble(
          get(&Reflection::GetFloat, &Reflection::GetRepeatedFloat));
    case FieldDescriptor::CPPTYPE_BOOL:
      return get(&Reflection::GetBool, &Reflection::GetRepeatedBool);
    case FieldDescriptor::CPPTYPE_ENUM:
      return ShortName(
          *get(&Reflection::GetEnum, &Reflection::GetRepeatedEnum));
    case FieldDescriptor::CPPTYPE_STRING:
      return BytesJson(
          field, get(&Reflection::GetString, &Reflection::GetRepeatedString));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(repeated
                        ? reflection.GetRepeatedMessage(message, &field, index)
                        : reflection.GetMessage(message, &field));
  }
  return nullptr;
}

Json FieldJson(const Message& message, const FieldDescriptor& field) {
  if (!field.is_repeated()) {
    return ValueJson(message, field, 0);
  }
  Json list = Json::array();
  const int size = message.GetReflection()->FieldSize(message, &field);
  for (int i = 0; i < size; ++i) {
    list.push_back(ValueJson(message, field, i));
  }
  return list;
}

// Zeros are said; an enum that is zero says nothing.
bool IsSaid(const Message& message, const FieldDescriptor& field) {
  const bool may_be_unset =
      field.has_presence() || field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM;
  return field.is_repeated() || !may_be_unset ||
         message.GetReflection()->HasField(message, &field);
}

}  // namespace

void AddOutput(CLI::App& verb, OutputFormat& format,
               std::initializer_list<OutputFormat> formats) {
  std::vector<std::pair<std::string, OutputFormat>> choices;
  for (const OutputFormat choice : formats) {
    choices.emplace_back(NameOf(choice), choice);
  }
  AddChoice(verb, "-o,--output", format, std::move(choices), "default table");
}

Json ToJson(const Message& message) {
  Json json = Json::object();
  const auto& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    if (IsSaid(message, field)) {
      json[field.name()] = FieldJson(message, field);
    }
  }
  return json;
}

double ToDouble(float value) {
  std::string text;
  formats::AppendFloat(value, text);
  double result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

std::string ToLine(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ShortName(const google::protobuf::EnumValueDescriptor& value) {
  // "TableState" is spelt "TABLE_STATE_" in its values.
  std::string prefix;
  for (const char c : value.type()->name()) {
    if (std::isupper(static_cast<unsigned char>(c)) && !prefix.empty()) {
      prefix += '_';
    }
    prefix += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  prefix += '_';
  std::string name = value.name();
  if (name.starts_with(prefix)) {
    name.erase(0, prefix.size());
  }
  std::ranges::transform(name, name.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  return name;
}

std::string ToHex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) {
    fmt::format_to(std::back_inserter(hex), "{:02x}",
                   static_cast<unsigned char>(byte));
  }
  return hex;
}

}  // namespace quire::cli
