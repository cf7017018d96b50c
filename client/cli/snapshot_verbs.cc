#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/cli/data_option.h"
#include "client/cli/failure.h"
#include "client/cli/output.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "client/terminal/text_table.h"
#include "client/terminal/units.h"
#include "inspect/restore.h"
#include "inspect/snapshot_report.h"
#include "journal/posix_files.h"

namespace quire::cli {
namespace {

using inspect::DataFiles;
using inspect::SnapshotReport;
using terminal::Align;
using terminal::FormatBytes;
using terminal::FormatCount;
using enum OutputFormat;

absl::Status Create(OutputFormat output, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::Position position, client->CreateSnapshot());
  Print(
      output == kTable
          ? fmt::format("a snapshot of all changes up to LSN {} of epoch {}\n",
                        position.lsn(), position.epoch())
          : ToLine(Json{{"epoch", position.epoch()}, {"lsn", position.lsn()}}));
  return absl::OkStatus();
}

void AddCreate(Program& program, CLI::App& group) {
  auto output = std::make_shared<OutputFormat>(kTable);
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "create",
       .description = "Write all LOGGED tables to the disk, while they serve",
       .examples = {"quire snapshot create",
                    "quire snapshot create -o json | jq .lsn"}},
      [output](Session& session) { return Create(*output, session); });
  AddOutput(verb, *output, {kTable, kJson});
}

// --- Backups ---

struct BackupOptions {
  std::string name;
  OutputFormat output = kTable;
};

absl::Status BackUp(const BackupOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::BackUpResponse backup,
                         client->BackUp(options.name, session.StreamCall()));
  Print(options.output == kTable
            ? fmt::format("a backup of all changes up to LSN {} of epoch {}: "
                          "{} in {}\n",
                          backup.position().lsn(), backup.position().epoch(),
                          FormatBytes(backup.bytes()),
                          FormatCount(backup.files(), "file"))
            : ToLine(Json{{"epoch", backup.position().epoch()},
                          {"lsn", backup.position().lsn()},
                          {"bytes", backup.bytes()},
                          {"files", backup.files()}}));
  return absl::OkStatus();
}

void AddBackUp(Program& program) {
  auto options = std::make_shared<BackupOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "backup",
       .description = "Copy all LOGGED tables aside, as they are at one moment",
       .examples = {"quire backup monday",
                    "quire backup monday -o json | jq .lsn"}},
      [options](Session& session) { return BackUp(*options, session); });
  verb.add_option("NAME", options->name,
                  "of the directory that is made in the server's --backup-dir; "
                  "an empty one may be there")
      ->required()
      ->type_name("");
  AddOutput(verb, options->output, {kTable, kJson});
}

struct RestoreOptions {
  std::string backup;
  std::string data_dir;
  OutputFormat output = kTable;
};

absl::StatusOr<inspect::Restored> RestoreInto(
    std::unique_ptr<journal::Directory> backup, const std::string& path) {
  std::error_code error;
  const bool is_new = !std::filesystem::exists(path, error);
  QUIRE_ASSIGN_OR_RETURN(const auto target, journal::OpenDirectory(path));
  absl::StatusOr<inspect::Restored> restored =
      inspect::RestoreBackup(std::move(backup), *target);
  if (!restored.ok() && is_new) {
    target->Remove("LOCK").IgnoreError();
    std::filesystem::remove(path, error);
  }
  return restored;
}

absl::Status Restore(const RestoreOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(auto backup, OpenToRead(options.backup));
  const absl::StatusOr<inspect::Restored> restored =
      RestoreInto(std::move(backup), options.data_dir);
  if (!restored.ok()) {
    return DataError(restored.status());
  }
  Print(options.output == kTable
            ? fmt::format("{} is as of LSN {} of epoch {}: {} in {}\n",
                          options.data_dir, restored->lsn, restored->epoch,
                          FormatBytes(restored->bytes),
                          FormatCount(restored->files, "file"))
            : ToLine(Json{{"epoch", restored->epoch},
                          {"lsn", restored->lsn},
                          {"bytes", restored->bytes},
                          {"files", restored->files}}));
  return absl::OkStatus();
}

