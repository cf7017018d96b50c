// What may follow on a command line that is being typed.

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace quire::cli {

struct Completion {
  // Of the last word, which may be empty.
  std::vector<std::string> candidates;
  // The name of a table is wanted; those that begin with this.
  bool wants_table = false;
  std::string table_prefix;
  // Given with --server; empty: not given.
  std::string server;
};

// `line` as typed so far, from the name of the command on.
Completion Complete(const CLI::App& app, std::string_view line);

}  // namespace quire::cli
