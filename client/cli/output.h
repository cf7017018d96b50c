// The forms in which results are printed: -o.

#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "google/protobuf/message.h"

namespace quire::cli {

enum class OutputFormat {
  kTable,      // for people; the default, also where it is not a terminal
  kJson,       // one document
  kJsonLines,  // one document for each row
  kCsv,        // a line of titles, then one for each row
  kNpy,        // numpy's, for tensors
};

// Adds -o, with the forms that a verb has.
void AddOutput(CLI::App& verb, OutputFormat& format,
               std::initializer_list<OutputFormat> formats);

using Json = nlohmann::ordered_json;

// A message with the names of the API. Numbers are numbers, also those of 64
// bits; enums are their short names ("ready"); labels are text, other bytes
// hexadecimal; what is absent is left out, and so is an enum that says
// nothing.
Json ToJson(const google::protobuf::Message& message);

// A number with the shortest decimal form that reads back as the same float32,
// where a double would show 0.10000000149011612.
double ToDouble(float value);

// As one line; what is no UTF-8 becomes U+FFFD.
std::string ToLine(const Json& json);

// "TABLE_STATE_READY" of an enum "TableState" becomes "ready".
std::string ShortName(const google::protobuf::EnumValueDescriptor& value);

// The bytes of a uid: "5f1c…".
std::string ToHex(std::string_view bytes);

}  // namespace quire::cli
