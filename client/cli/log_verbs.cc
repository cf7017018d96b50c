#include <fmt/format.h>

#include <memory>

#include "base/status.h"
#include "client/cli/data_option.h"
#include "client/cli/failure.h"
#include "client/cli/log_text.h"
#include "client/cli/output.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "inspect/log_dump.h"
#include "inspect/log_repair.h"
#include "inspect/log_report.h"
#include "journal/posix_files.h"

namespace quire::cli {
namespace {

using formats::SentenceOf;
using inspect::DataFiles;
using inspect::LogCheck;
using inspect::RecordSummary;
using enum OutputFormat;

struct LogOptions {
  std::string data_dir;
  OutputFormat output = kTable;
  inspect::DumpOptions dump;
  bool accepts_loss = false;
};

// --- status ---

absl::Status ShowStatus(const LogOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files, OpenDataDir(options.data_dir));
  const absl::StatusOr<inspect::LogStatus> status =
      inspect::ReadLogStatus(files);
  if (!status.ok()) {
    return DataError(status.status());
  }
  Print(options.output == kTable
            ? StatusText(files.identity(), *status)
            : ToLine(StatusJson(files.identity(), *status)));
  return absl::OkStatus();
}

void AddStatus(Program& program, CLI::App& group) {
  auto options = std::make_shared<LogOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "status",
       .description = "Show what a log holds, and what a start would read",
       .examples = {"quire log status --data-dir /var/lib/quire",
                    "quire log status --data-dir data -o json | jq .start"}},
      [options](Session&) { return ShowStatus(*options); });
  AddDataDir(verb, options->data_dir);
  AddOutput(verb, options->output, {kTable, kJson});
}

// --- verify ---

// What is wrong with the log, what lies behind, and what can be done.
absl::Status DamageError(const DataFiles& files, const LogCheck& check,
                         const std::string& data_dir) {
  const absl::Status repair = inspect::PlanRepair(files).status();
  const std::string next =
      repair.ok() ? fmt::format(
                        "'quire log repair --data-dir {}' tells what a "
                        "cut there would lose",
                        data_dir)
                  : std::string(SentenceOf(repair));
  return DataError(
      Error(Reason::kCorrupt,
            fmt::format("{}. {}. {}", SentenceOf(check.damage),
                        BehindText(check.end.next_lsn, check.behind), next)));
}

absl::Status Verify(const LogOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files, OpenDataDir(options.data_dir));
  const absl::StatusOr<LogCheck> check = inspect::CheckLog(files);
  if (!check.ok()) {
    return DataError(check.status());
  }
  if (check->state == LogCheck::State::kDamaged) {
    return DamageError(files, *check, options.data_dir);
  }
  QUIRE_RETURN_IF_ERROR(DataError(check->reach));
  QUIRE_ASSIGN_OR_RETURN(const bool is_in_use, files.IsInUse());
  Print(options.output == kTable ? CheckText(*check, is_in_use)
                                 : ToLine(CheckJson(*check)));
  return absl::OkStatus();
}

void AddVerify(Program& program, CLI::App& group) {
  auto options = std::make_shared<LogOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "verify",
       .description = "Read every record of a log, and tell a torn end from "
                      "damage",
       .examples = {"quire log verify --data-dir /var/lib/quire",
                    "quire log verify --data-dir data -o json | jq .state"}},
      [options](Session&) { return Verify(*options); });
  AddDataDir(verb, options->data_dir);
  AddOutput(verb, options->output, {kTable, kJson});
}

// --- dump ---

absl::Status Dump(const LogOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files, OpenDataDir(options.data_dir));
  if (options.output == kTable) {
    Print(DumpTitle());
  }
  const absl::StatusOr<std::optional<std::string>> torn = inspect::DumpLog(
      files, options.dump, [&options](const RecordSummary& record) {
        Print(options.output == kTable
                  ? RecordLine(record, options.dump.with_ids)
                  : ToLine(RecordJson(record, options.dump.with_ids)));
        return absl::OkStatus();
      });
  if (!torn.ok()) {
    return DataError(torn.status());
  }
  if (torn->has_value()) {
    fmt::print(stderr, "the log's end is torn, {}: the next start cuts it\n",
               **torn);
  }
  return absl::OkStatus();
}

void AddDump(Program& program, CLI::App& group) {
  auto options = std::make_shared<LogOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "dump",
       .description = "Print the records of a log, a line for each",
       .examples = {"quire log dump --data-dir data --table users --ids",
                    "quire log dump --data-dir data --from 1000 -o jsonl"}},
      [options](Session&) { return Dump(*options); });
  AddDataDir(verb, options->data_dir);
  verb.add_option("--from", options->dump.from_lsn, "from this LSN on")
      ->type_name("LSN");
  verb.add_option("--to", options->dump.to_lsn, "up to this one")
      ->type_name("LSN");
  verb.add_option("--table", options->dump.table,
                  "only records of tables of this name")
      ->type_name("NAME");
  verb.add_flag("--ids", options->dump.with_ids, "and which rows");
  AddOutput(verb, options->output, {kTable, kJsonLines});
}

// --- repair ---

absl::Status Repair(const LogOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files, OpenDataDir(options.data_dir));
  if (!options.accepts_loss) {
    const absl::StatusOr<inspect::RepairPlan> plan = inspect::PlanRepair(files);
    if (!plan.ok()) {
      return DataError(plan.status());
    }
    return DataError(
        Error(Reason::kCorrupt,
              fmt::format("{}{}. With --accept-loss that is done",
                          SentenceOf(plan->check.damage), PlanText(*plan))));
  }
  absl::StatusOr<std::unique_ptr<journal::Directory>> root =
      journal::OpenDirectory(options.data_dir);
  if (!root.ok()) {
    return DataError(root.status());
  }
  const absl::StatusOr<inspect::Repair> repair =
      inspect::RepairLog(*std::move(root));
  if (!repair.ok()) {
    return DataError(repair.status());
  }
  Print(options.output == kTable ? RepairText(*repair)
                                 : ToLine(RepairJson(*repair)));
  return absl::OkStatus();
}

void AddRepair(Program& program, CLI::App& group) {
  auto options = std::make_shared<LogOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "repair",
       .description = "Cut a damaged log before its first damage",
       .examples = {"quire log repair --data-dir /var/lib/quire",
                    "quire log repair --data-dir data --accept-loss"}},
      [options](Session&) { return Repair(*options); });
  AddDataDir(verb, options->data_dir);
  verb.add_flag("--accept-loss", options->accepts_loss,
                "do it: the records behind are set aside, in DIR/lost-LSN");
  AddOutput(verb, options->output, {kTable, kJson});
}

}  // namespace

void AddLogVerbs(Program& program) {
  CLI::App& group = program.AddGroup(
      "log", "Look at the log of a data directory, and repair it");
  AddStatus(program, group);
  AddVerify(program, group);
  AddDump(program, group);
  AddRepair(program, group);
}

}  // namespace quire::cli
