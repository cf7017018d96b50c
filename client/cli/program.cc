#include "client/cli/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/cli/failure.h"
#include "client/cli/help.h"
#include "client/formats/input_error.h"
#include "client/terminal/suggestion.h"

namespace quire::cli {
namespace {

constexpr const char* kTable = "TABLE";

// Patience for the names of tables, when one was misspelt.
constexpr absl::Duration kNamesTimeout = absl::Milliseconds(500);

// CLI11 takes "[a,b]" for a list of its own and would split '[[2,3],[1,0]]'.
// A mark in front, which nobody types, keeps it from seeing the bracket.
constexpr char kMark = '\x01';

std::string WithMark(std::string argument) {
  const size_t equals = argument.find('=');
  const bool is_option =
      argument.starts_with("--") && equals != std::string::npos;
  const size_t begin = is_option ? equals + 1 : 0;
  if (begin < argument.size() && argument[begin] == '[') {
    argument.insert(begin, 1, kMark);
  }
  return argument;
}

std::string WithoutMark(std::string value) {
  if (value.starts_with(kMark)) {
    value.erase(0, 1);
  }
  return value;
}

void TakeMarksOff(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() > 0) {
      option->transform(WithoutMark, "", "");
    }
  }
  for (CLI::App* verb : app.get_subcommands({})) {
    TakeMarksOff(*verb);
  }
}

std::string FooterOf(const std::vector<std::string>& examples) {
  std::string footer = "Examples:\n";
  for (const std::string& example : examples) {
    footer += "  " + example + "\n";
  }
  return footer + "\n'quire --help' shows the options that all verbs take.";
}

// "quire table create"
std::string FullName(const CLI::App& verb) {
  return verb.get_parent() == nullptr
             ? verb.get_name()
             : FullName(*verb.get_parent()) + " " + verb.get_name();
}

std::string UsageSentence(const CLI::ParseError& error, const CLI::App& verb,
                          const std::vector<std::string>& extras) {
  if (extras.empty()) {
    return verb.get_require_subcommand_min() > 0 ? "a verb is missing"
                                                 : SentenceOf(error);
  }
  const std::string extra = WithoutMark(extras.front());
  if (extra.starts_with('-') && extra.size() > 1) {
    return fmt::format("unknown option '{}'{}", extra,
                       terminal::DidYouMean(extra, OptionNames(verb)));
  }
  const std::vector<std::string> verbs = VerbNames(verb);
  return verbs.empty() ? fmt::format("unexpected argument '{}'", extra)
                       : fmt::format("unknown verb '{}'{}", extra,
                                     terminal::DidYouMean(extra, verbs));
}

// The table that a verb was told and that is not there, put right.
std::string SuggestTable(const CLI::App& verb, Session& session) {
  const CLI::Option* argument = verb.get_option_no_throw(kTable);
  const absl::StatusOr<Client*> client = session.client();
  if (argument == nullptr || argument->empty() || !client.ok()) {
    return "";
  }
  const auto tables =
      (*client)->ListTables({.deadline = absl::Now() + kNamesTimeout});
  std::vector<std::string> names;
  for (const v1::Table& table : tables.value_or(std::vector<v1::Table>())) {
    names.push_back(table.spec().name());
  }
  const auto meant = terminal::Suggest(argument->as<std::string>(), names);
  return meant ? fmt::format("  did you mean '{}'?\n", *meant) : "";
}

}  // namespace

std::string_view Version() { return QUIRE_VERSION; }

Program::Program() : app_("Embedding tables as a service.", "quire") {
  app_.require_subcommand(1);
  app_.formatter(std::make_shared<HelpFormatter>());
  app_.footer(
      "Examples:\n"
      "  quire table create dictionary --rows 10 --dim 5\n"
      "  quire lookup dictionary '[[2,3],[1,0],[8,6]]'\n"
      "  quire import examples/glove.5k.100d.txt --name glove\n"
      "  quire nearest glove --word king\n\n"
      "'quire VERB --help' shows the options of a verb, and examples.");
  AddGlobalOptions();
}

