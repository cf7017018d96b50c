#include "client/terminal/text_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "client/terminal/printable.h"

namespace quire::terminal {
namespace {

void AppendCell(std::string_view cell, Align align, size_t width,
                std::string& line) {
  const size_t padding = width - std::min(width, DisplayWidth(cell));
  if (align == Align::kRight) {
    line.append(padding, ' ');
  }
  line += cell;
  if (align == Align::kLeft) {
    line.append(padding, ' ');
  }
}

}  // namespace

TextTable::TextTable(std::vector<Column> columns)
    : columns_(std::move(columns)) {}

void TextTable::AddRow(std::vector<std::string> cells) {
  QUIRE_CHECK(cells.size() == columns_.size(), "a cell for each column");
  std::ranges::transform(cells, cells.begin(), Printable);
  rows_.push_back(std::move(cells));
}

std::string TextTable::Text() const {
  std::vector<std::vector<std::string>> lines;
  if (std::ranges::any_of(columns_,
                          [](const Column& c) { return !c.title.empty(); })) {
    std::vector<std::string>& titles = lines.emplace_back();
    for (const Column& column : columns_) {
      titles.push_back(column.title);
    }
  }
  lines.insert(lines.end(), rows_.begin(), rows_.end());

  std::vector<size_t> widths(columns_.size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(line[i]));
    }
  }
  std::string text;
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      text += i == 0 ? "" : "  ";
      AppendCell(line[i], columns_[i].align, widths[i], text);
    }
    // Cells that are empty at the end of a line leave no spaces.
    text.resize(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

}  // namespace quire::terminal
