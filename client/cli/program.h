// The command line: verbs, their help, and how one is found and run.

#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/help.h"
#include "client/cli/session.h"

namespace quire::cli {

// "0.1.0"
std::string_view Version();

struct VerbHelp {
  std::string name;
  std::string description;  // one line
  // Two commands or more, as they are typed.
  std::vector<std::string> examples;
};

// Thread safety: one thread.
class Program {
 public:
  using Run = std::function<absl::Status(Session&)>;

  Program();

  CLI::App& app() { return app_; }
  Session& session() { return session_; }

  // A verb and what it does. Its options are added to what is returned.
  CLI::App& AddVerb(CLI::App& parent, const VerbHelp& help, Run run);

  // A word in front of other verbs: "table".
  CLI::App& AddGroup(const std::string& name, const std::string& description);

  // Runs one command and returns the program's status (client/cli/failure.h).
  int Main(int argc, const char* const* argv);

 private:
  void AddGlobalOptions();
  // What was wrong with the command line, on standard error, or the help that
  // was asked for.
  int ExplainUsage(const CLI::ParseError& error) const;
  int Fail(const absl::Status& status);

  CLI::App app_;
  GlobalOptions options_;
  Session session_{options_};
  Run run_;
};

// The verb that a parsed command line names.
const CLI::App& VerbOf(const CLI::App& app);

// Words that may follow `app`: verbs without those that are hidden.
std::vector<std::string> VerbNames(const CLI::App& app);

// "--server", "-o", …: of `app` and of all in front of it.
std::vector<std::string> OptionNames(const CLI::App& app);

// The required argument TABLE. It is completed, and corrected if there is no
// such table.
void AddTable(CLI::App& verb, std::string& table);

// An option whose values have names.
template <typename Enum>
CLI::Option* AddChoice(CLI::App& app, const std::string& name, Enum& target,
                       std::vector<std::pair<std::string, Enum>> choices,
                       const std::string& description) {
  std::vector<std::string> names;
  std::string type;
  for (const auto& choice : choices) {
    names.push_back(choice.first);
    type += (type.empty() ? "" : "|") + choice.first;
  }
  const auto set = [&target, choices](const std::string& typed) {
    for (const auto& [choice, value] : choices) {
      target = choice == typed ? value : target;
    }
  };
  return app.add_option_function<std::string>(name, set, description)
      ->check(OneOf(std::move(names)))
      ->type_name(type);
}

}  // namespace quire::cli