void Program::AddGlobalOptions() {
  app_.set_version_flag("--version", std::string(Version()),
                        "print the version of this command");
  app_.add_option("--server", options_.server,
                  "host[:port], or unix:PATH; else QUIRE_SERVER")
      ->envname("QUIRE_SERVER")
      ->type_name("ADDRESS")
      ->capture_default_str();
  const auto set_timeout = [this](const std::string& text) {
    const absl::StatusOr<absl::Duration> timeout = ParseTimeout(text);
    if (!timeout.ok()) {
      throw CLI::ValidationError(
          "--timeout", std::string(formats::SentenceOf(timeout.status())));
    }
    options_.timeout = *timeout;
  };
  app_.add_option_function<std::string>(
          "--timeout", set_timeout,
          "of each call: 30, 1.5s, 5m; default 60s, none for import and export")
      ->type_name("TIME");
  using terminal::ColorChoice;
  AddChoice<ColorChoice>(app_, "--color", options_.color,
                         {{"auto", ColorChoice::kAuto},
                          {"always", ColorChoice::kAlways},
                          {"never", ColorChoice::kNever}},
                         "auto: on a terminal, unless NO_COLOR is set");
}

CLI::App& Program::AddVerb(CLI::App& parent, const VerbHelp& help, Run run) {
  CLI::App& verb = *parent.add_subcommand(help.name, help.description);
  verb.group("Verbs");
  verb.fallthrough();
  verb.footer(FooterOf(help.examples));
  verb.callback([this, run = std::move(run)] { run_ = run; });
  return verb;
}

CLI::App& Program::AddGroup(const std::string& name,
                            const std::string& description) {
  CLI::App& group = *app_.add_subcommand(name, description);
  group.group("Verbs");
  group.fallthrough();
  group.require_subcommand(1);
  return group;
}

int Program::Main(int argc, const char* const* argv) {
  TakeMarksOff(app_);
  std::vector<std::string> arguments;  // CLI11 takes them from the end
  for (int i = argc - 1; i > 0; --i) {
    arguments.push_back(WithMark(argv[i]));
  }
  try {
    app_.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return ExplainUsage(error);
  }
  absl::Status status = run_(session_);
  status.Update(FlushOut());
  return status.ok() ? 0 : Fail(status);
}

int Program::ExplainUsage(const CLI::ParseError& error) const {
  if (error.get_exit_code() == 0) {
    return app_.exit(error);  // help or version, on standard output
  }
  const CLI::App& verb = VerbOf(app_);
  const terminal::Screen screen = session_.screen();
  fmt::print(stderr, "{} {}\n  next: '{} --help' shows how it is used\n",
             terminal::Red("quire:", screen.error),
             UsageSentence(error, verb, app_.remaining(true)), FullName(verb));
  return 2;
}

int Program::Fail(const absl::Status& status) {
  std::string text = FailureText(status);
  if (ReasonOf(status) == Reason::kNoSuchTable) {
    text += SuggestTable(VerbOf(app_), session_);
  }
  fmt::print(stderr, "{} {}", terminal::Red("quire:", session_.screen().error),
             text);
  return ExitCodeOf(status);
}

const CLI::App& VerbOf(const CLI::App& app) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? app : VerbOf(*parsed.front());
}

std::vector<std::string> VerbNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands(
           [](const CLI::App* verb) { return !verb->get_group().empty(); })) {
    names.push_back(verb->get_name());
  }
  return names;
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_snames()) {
      names.push_back("-" + name);
    }
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  if (app.get_parent() != nullptr) {
    const std::vector<std::string> outer = OptionNames(*app.get_parent());
    names.insert(names.end(), outer.begin(), outer.end());
  }
  return names;
}

void AddTable(CLI::App& verb, std::string& table) {
  verb.add_option(kTable, table, "name of the table")
      ->required()
      ->type_name("");
}

}  // namespace quire::cli
