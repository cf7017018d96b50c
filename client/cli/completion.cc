#include "client/cli/completion.h"

#include <algorithm>

#include "client/cli/optimizer_options.h"
#include "client/cli/program.h"

namespace quire::cli {
namespace {

// The words of a line, quotes observed; the last is the one being typed.
std::vector<std::string> Split(std::string_view line) {
  std::vector<std::string> words(1);
  char quote = '\0';
  for (const char c : line) {
    if (quote != '\0') {
      quote = c == quote ? '\0' : quote;
      words.back() += quote == '\0' ? "" : std::string(1, c);
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c != ' ') {
      words.back() += c;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  return words;
}

// The option `name` of `app`, or of what is in front of it.
const CLI::Option* FindOption(const CLI::App& app, const std::string& name) {
  const CLI::Option* option = app.get_option_no_throw(name);
  return option == nullptr && app.get_parent() != nullptr
             ? FindOption(*app.get_parent(), name)
             : option;
}

const CLI::App* FindVerb(const CLI::App& app, const std::string& name) {
  const auto verbs = app.get_subcommands(
      [&name](const CLI::App* verb) { return verb->get_name() == name; });
  return verbs.empty() ? nullptr : verbs.front();
}

// Where the words before the last lead.
struct Position {
  const CLI::App* verb;
  size_t argument_count = 0;
  // The option whose value is being typed, if one is.
  const CLI::Option* option = nullptr;
  std::string server;
};

Position Walk(const CLI::App& app, const std::vector<std::string>& words) {
  Position position = {.verb = &app};
  for (size_t i = 1; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.starts_with('-') && word.size() > 1) {
      const CLI::Option* option = FindOption(*position.verb, word);
      if (option != nullptr && option->get_items_expected_max() > 0) {
        position.option = ++i + 1 == words.size() ? option : nullptr;
        position.server = word == "--server" ? words[i] : position.server;
      }
    } else if (const CLI::App* verb = FindVerb(*position.verb, word)) {
      position.verb = verb;
    } else {
      ++position.argument_count;
    }
  }
  return position;
}

// The values of an option that has names for them: its type is "table|json".
std::vector<std::string> ValuesOf(const CLI::Option& option) {
  if (option.check_lname("optimizer")) {
    return OptimizerNames();  // too many for a line of help
  }
  std::vector<std::string> values;
  const std::string type = option.get_type_name();
  std::string_view rest = type;
  if (rest.find('|') == std::string_view::npos) {
    return values;
  }
  while (!rest.empty()) {
    values.emplace_back(rest.substr(0, rest.find('|')));
    rest.remove_prefix(std::min(values.back().size() + 1, rest.size()));
  }
  return values;
}

}  // namespace

Completion Complete(const CLI::App& app, std::string_view line) {
  const std::vector<std::string> words = Split(line);
  const std::string& typed = words.back();
  const Position position = Walk(app, words);
  Completion completion = {
      .candidates = {}, .table_prefix = typed, .server = position.server};
  completion.candidates = position.option != nullptr
                              ? ValuesOf(*position.option)
                          : typed.starts_with('-') ? OptionNames(*position.verb)
                                                   : VerbNames(*position.verb);
  std::erase_if(completion.candidates, [&typed](const std::string& name) {
    return !name.starts_with(typed);
  });
  completion.wants_table =
      position.option == nullptr && !typed.starts_with('-') &&
      position.argument_count == 0 &&
      position.verb->get_option_no_throw("TABLE") != nullptr;
  return completion;
}

}  // namespace quire::cli
