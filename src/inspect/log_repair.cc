#include "inspect/log_repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "inspect/snapshot_report.h"
#include "journal/snapshot_format.h"
#include "journal/snapshots.h"

namespace quire::inspect {
namespace {

using journal::Directory;
using journal::File;

// The cut segment is made under this name, and renamed when it is whole.
constexpr std::string_view kDraftName = "repaired.draft";
// What is copied at once.
constexpr int64_t kBlockBytes = 1 << 20;

absl::Status NotToBeCut(std::string_view path, uint64_t cut_lsn,
                        std::string_view why) {
  return Error(Reason::kCorrupt,
               fmt::format("the log of {} is damaged at LSN {}, and is not cut "
                           "there: {}. Nothing was changed",
                           path, cut_lsn, why));
}

// Which snapshots a cut leaves, and which of them a start would load.
absl::Status PlanSnapshots(const DataFiles& files, RepairPlan& plan) {
  const std::string& path = files.root().path();
  QUIRE_ASSIGN_OR_RETURN(const std::vector<SnapshotReport> snapshots,
                         ListSnapshots(files));
  for (const SnapshotReport& listed : snapshots) {
    const absl::StatusOr<SnapshotReport> snapshot =
        VerifySnapshot(files, listed.lsn);
    if (!snapshot.ok()) {
      continue;  // a start passes it over
    }
    if (snapshot->lsn >= plan.cut_lsn) {
      const bool starts = CheckStart(files, snapshot->lsn).ok();
      return NotToBeCut(
          path, plan.cut_lsn,
          fmt::format("the snapshot of LSN {} is whole and has more than the "
                      "cut would leave. {}",
                      snapshot->lsn,
                      starts ? "A start does not need what is damaged: start "
                               "the server; that part of the log goes when the "
                               "next two snapshots have been made"
                             : "Restore a backup, or put back a copy of the "
                               "log's files"));
    }
    if (snapshot->last_lsn < plan.cut_lsn) {
      plan.base_lsn = snapshot->lsn;
      break;
    }
    plan.lost_snapshots.push_back(snapshot->lsn);
  }
  if (plan.check.first_lsn > plan.base_lsn + 1) {
    return NotToBeCut(
        path, plan.cut_lsn,
        fmt::format("what is left of it begins at LSN {}, and no snapshot that "
                    "is whole has what was before. Restore a backup, or put "
                    "back a copy of the snapshots",
                    plan.check.first_lsn));
  }
  return absl::OkStatus();
}

absl::StatusOr<RepairPlan> PlanOf(const DataFiles& files) {
  RepairPlan plan;
  QUIRE_ASSIGN_OR_RETURN(plan.check, CheckLog(files));
  const LogCheck& check = plan.check;
  if (check.state != LogCheck::State::kDamaged) {
    return Error(Reason::kBadValue,
                 fmt::format("the log of {} is not damaged: there is nothing "
                             "to repair. {}",
                             files.root().path(),
                             check.state == LogCheck::State::kTorn
                                 ? "Its torn end is cut by the next start"
                                 : "Nothing was changed"));
  }
  plan.cut_lsn = check.end.next_lsn;
  plan.lost_segments = check.behind.segments;
  if (check.end.end > 0 && !plan.lost_segments.empty() &&
      plan.lost_segments.front() ==
          journal::SegmentName(check.end.next_number - 1)) {
    plan.cut_segment = plan.lost_segments.front();
    plan.lost_segments.erase(plan.lost_segments.begin());
  }
  QUIRE_RETURN_IF_ERROR(PlanSnapshots(files, plan));
  return plan;
}

// --- Setting aside ---

// A new directory in `root`: lost-42, or lost-42-2 if that is taken.
absl::StatusOr<std::unique_ptr<Directory>> MakeLost(Directory& root,
                                                    uint64_t cut_lsn) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, root.List());
  const std::string first = fmt::format("lost-{}", cut_lsn);
  std::string name = first;
  for (int i = 2; std::ranges::binary_search(names, name); ++i) {
    name = fmt::format("{}-{}", first, i);
  }
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Directory> lost,
                         root.MakeDirectory(name));
  QUIRE_RETURN_IF_ERROR(root.Sync());
  return lost;
}

