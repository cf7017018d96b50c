#include "client/cli/log_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <span>
#include <string_view>
#include <vector>

#include "client/formats/input_error.h"
#include "client/terminal/printable.h"
#include "client/terminal/text_table.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using inspect::LogCheck;
using inspect::LogStatus;
using inspect::RecordSummary;
using inspect::RepairPlan;
using inspect::SnapshotReport;
using terminal::Align;
using terminal::FormatBytes;
using terminal::FormatCount;

// An identity, a uid or a session.
template <typename Bytes>
std::string Hex(const Bytes& bytes) {
  return ToHex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string SnapshotsText(const std::vector<SnapshotReport>& snapshots) {
  if (snapshots.empty()) {
    return "no snapshot\n";
  }
  terminal::TextTable table({{"snapshot", Align::kRight},
                             {"bytes", Align::kRight},
                             {"tables", Align::kRight}});
  for (const SnapshotReport& snapshot : snapshots) {
    table.AddRow(
        {fmt::format("{}", snapshot.lsn),
         snapshot.damage.ok() ? FormatBytes(snapshot.bytes) : "damaged",
         snapshot.damage.ok() ? FormatCount(std::ssize(snapshot.tables)) : ""});
  }
  return table.Text();
}

std::string PartText(const RecordSummary::Part& part, bool with_ids) {
  const std::string name = terminal::Printable(
      part.table.empty() ? Hex(part.uid.bytes) : part.table);
  if (with_ids && !part.ids.empty()) {
    return fmt::format("{}[{}]", name, fmt::join(part.ids, ","));
  }
  return part.id_count == 0 ? name : fmt::format("{}:{}", name, part.id_count);
}

// "records"
constexpr std::string_view kRecord = "record";

Json SnapshotJson(const SnapshotReport& snapshot) {
  Json json = {{"lsn", snapshot.lsn}};
  if (!snapshot.damage.ok()) {
    json["damage"] = formats::SentenceOf(snapshot.damage);
    return json;
  }
  json["epoch"] = snapshot.epoch;
  json["bytes"] = snapshot.bytes;
  json["tables"] = snapshot.tables.size();
  return json;
}

}  // namespace

std::string StatusText(const journal::Identity& identity,
                       const LogStatus& status) {
  std::string text =
      fmt::format("data directory {}, epoch {}{}\n", Hex(identity),
                  status.epoch, status.is_in_use ? "; a server has it" : "");
  text +=
      fmt::format("log of LSN {} to {}: {} of {}\n", status.first_lsn,
                  status.last_lsn, FormatCount(status.segment_count, "file"),
                  FormatBytes(status.segment_bytes));
  if (!status.torn.empty() && !status.is_in_use) {
    text += fmt::format("a crash tore its end, {}: the next start cuts it\n",
                        status.torn);
  }
  text += SnapshotsText(status.snapshots);
  text += status.oldest_lsn == 0
              ? "no LSN can be had again: a start would be refused\n"
              : fmt::format("LSN {} is the oldest that can be had again\n",
                            status.oldest_lsn);
  return text + fmt::format(
                    "a start reads {} of snapshot and {} of log: about {:.1f} "
                    "s\n",
                    FormatBytes(status.start_snapshot_bytes),
                    FormatBytes(status.start_log_bytes),
                    status.start_time.count());
}

Json StatusJson(const journal::Identity& identity, const LogStatus& status) {
  Json snapshots = Json::array();
  for (const SnapshotReport& snapshot : status.snapshots) {
    snapshots.push_back(SnapshotJson(snapshot));
  }
  Json json = {{"identity", Hex(identity)},
               {"in_use", status.is_in_use},
               {"epoch", status.epoch},
               {"first_lsn", status.first_lsn},
               {"last_lsn", status.last_lsn},
               {"segments", status.segment_count},
               {"segment_bytes", status.segment_bytes},
               {"snapshots", std::move(snapshots)},
               {"oldest_lsn", status.oldest_lsn},
               {"start",
                {{"snapshot_lsn", status.start_snapshot_lsn},
                 {"snapshot_bytes", status.start_snapshot_bytes},
                 {"log_bytes", status.start_log_bytes},
                 {"seconds", status.start_time.count()}}}};
  if (!status.torn.empty()) {
    json["torn"] = status.torn;
  }
  return json;
}

std::string CheckText(const LogCheck& check, bool is_in_use) {
  std::string text =
      fmt::format("the log is whole: {}, LSN {} to {}, {}\n",
                  FormatCount(check.record_count, kRecord), check.first_lsn,
                  check.end.next_lsn - 1, FormatBytes(check.record_bytes));
  if (check.state == LogCheck::State::kTorn) {
    text += is_in_use ? fmt::format("a server has it, and writes on at {}\n",
                                    check.end.torn.value_or(""))
                      : fmt::format(
                            "a crash tore its end, {}: {} that nobody was "
                            "promised; the next start cuts them\n",
                            check.end.torn.value_or(""),
                            FormatBytes(check.torn_bytes));
  }
  return text;
}

