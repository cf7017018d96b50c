// Columns of text.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quire::terminal {

enum class Align { kLeft, kRight };

// Lines up cells under their titles, two spaces apart:
//
//   name            rows  dim
//   glove.5k.100d  5,000  100
class TextTable {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit TextTable(std::vector<Column> columns);

  // One cell for each column; made printable.
  void AddRow(std::vector<std::string> cells);

  // The titles, unless all are empty, and the rows. Every line ends with \n.
  std::string Text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace quire::terminal
