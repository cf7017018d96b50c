#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "absl/time/time.h"
#include "base/status.h"
#include "client/cli/output.h"
#include "client/cli/verbs.h"
#include "client/terminal/text_table.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using terminal::Align;
using terminal::FormatBytes;
using terminal::FormatCount;
using terminal::TextTable;
using enum OutputFormat;

std::string MethodsText(const v1::GetStatsResponse& stats) {
  TextTable table({{"method"},
                   {"answered", Align::kRight},
                   {"refused", Align::kRight},
                   {"received", Align::kRight},
                   {"sent", Align::kRight}});
  for (const auto& method : stats.methods()) {
    table.AddRow({method.method(), FormatCount(method.ok()),
                  FormatCount(method.failed()),
                  FormatBytes(method.bytes_received()),
                  FormatBytes(method.bytes_sent())});
  }
  return table.Text();
}

std::string TablesText(const v1::GetStatsResponse& stats) {
  TextTable table({{"table"},
                   {"rows", Align::kRight},
                   {"dim", Align::kRight},
                   {"lookups", Align::kRight},
                   {"rows read", Align::kRight},
                   {"pushes", Align::kRight},
                   {"rows changed", Align::kRight}});
  for (const v1::Table& one : stats.tables()) {
    table.AddRow({one.spec().name(), FormatCount(one.spec().num_embeddings()),
                  FormatCount(one.spec().embedding_dim()),
                  FormatCount(one.stats().lookups()),
                  FormatCount(one.stats().rows_looked_up()),
                  FormatCount(one.stats().pushes()),
                  FormatCount(one.stats().rows_changed())});
  }
  return table.Text();
}

std::string SnapshotsText(const v1::LogStats& log) {
  std::string text;
  for (const std::string& what : log.damaged_snapshots()) {
    text += fmt::format("A SNAPSHOT IS DAMAGED: {}\n", what);
  }
  if (!log.has_scrub()) {
    return text;
  }
  const v1::ScrubStats& scrub = log.scrub();
  text += scrub.passes() == 0
              ? "snapshots not read back yet"
              : fmt::format(
                    "snapshots last read back {}",
                    absl::FormatTime(
                        "%Y-%m-%d %H:%M:%S UTC",
                        absl::FromUnixSeconds(scrub.last_pass_unix_seconds()),
                        absl::UTCTimeZone()));
  return text + fmt::format(": {} read, {} found damaged\n",
                            FormatBytes(scrub.bytes_read()),
                            FormatCount(scrub.findings()));
}

std::string LogText(const v1::GetStatsResponse& stats) {
  const v1::LogStats& log = stats.log();
  return fmt::format(
      "log of {}, LSN {} to {}, {} not synced; {}; {} sessions\n"
      "a start would take about {:.0f} s{}\n{}",
      FormatBytes(log.bytes()), log.first_lsn(), log.appended().lsn(),
      FormatBytes(log.unsynced_bytes()),
      log.snapshot_lsn() == 0
          ? "no snapshot"
          : fmt::format("snapshot of LSN {}", log.snapshot_lsn()),
      FormatCount(stats.sessions()),
      std::ceil(log.estimated_recovery_seconds()),
      log.has_failed() ? "\nTHE LOG HAS FAILED: changes are refused" : "",
      SnapshotsText(log));
}

std::string RecoveryText(const v1::RecoveryStats& recovery) {
  return fmt::format(
      "RECOVERING: reads the {}; {:.0f} % of {} done, about {:.0f} s left\n",
      recovery.phase() == v1::RECOVERY_PHASE_LOG ? "log" : "snapshot",
      std::floor(100 * recovery.share_done()),
      FormatBytes(recovery.bytes_total()), std::ceil(recovery.seconds_left()));
}

std::string StatsText(const v1::GetStatsResponse& stats, const Client& client) {
  const v1::GetServerInfoResponse& info = client.server_info();
  std::string text = fmt::format(
      "quire-server {}, up {}; {} kernels, {} threads\n"
      "tables take {} of {}; requests in flight {} of {}\n",
      info.version(),
      terminal::FormatClock(
          std::chrono::seconds(std::llround(stats.uptime_seconds()))),
      info.instruction_set(), info.thread_count(),
      FormatBytes(stats.table_bytes()),
      FormatBytes(info.limits().table_bytes()),
      FormatBytes(stats.inflight_bytes()),
      FormatBytes(info.limits().inflight_bytes()));
  if (stats.has_recovery()) {
    text += RecoveryText(stats.recovery());
  }
  if (stats.has_log()) {
    text += LogText(stats);
  }
  if (stats.methods_size() > 0) {
    text += "\n" + MethodsText(stats);
  }
  if (stats.tables_size() > 0) {
    text += "\n" + TablesText(stats);
  }
  return text;
}

absl::Status Stats(OutputFormat output, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_ASSIGN_OR_RETURN(const v1::GetStatsResponse stats, client->GetStats());
  Print(output == kTable ? StatsText(stats, *client) : ToLine(ToJson(stats)));
  return absl::OkStatus();
}

void AddStats(Program& program) {
  auto output = std::make_shared<OutputFormat>(kTable);
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "stats",
       .description = "Show what the server has done since it started",
       .examples = {"quire stats", "quire stats -o json | jq .table_bytes"}},
      [output](Session& session) { return Stats(*output, session); });
  AddOutput(verb, *output, {kTable, kJson});
}

absl::Status Health(OutputFormat output, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  QUIRE_RETURN_IF_ERROR(client->Health());
  Print(output == kTable ? "serving\n" : ToLine(Json{{"status", "serving"}}));
  return absl::OkStatus();
}

void AddHealth(Program& program) {
  auto output = std::make_shared<OutputFormat>(kTable);
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "health",
       .description = "Succeed if the server serves",
       .examples = {"quire health", "quire health --timeout 1s && echo up"}},
      [output](Session& session) { return Health(*output, session); });
  AddOutput(verb, *output, {kTable, kJson});
}

absl::Status ShowVersion(OutputFormat output, Session& session) {
  const Client* client = session.ClientIfAtHand();
  const std::string server =
      client == nullptr ? "" : client->server_info().version();
  if (output == kJson) {
    Json json = {{"client", Version()}};
    json["server"] = server.empty() ? Json() : Json(server);
    Print(ToLine(json));
    return absl::OkStatus();
  }
  Print(fmt::format("quire {}\n", Version()));
  Print(server.empty()
            ? fmt::format("no server at {}\n", session.options().server)
            : fmt::format("quire-server {} at {}\n", server,
                          session.options().server));
  return absl::OkStatus();
}

void AddVersion(Program& program) {
  auto output = std::make_shared<OutputFormat>(kTable);
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "version",
       .description = "Show the versions of this command and of the server",
       .examples = {"quire version", "quire version -o json"}},
      [output](Session& session) { return ShowVersion(*output, session); });
  AddOutput(verb, *output, {kTable, kJson});
}

}  // namespace

void AddServerVerbs(Program& program) {
  AddStats(program);
  AddHealth(program);
  AddVersion(program);
}

}  // namespace quire::cli
