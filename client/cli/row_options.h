// Which rows a verb is about: ids and words.

#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/session.h"
#include "client/terminal/numbers_input.h"

namespace quire::cli {

// Lives as long as the verb.
class RowOptions {
 public:
  // Adds IDS, --word and --shape.
  void AddTo(CLI::App& verb);

  bool from_standard_input() const;

  // The batches asked for: that of the arguments, or those of a file. Words
  // are looked for in `table`, and follow plain ids. Without any argument,
  // standard input is read, unless it is a terminal.
  absl::StatusOr<std::vector<terminal::IdBatch>> Read(const std::string& table,
                                                      Session& session) const;

 private:
  absl::StatusOr<std::vector<terminal::IdBatch>> ReadFlat(
      const std::string& table, Session& session) const;

  std::vector<std::string> ids_;
  std::vector<std::string> words_;
  std::optional<std::string> shape_;
};

}  // namespace quire::cli