void AddRestore(Program& program, CLI::App& group) {
  auto options = std::make_shared<RestoreOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "restore",
       .description = "Make a data directory of a backup",
       .examples = {"quire snapshot restore /backups/monday --data-dir data",
                    "quire snapshot restore monday --data-dir data -o json"}},
      [options](Session&) { return Restore(*options); });
  verb.add_option("BACKUP", options->backup, "what 'quire backup' made")
      ->required()
      ->type_name("");
  verb.add_option("--data-dir", options->data_dir,
                  "new: made if it is not there, or empty")
      ->required()
      ->type_name("DIR");
  AddOutput(verb, options->output, {kTable, kJson});
}

// --- Of a data directory that is looked at ---

struct LookOptions {
  std::string data_dir;
  std::optional<uint64_t> lsn;
  OutputFormat output = kTable;
};

int64_t RowsOf(const SnapshotReport& snapshot) {
  int64_t rows = 0;
  for (const SnapshotReport::OfTable& table : snapshot.tables) {
    rows += table.rows;
  }
  return rows;
}

std::string ListText(const std::vector<SnapshotReport>& snapshots) {
  terminal::TextTable table({{"lsn", Align::kRight},
                             {"epoch", Align::kRight},
                             {"tables", Align::kRight},
                             {"rows", Align::kRight},
                             {"bytes", Align::kRight},
                             {"sessions", Align::kRight},
                             {""}});
  for (const SnapshotReport& snapshot : snapshots) {
    const std::string lsn = fmt::format("{}", snapshot.lsn);
    if (snapshot.damage.ok()) {
      table.AddRow({lsn, fmt::format("{}", snapshot.epoch),
                    FormatCount(std::ssize(snapshot.tables)),
                    FormatCount(RowsOf(snapshot)), FormatBytes(snapshot.bytes),
                    FormatCount(snapshot.session_count), ""});
    } else {
      table.AddRow({lsn, "", "", "", "", "",
                    std::string(formats::SentenceOf(snapshot.damage))});
    }
  }
  return table.Text();
}

std::string VerifiedText(const SnapshotReport& snapshot) {
  std::string text = fmt::format(
      "the snapshot of LSN {} is whole: {}, {} in {}\n", snapshot.lsn,
      FormatCount(std::ssize(snapshot.tables), "table"),
      FormatBytes(snapshot.bytes), FormatCount(snapshot.chunk_count, "chunk"));
  if (snapshot.tables.empty()) {
    return text;
  }
  terminal::TextTable table({{"table"},
                             {"rows", Align::kRight},
                             {"dim", Align::kRight},
                             {"pushes", Align::kRight},
                             {""}});
  for (const SnapshotReport::OfTable& one : snapshot.tables) {
    table.AddRow({one.name, FormatCount(one.rows), FormatCount(one.dim),
                  FormatCount(one.step),
                  one.is_import  ? "an import under way"
                  : one.has_rows ? ""
                                 : "initial rows"});
  }
  return text + table.Text();
}

Json ToJson(const SnapshotReport& snapshot) {
  Json json = {{"lsn", snapshot.lsn}};
  if (!snapshot.damage.ok()) {
    json["damage"] = formats::SentenceOf(snapshot.damage);
    return json;
  }
  Json tables = Json::array();
  for (const SnapshotReport::OfTable& table : snapshot.tables) {
    tables.push_back({{"name", table.name},
                      {"uid", ToHex(table.uid)},
                      {"rows", table.rows},
                      {"dim", table.dim},
                      {"step", table.step},
                      {"has_rows", table.has_rows},
                      {"is_import", table.is_import}});
  }
  json["epoch"] = snapshot.epoch;
  json["bytes"] = snapshot.bytes;
  json["sessions"] = snapshot.session_count;
  if (snapshot.chunk_count > 0) {
    json["chunks"] = snapshot.chunk_count;
  }
  json["tables"] = std::move(tables);
  return json;
}

