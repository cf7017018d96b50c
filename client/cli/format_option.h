// The formats of files, as they are typed.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/formats/row_reader.h"

namespace quire::cli {

// For AddChoice: each format by its name.
inline std::vector<std::pair<std::string, std::optional<formats::RowFormat>>>
FormatChoices(const std::vector<formats::RowFormat>& formats) {
  std::vector<std::pair<std::string, std::optional<formats::RowFormat>>>
      choices;
  for (const formats::RowFormat format : formats) {
    choices.emplace_back(formats::RowFormatName(format), format);
  }
  return choices;
}

}  // namespace quire::cli
