#include "client/terminal/nested_json.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"
#include "client/formats/numbers.h"

namespace quire::terminal {
namespace {

void AppendNumber(float value, std::string& out) {
  if (std::isfinite(value)) {
    formats::AppendFloat(value, out);
  } else {
    out += "null";
  }
}

void AppendNumber(int64_t value, std::string& out) {
  fmt::format_to(std::back_inserter(out), "{}", value);
}

template <typename T>
void Append(std::span<const int64_t> dims, std::span<const T> values,
            std::string& out) {
  if (dims.empty()) {
    AppendNumber(values[0], out);
    return;
  }
  const auto count = static_cast<size_t>(dims[0]);
  const size_t part = count == 0 ? 0 : values.size() / count;
  out += '[';
  for (size_t i = 0; i < count; ++i) {
    out += i == 0 ? "" : ",";
    Append(dims.subspan(1), values.subspan(i * part, part), out);
  }
  out += ']';
}

}  // namespace

void AppendNestedJson(const Shape& shape, std::span<const float> values,
                      std::string& out) {
  QUIRE_CHECK(shape.element_count() == static_cast<int64_t>(values.size()),
              "a value for each element");
  Append(shape.dims(), values, out);
}

void AppendNestedJson(const Shape& shape, std::span<const int64_t> values,
                      std::string& out) {
  QUIRE_CHECK(shape.element_count() == static_cast<int64_t>(values.size()),
              "a value for each element");
  Append(shape.dims(), values, out);
}

void AppendJsonString(std::string_view text, std::string& out) {
  using Json = nlohmann::json;
  out += Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace quire::terminal
