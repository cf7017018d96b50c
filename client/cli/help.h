// What a person reads about options: their help, and why a value will not do.

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace quire::cli {

// Help that fits 80 columns: an option, what it takes, what it means.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();

  std::string make_option(const CLI::Option* option,
                          bool is_positional) const override;
  std::string make_subcommand(const CLI::App* verb) const override;
  std::string make_help(const CLI::App* verb, std::string name,
                        CLI::AppFormatMode mode) const override;
};

// Numbers from `min` to `max`, both included.
CLI::Validator Between(double min, double max);

// One of `names`, letter by letter.
CLI::Validator OneOf(std::vector<std::string> names);

// CLI11's sentences, as this program says them.
std::string SentenceOf(const CLI::ParseError& error);

}  // namespace quire::cli