Json ToJson(const std::vector<SnapshotReport>& snapshots) {
  Json list = Json::array();
  for (const SnapshotReport& snapshot : snapshots) {
    list.push_back(ToJson(snapshot));
  }
  return list;
}

absl::Status List(const LookOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files, OpenDataDir(options.data_dir));
  const auto snapshots = inspect::ListSnapshots(files);
  if (!snapshots.ok()) {
    return DataError(snapshots.status());
  }
  Print(options.output == kTable ? ListText(*snapshots)
                                 : ToLine(ToJson(*snapshots)));
  return absl::OkStatus();
}

void AddList(Program& program, CLI::App& group) {
  auto options = std::make_shared<LookOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "list",
       .description = "List the snapshots of a data directory",
       .examples = {"quire snapshot list --data-dir /var/lib/quire",
                    "quire snapshot list --data-dir data -o json"}},
      [options](Session&) { return List(*options); });
  AddDataDir(verb, options->data_dir);
  AddOutput(verb, options->output, {kTable, kJson});
}

// Which to read: those that there are, or the one that was named.
absl::StatusOr<std::vector<uint64_t>> WantedSnapshots(
    const DataFiles& files, const LookOptions& options) {
  const auto snapshots = inspect::ListSnapshots(files);
  if (!snapshots.ok()) {
    return DataError(snapshots.status());
  }
  std::vector<uint64_t> lsns;
  for (const SnapshotReport& snapshot : *snapshots) {
    if (!options.lsn || snapshot.lsn == *options.lsn) {
      lsns.push_back(snapshot.lsn);
    }
  }
  if (options.lsn && lsns.empty()) {
    return formats::InputError(
        fmt::format("there is no snapshot of LSN {} in {}; 'quire snapshot "
                    "list' shows those that there are",
                    *options.lsn, options.data_dir));
  }
  return lsns;
}

absl::Status Verify(const LookOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files, OpenDataDir(options.data_dir));
  QUIRE_ASSIGN_OR_RETURN(const std::vector<uint64_t> lsns,
                         WantedSnapshots(files, options));
  std::vector<SnapshotReport> whole;
  absl::Status damage;
  for (const uint64_t lsn : lsns) {
    absl::StatusOr<SnapshotReport> verified =
        inspect::VerifySnapshot(files, lsn);
    if (verified.ok()) {
      whole.push_back(*std::move(verified));
      continue;
    }
    // A server may have removed it meanwhile.
    QUIRE_ASSIGN_OR_RETURN(const std::vector<uint64_t> left,
                           WantedSnapshots(files, options));
    if (std::ranges::find(left, lsn) != left.end()) {
      damage.Update(verified.status());
    }
  }
  QUIRE_RETURN_IF_ERROR(DataError(damage));
  if (options.output == kJson) {
    Print(ToLine(ToJson(whole)));
    return absl::OkStatus();
  }
  for (const SnapshotReport& snapshot : whole) {
    Print(VerifiedText(snapshot));
  }
  if (whole.empty()) {
    Print("there is no snapshot\n");
  }
  return absl::OkStatus();
}

void AddVerify(Program& program, CLI::App& group) {
  auto options = std::make_shared<LookOptions>();
  CLI::App& verb = program.AddVerb(
      group,
      {.name = "verify",
       .description = "Read every chunk of the snapshots of a data directory",
       .examples = {"quire snapshot verify --data-dir /var/lib/quire",
                    "quire snapshot verify --data-dir data --lsn 1234"}},
      [options](Session&) { return Verify(*options); });
  AddDataDir(verb, options->data_dir);
  verb.add_option("--lsn", options->lsn, "this one; default: all")
      ->type_name("LSN");
  AddOutput(verb, options->output, {kTable, kJson});
}

}  // namespace

void AddSnapshotVerbs(Program& program) {
  CLI::App& group = program.AddGroup(
      "snapshot", "Make snapshots of a server, and look at them");
  AddBackUp(program);
  AddCreate(program, group);
  AddRestore(program, group);
  AddList(program, group);
  AddVerify(program, group);
}

}  // namespace quire::cli