// Snapshots, then segments, are in `lost` too when this returns.
absl::Status LinkInto(const DataFiles& files, const RepairPlan& plan,
                      Directory& lost) {
  for (const uint64_t lsn : plan.lost_snapshots) {
    const std::string name = journal::SnapshotName(lsn);
    QUIRE_ASSIGN_OR_RETURN(const auto from,
                           files.snapshots().OpenDirectory(name));
    QUIRE_ASSIGN_OR_RETURN(const auto to, lost.MakeDirectory(name));
    QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, from->List());
    for (const std::string& file : names) {
      QUIRE_RETURN_IF_ERROR(from->Link(file, *to));
    }
    QUIRE_RETURN_IF_ERROR(to->Sync());
  }
  if (!plan.cut_segment.empty()) {
    QUIRE_RETURN_IF_ERROR(files.log().Link(plan.cut_segment, lost));
  }
  for (const std::string& segment : plan.lost_segments) {
    QUIRE_RETURN_IF_ERROR(files.log().Link(segment, lost));
  }
  return lost.Sync();
}

// --- Cutting ---

// A file of the same size with what `name` has before `end`; zeros behind.
absl::Status DraftCut(Directory& log, const std::string& name, int64_t end) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, log.List());
  if (std::ranges::binary_search(names, kDraftName)) {
    QUIRE_RETURN_IF_ERROR(log.Remove(kDraftName));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> from, log.Open(name));
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> to,
                         log.Create(kDraftName));
  QUIRE_ASSIGN_OR_RETURN(const int64_t size, from->Size());
  QUIRE_RETURN_IF_ERROR(to->Resize(size));
  std::vector<std::byte> block(static_cast<size_t>(kBlockBytes));
  for (int64_t offset = 0; offset < end; offset += kBlockBytes) {
    const auto wanted =
        static_cast<size_t>(std::min(kBlockBytes, end - offset));
    const std::span<std::byte> part = std::span(block).first(wanted);
    QUIRE_ASSIGN_OR_RETURN(const size_t read, from->Read(offset, part));
    const Bytes piece = part.first(read);
    QUIRE_RETURN_IF_ERROR(to->Write(offset, {&piece, 1}));
  }
  return to->Sync();
}

absl::Status Cut(const DataFiles& files, const RepairPlan& plan) {
  Directory& log = files.log();
  if (!plan.cut_segment.empty()) {
    QUIRE_RETURN_IF_ERROR(DraftCut(log, plan.cut_segment, plan.check.end.end));
  }
  for (const uint64_t lsn : plan.lost_snapshots) {
    QUIRE_RETURN_IF_ERROR(journal::RemoveSnapshot(files.snapshots(), lsn));
    QUIRE_RETURN_IF_ERROR(files.snapshots().Sync());
  }
  // The last one first, one after the other: no gap is left if the power goes.
  for (auto segment = plan.lost_segments.rbegin();
       segment != plan.lost_segments.rend(); ++segment) {
    QUIRE_RETURN_IF_ERROR(log.Remove(*segment));
    QUIRE_RETURN_IF_ERROR(log.Sync());
  }
  if (!plan.cut_segment.empty()) {
    QUIRE_RETURN_IF_ERROR(log.Rename(kDraftName, plan.cut_segment));
  }
  return log.Sync();
}

}  // namespace

absl::StatusOr<RepairPlan> PlanRepair(const DataFiles& files) {
  QUIRE_ASSIGN_OR_RETURN(const bool is_in_use, files.IsInUse());
  if (is_in_use) {
    return Error(Reason::kDirectoryInUse,
                 fmt::format("a server has the data directory {}. Stop it "
                             "first. Nothing was changed",
                             files.root().path()));
  }
  return PlanOf(files);
}

absl::StatusOr<Repair> RepairLog(std::unique_ptr<Directory> root) {
  QUIRE_RETURN_IF_ERROR(root->Lock());
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files,
                         DataFiles::Open(std::move(root)));
  QUIRE_ASSIGN_OR_RETURN(RepairPlan plan, PlanOf(files));
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<Directory> lost,
                         MakeLost(files.root(), plan.cut_lsn));
  QUIRE_RETURN_IF_ERROR(LinkInto(files, plan, *lost));
  QUIRE_RETURN_IF_ERROR(Cut(files, plan));
  return Repair{.plan = std::move(plan), .lost_path = lost->path()};
}

}  // namespace quire::inspect
