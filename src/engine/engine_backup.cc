// Backups of an engine that serves.

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/status.h"
#include "engine/backup.h"
#include "engine/engine.h"
#include "engine/identity.h"
#include "journal/copy.h"

namespace quire {
namespace {

using journal::KeptSegment;

// Those that a snapshot needs for a start that ends with the record `lsn`.
std::vector<KeptSegment> SegmentsFor(const std::vector<KeptSegment>& kept,
                                     uint64_t snapshot_lsn, uint64_t lsn) {
  size_t last = 0;
  while (last + 1 < kept.size() && kept[last + 1].first_lsn <= lsn) {
    ++last;
  }
  size_t first = 0;
  while (first < last && kept[first + 1].first_lsn <= snapshot_lsn + 1) {
    ++first;
  }
  return {kept.begin() + static_cast<std::ptrdiff_t>(first),
          kept.begin() + static_cast<std::ptrdiff_t>(last) + 1};
}

}  // namespace

// Between blocks: whether the backup goes on, no faster than snapshots do.
absl::Status Engine::PaceBackup(BackupPace& pace, int64_t bytes) const {
  if (backup_is_given_up_) {
    return Error(Reason::kStopping,
                 "the server is stopping: the backup is given up");
  }
  pace.bytes += bytes;
  if (const int64_t rate = snapshots_->policy().rate_bytes; rate > 0) {
    std::this_thread::sleep_until(
        pace.begun +
        std::chrono::duration_cast<std::chrono::nanoseconds>(
            std::chrono::duration<double>(static_cast<double>(pace.bytes) /
                                          static_cast<double>(rate))));
  }
  return absl::OkStatus();
}

absl::StatusOr<Engine::Backup> Engine::BackUp(journal::Directory& target) {
  const std::unique_ptr<Snapshots::Hold> hold = HoldPast();
  // 0: there is no change yet, and no snapshot.
  QUIRE_ASSIGN_OR_RETURN(const uint64_t snapshot_lsn, snapshots_->Make());
  Backup backup = {.epoch = log_->epoch(), .lsn = log_->appended_lsn()};
  // What is copied is on the disk, and written whole.
  QUIRE_RETURN_IF_ERROR(log_->Sync());
  const std::vector<KeptSegment> segments =
      SegmentsFor(log_->kept(), snapshot_lsn, backup.lsn);

  DataDirectory& data = *directory_;
  BackupPace pace;
  QUIRE_ASSIGN_OR_RETURN(const auto snapshots,
                         journal::MakeDirectoryIn(target, "snapshots"));
  QUIRE_ASSIGN_OR_RETURN(const auto log,
                         journal::MakeDirectoryIn(target, "log"));
  const auto route = [&](journal::Directory& from, journal::Directory& to) {
    return journal::CopyRoute{
        .from = from,
        .to = to,
        .from_identity = data.identity(),
        .to_identity = data.identity(),
        .goes_on = [&](int64_t bytes) { return PaceBackup(pace, bytes); }};
  };
  const auto add = [&backup](const journal::Copied& copied) {
    backup.files += copied.files;
    backup.bytes += copied.bytes;
  };
  if (snapshot_lsn > 0) {
    QUIRE_ASSIGN_OR_RETURN(
        const journal::Copied copied,
        journal::CopySnapshot(route(data.snapshots(), *snapshots),
                              snapshot_lsn));
    add(copied);
  }
  for (const KeptSegment& segment : segments) {
    QUIRE_ASSIGN_OR_RETURN(
        const journal::Copied copied,
        journal::CopySegment(route(data.log(), *log), segment.number));
    add(copied);
  }
  QUIRE_RETURN_IF_ERROR(journal::EndLogAt(*log, data.identity(), backup.lsn));
  const BackupMark mark = {
      .epoch = backup.epoch, .lsn = backup.lsn, .snapshot_lsn = snapshot_lsn};
  QUIRE_RETURN_IF_ERROR(VerifyCopy(*log, *snapshots, data.identity(), mark));
  QUIRE_RETURN_IF_ERROR(WriteBackupMark(target, mark));
  QUIRE_RETURN_IF_ERROR(target.Sync());
  QUIRE_RETURN_IF_ERROR(WriteIdentity(target, data.identity()));
  backup.files += 2;
  return backup;
}

absl::StatusOr<Engine::Backup> Engine::BackUp(journal::Directory& root,
                                              const std::string& name) {
  QUIRE_RETURN_IF_ERROR(CheckBackupName(name));
  if (snapshots_ == nullptr) {
    return Error(Reason::kUnsupportedDurability,
                 "this server has no data directory; start it with --data-dir");
  }
  if (backup_is_made_.exchange(true)) {
    return Error(Reason::kBusy,
                 "another backup is being made: wait until it is there");
  }
  const absl::Cleanup is_made = [this] { backup_is_made_ = false; };
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<BackupTarget> target,
                         BackupTarget::Make(root, name));
  QUIRE_ASSIGN_OR_RETURN(const Backup backup, BackUp(target->directory()));
  target->Keep();
  return backup;
}

}  // namespace quire
