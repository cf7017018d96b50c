#include "inspect/log_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace quire::inspect {
namespace {

using journal::LogEnd;
using journal::LogReader;
using journal::LogRecord;

absl::Status PassOver(const LogRecord&) { return absl::OkStatus(); }

// Those of a start that loads the snapshot `lsn` and reads on in `segments`.
int64_t StartLogBytes(const std::vector<LogReader::SegmentSummary>& segments,
                      const LogEnd& end, uint64_t snapshot_lsn) {
  int64_t bytes = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (!segments[i].link || segments[i].number >= end.next_number) {
      break;
    }
    const auto* next = i + 1 < segments.size() && segments[i + 1].link &&
                               segments[i + 1].number < end.next_number
                           ? &*segments[i + 1].link
                           : nullptr;
    // As LogReader::Read: a segment is read from its beginning.
    if (next == nullptr || next->first_lsn > snapshot_lsn + 1) {
      bytes += next == nullptr ? end.end : next->previous_end;
    }
  }
  return bytes;
}

void AddStart(const std::vector<LogReader::SegmentSummary>& segments,
              const LogEnd& end, LogStatus& status) {
  for (const SnapshotReport& snapshot : status.snapshots) {
    if (!snapshot.damage.ok() || status.first_lsn > snapshot.lsn + 1) {
      continue;
    }
    if (status.start_snapshot_lsn == 0) {
      status.start_snapshot_lsn = snapshot.lsn;
      status.start_snapshot_bytes = snapshot.bytes;
    }
    status.oldest_lsn = snapshot.lsn;
  }
  if (status.first_lsn == 1) {
    status.oldest_lsn = 1;
  }
  status.start_log_bytes =
      StartLogBytes(segments, end, status.start_snapshot_lsn);
  status.start_time = std::chrono::duration<double>(
      static_cast<double>(status.start_snapshot_bytes) /
          kSnapshotBytesPerSecond +
      static_cast<double>(status.start_log_bytes) / kLogBytesPerSecond);
}

absl::StatusOr<LogStatus> ReadStatusOnce(const DataFiles& files) {
  LogStatus status;
  QUIRE_ASSIGN_OR_RETURN(status.is_in_use, files.IsInUse());
  QUIRE_ASSIGN_OR_RETURN(const LogReader reader,
                         LogReader::Open(files.log(), files.identity()));
  const std::vector<LogReader::SegmentSummary> segments = reader.segments();
  status.first_lsn = reader.first_lsn();
  uint64_t last_segment_lsn = status.first_lsn;
  for (const LogReader::SegmentSummary& segment : segments) {
    ++status.segment_count;
    status.segment_bytes += segment.bytes;
    if (segment.link) {
      last_segment_lsn = segment.link->first_lsn;
    }
  }
  QUIRE_ASSIGN_OR_RETURN(const LogEnd end,
                         reader.Read(last_segment_lsn, PassOver));
  status.epoch = end.epoch;
  status.last_lsn = end.next_lsn - 1;
  status.torn = end.torn.value_or("");
  QUIRE_ASSIGN_OR_RETURN(status.snapshots, ListSnapshots(files));
  AddStart(segments, end, status);
  return status;
}

// Whether a log from `first_lsn` on goes on from the snapshot `lsn`; 0: none.
absl::Status CheckBegin(const DataFiles& files, uint64_t first_lsn,
                        uint64_t snapshot_lsn) {
  if (first_lsn <= snapshot_lsn + 1) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kCorrupt,
      fmt::format("the log of {} begins at LSN {}, and {}: what was between is "
                  "gone. Put back a copy of the snapshots, or restore a backup",
                  files.root().path(), first_lsn,
                  snapshot_lsn == 0
                      ? "there is no snapshot that is whole"
                      : fmt::format("the newest snapshot that is whole is of "
                                    "LSN {}",
                                    snapshot_lsn)));
}

absl::Status CheckReach(const DataFiles& files, const LogCheck& check) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<SnapshotReport> snapshots,
                         ListSnapshots(files));
  const auto newest = std::ranges::find_if(
      snapshots,
      [](const SnapshotReport& snapshot) { return snapshot.damage.ok(); });
  const uint64_t lsn = newest == snapshots.end() ? 0 : newest->lsn;
  QUIRE_RETURN_IF_ERROR(CheckBegin(files, check.first_lsn, lsn));
  if (check.end.next_lsn <= lsn) {
    return Error(Reason::kCorrupt,
                 fmt::format("the log of {} ends before LSN {}, of which there "
                             "is a snapshot: its files are not all there. Put "
                             "them back, or restore a backup",
                             files.root().path(), check.end.next_lsn));
  }
  return absl::OkStatus();
}

absl::StatusOr<LogCheck> CheckOnce(const DataFiles& files) {
  LogCheck check;
  absl::Status header_damage;
  QUIRE_ASSIGN_OR_RETURN(
      const LogReader reader,
      LogReader::OpenToDamage(files.log(), files.identity(), header_damage));
  check.first_lsn = reader.first_lsn();
  check.damage = reader.ReadTo(
      check.first_lsn,
      [&check](const LogRecord& record) {
        ++check.record_count;
        check.record_bytes += journal::RecordBytes(std::ssize(record.payload));
        return absl::OkStatus();
      },
      check.end);
  check.damage.Update(header_damage);
  if (!check.damage.ok() && ReasonOf(check.damage) != Reason::kCorrupt) {
    return check.damage;
  }
  if (!check.damage.ok()) {
    check.state = LogCheck::State::kDamaged;
    QUIRE_ASSIGN_OR_RETURN(
        check.behind,
        journal::FindRecordsBehind(files.log(), files.identity(), check.end));
  } else if (check.end.torn) {
    check.state = LogCheck::State::kTorn;
    QUIRE_ASSIGN_OR_RETURN(check.torn_bytes,
                           journal::BytesBehind(files.log(), check.end));
  }
  if (check.damage.ok()) {
    check.reach = CheckReach(files, check);
  }
  return check;
}

}  // namespace

absl::StatusOr<LogStatus> ReadLogStatus(const DataFiles& files) {
  return Again(files, [&files] { return ReadStatusOnce(files); });
}

absl::StatusOr<LogCheck> CheckLog(const DataFiles& files) {
  LogCheck check;
  const absl::Status status = Again(files, [&]() -> absl::StatusOr<bool> {
                                QUIRE_ASSIGN_OR_RETURN(check, CheckOnce(files));
                                // An error, so that it is looked at again.
                                QUIRE_RETURN_IF_ERROR(check.damage);
                                return true;
                              }).status();
  if (!status.ok() && ReasonOf(status) != Reason::kCorrupt) {
    return status;
  }
  return check;
}

absl::Status CheckStart(const DataFiles& files, uint64_t snapshot_lsn) {
  QUIRE_ASSIGN_OR_RETURN(const LogReader reader,
                         LogReader::Open(files.log(), files.identity()));
  QUIRE_RETURN_IF_ERROR(CheckBegin(files, reader.first_lsn(), snapshot_lsn));
  return reader.Read(snapshot_lsn + 1, PassOver).status();
}

}  // namespace quire::inspect