Json CheckJson(const LogCheck& check) {
  const bool is_torn = check.state == LogCheck::State::kTorn;
  Json json = {{"state", is_torn ? "torn" : "whole"},
               {"first_lsn", check.first_lsn},
               {"last_lsn", check.end.next_lsn - 1},
               {"records", check.record_count},
               {"record_bytes", check.record_bytes}};
  if (is_torn) {
    json["torn"] = {{"place", check.end.torn.value_or("")},
                    {"bytes", check.torn_bytes}};
  }
  return json;
}

std::string DumpTitle() {
  return fmt::format("{:>12} {:>5}  {:<13} {:>10}  {}\n", "lsn", "epoch",
                     "type", "bytes", "tables, session:sequence");
}

std::string RecordLine(const RecordSummary& record, bool with_ids) {
  std::string text = fmt::format("{:>12} {:>5}  {:<13} {:>10} ", record.lsn,
                                 record.epoch, record.type, record.bytes);
  for (const RecordSummary::Part& part : record.parts) {
    text += " " + PartText(part, with_ids);
  }
  if (record.session) {
    text += " " + Hex(record.session->bytes);
    if (record.sequence != 0) {
      text += fmt::format(":{}", record.sequence);
    }
  }
  return text + (record.is_understood ? "\n" : " not understood\n");
}

Json RecordJson(const RecordSummary& record, bool with_ids) {
  Json tables = Json::array();
  for (const RecordSummary::Part& part : record.parts) {
    Json table = {{"uid", Hex(part.uid.bytes)}};
    if (!part.table.empty()) {
      table["name"] = part.table;
    }
    table["id_count"] = part.id_count;
    if (with_ids) {
      table["ids"] = part.ids;
    }
    tables.push_back(std::move(table));
  }
  Json json = {{"lsn", record.lsn},
               {"epoch", record.epoch},
               {"type", record.type},
               {"bytes", record.bytes},
               {"tables", std::move(tables)}};
  if (record.session) {
    json["session"] = Hex(record.session->bytes);
  }
  if (record.sequence != 0) {
    json["sequence"] = record.sequence;
  }
  if (!record.is_understood) {
    json["understood"] = false;
  }
  return json;
}

std::string BehindText(uint64_t cut_lsn, const journal::RecordsBehind& behind) {
  std::string text =
      behind.header_count == 0
          ? fmt::format("From LSN {} on nothing can be read", cut_lsn)
          : fmt::format(
                "From LSN {} on, as far as {}, {} can be found, and {} "
                "of them read",
                cut_lsn, behind.last_lsn,
                FormatCount(behind.header_count, kRecord),
                FormatCount(behind.readable_count));
  if (!behind.unreadable.empty()) {
    text += fmt::format("; of {} nothing, for its header is lost",
                        fmt::join(behind.unreadable, ", "));
  }
  return text;
}

std::string PlanText(const RepairPlan& plan) {
  std::vector<std::string> lost;
  if (!plan.cut_segment.empty()) {
    lost.push_back(
        fmt::format("{} from {} on", plan.cut_segment, plan.check.end.end));
  }
  lost.insert(lost.end(), plan.lost_segments.begin(), plan.lost_segments.end());
  for (const uint64_t lsn : plan.lost_snapshots) {
    lost.push_back(
        fmt::format("the snapshot of LSN {}, which has some of "
                    "what is lost",
                    lsn));
  }
  return fmt::format(
      ". A cut keeps all before LSN {} and sets aside: {}. {}. The next start "
      "begins {}",
      plan.cut_lsn, fmt::join(lost, ", "),
      BehindText(plan.cut_lsn, plan.check.behind),
      plan.base_lsn == 0
          ? "with the log's first record"
          : fmt::format("with the snapshot of LSN {}", plan.base_lsn));
}

std::string RepairText(const inspect::Repair& repair) {
  const RepairPlan& plan = repair.plan;
  return fmt::format(
      "the log ends before LSN {}; what is lost lies in {}\n{}\n", plan.cut_lsn,
      repair.lost_path, BehindText(plan.cut_lsn, plan.check.behind));
}

Json RepairJson(const inspect::Repair& repair) {
  const RepairPlan& plan = repair.plan;
  const journal::RecordsBehind& behind = plan.check.behind;
  Json segments = Json::array();
  for (const std::string& segment : behind.segments) {
    segments.push_back(segment);
  }
  return {{"cut_lsn", plan.cut_lsn},
          {"last_lost_lsn", behind.last_lsn},
          {"lost_records", behind.header_count},
          {"readable_records", behind.readable_count},
          {"segments", std::move(segments)},
          {"snapshots", plan.lost_snapshots},
          {"start_snapshot_lsn", plan.base_lsn},
          {"lost", repair.lost_path}};
}

}  // namespace quire::cli
