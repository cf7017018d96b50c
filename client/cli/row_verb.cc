#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "client/cli/output.h"
#include "client/cli/verbs.h"
#include "client/terminal/printable.h"
#include "client/terminal/tensor_text.h"

namespace quire::cli {
namespace {

using enum OutputFormat;

struct RowVerbOptions {
  std::string table;
  int64_t id = 0;
  OutputFormat output = kTable;
  bool full = false;
};

std::string FloatsText(const google::protobuf::RepeatedField<float>& floats,
                       bool full) {
  const std::span<const float> values(floats.data(),
                                      static_cast<size_t>(floats.size()));
  return terminal::TensorText({std::ssize(values)}, values, full);
}

std::string ChangeText(const v1::GetRowResponse& row) {
  if (!row.has_position()) {
    return "not known: its changes are not in a log";
  }
  if (!row.has_last_change()) {
    return fmt::format("before LSN {}, where the log that is kept begins",
                       row.first_lsn());
  }
  const uint64_t lsn = row.last_change().lsn();
  switch (row.last_change().kind()) {
    case v1::ROW_CHANGE_KIND_PUSH:
      return fmt::format("LSN {}, a push", lsn);
    case v1::ROW_CHANGE_KIND_WRITE:
      return fmt::format("LSN {}, which wrote it", lsn);
    case v1::ROW_CHANGE_KIND_CREATE:
      return fmt::format("LSN {}, which made the table", lsn);
    default:
      return fmt::format("LSN {}", lsn);
  }
}

// A line, or more of them with what follows under what came first.
void AddLine(std::string_view title, std::string_view what, std::string& text) {
  constexpr size_t kTitleColumns = 17;
  fmt::format_to(std::back_inserter(text), "{:<{}}", title, kTitleColumns);
  for (const char c : what) {
    text += c;
    if (c == '\n') {
      text.append(kTitleColumns, ' ');
    }
  }
  text += '\n';
}

std::string TextOf(const RowVerbOptions& options,
                   const v1::GetRowResponse& row) {
  std::string text;
  AddLine("table", options.table, text);
  AddLine("row", std::to_string(options.id), text);
  if (!row.label().empty()) {
    AddLine("label", terminal::Printable(row.label()), text);
  }
  AddLine("value", FloatsText(row.values(), options.full), text);
  for (const v1::GetRowResponse::State& state : row.state()) {
    AddLine(state.name(), FloatsText(state.values(), options.full), text);
  }
  AddLine("step", std::to_string(row.step()), text);
  AddLine("last change", ChangeText(row), text);
  return text;
}

absl::Status ShowRow(const RowVerbOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::GetRowResponse row,
                         client->GetRow(options.table, options.id));
  Print(options.output == kTable ? TextOf(options, row) : ToLine(ToJson(row)));
  return absl::OkStatus();
}

}  // namespace

void AddRow(Program& program) {
  auto options = std::make_shared<RowVerbOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "row",
       .description = "Show a row, its optimizer state and its last change",
       .examples = {"quire row users 17",
                    "quire row users 17 -o json | jq .last_change.lsn"}},
      [options](Session& session) { return ShowRow(*options, session); });
  AddTable(verb, options->table);
  verb.add_option("ID", options->id, "of the row")->required()->type_name("");
  verb.add_flag("--full", options->full, "do not cut long rows");
  AddOutput(verb, options->output, {kTable, kJson});
}

}  // namespace quire::cli
