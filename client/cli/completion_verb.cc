#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "absl/time/clock.h"
#include "client/cli/completion.h"
#include "client/cli/verbs.h"

namespace quire::cli {
namespace {

// Who presses Tab waits no longer for the names of tables, after connecting.
constexpr absl::Duration kNamesTimeout = absl::Milliseconds(300);

// bash runs the command with three words that we do not need: what was typed
// is in COMP_LINE and COMP_POINT.
std::string BashScript() {
  std::error_code ignored;
  const std::string self =
      std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  return fmt::format(
      "# Completion for bash. In ~/.bashrc: source <(quire completion bash)\n"
      "complete -o default -C '{} completion answer --' quire\n",
      self.empty() ? "quire" : self);
}

// The line up to the cursor.
std::string TypedLine() {
  const char* line = std::getenv("COMP_LINE");
  const char* point = std::getenv("COMP_POINT");
  std::string typed = line == nullptr ? "" : line;
  if (point != nullptr) {
    typed.resize(std::min(typed.size(), std::strtoul(point, nullptr, 10)));
  }
  return typed;
}

void AddTableNames(const Session& session, Completion& completion) {
  GlobalOptions options = session.options();
  if (!completion.server.empty()) {
    options.server = completion.server;
  }
  Session own(options);
  Client* client = own.ClientIfAtHand();
  if (client == nullptr) {
    return;
  }
  const auto tables =
      client->ListTables({.deadline = absl::Now() + kNamesTimeout});
  for (const v1::Table& table : tables.value_or(std::vector<v1::Table>())) {
    if (table.spec().name().starts_with(completion.table_prefix)) {
      completion.candidates.push_back(table.spec().name());
    }
  }
}

absl::Status Answer(const CLI::App& app, const Session& session) {
  Completion completion = Complete(app, TypedLine());
  if (completion.wants_table) {
    AddTableNames(session, completion);
  }
  for (const std::string& candidate : completion.candidates) {
    Print(candidate + "\n");
  }
  return absl::OkStatus();
}

void AddAnswer(Program& program, CLI::App& group) {
  auto words = std::make_shared<std::vector<std::string>>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "answer",
       .description = "What bash asks when Tab is pressed",
       .examples = {"complete -C 'quire completion answer --' quire",
                    "COMP_LINE='quire loo' COMP_POINT=9 quire completion "
                    "answer"}},
      [&program, words](Session& session) {
        return Answer(program.app(), session);
      });
  verb.add_option("WORDS", *words, "not needed")->type_name("");
  verb.group("");  // not for people
}

}  // namespace

void AddCompletion(Program& program) {
  CLI::App& group = program.AddGroup(
      "completion", "Teach a shell to complete verbs, options and tables");
  program.AddVerb(group,
                  {.name = "bash",
                   .description = "Print what bash is to load",
                   .examples = {"source <(quire completion bash)",
                                "quire completion bash >> ~/.bashrc"}},
                  [](Session&) {
                    Print(BashScript());
                    return absl::OkStatus();
                  });
  AddAnswer(program, group);
}

}  // namespace quire::cli
