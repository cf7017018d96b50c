#include "inspect/restore.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/backup.h"
#include "engine/identity.h"
#include "inspect/data_files.h"
#include "journal/copy.h"
#include "journal/log_reader.h"

namespace quire::inspect {
namespace {

using journal::Directory;

absl::Status CheckEmpty(Directory& target) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, target.List());
  for (const std::string& name : names) {
    if (!MayPrecedeIdentity(name)) {
      return Error(Reason::kForeignData,
                   fmt::format("{} has a file {:?}: a backup is restored into "
                               "an empty directory, or one that is not there. "
                               "Nothing was changed",
                               target.path(), name));
    }
  }
  return absl::OkStatus();
}

absl::Status Copy(const DataFiles& backup, const BackupMark& mark,
                  Directory& target, Restored& restored) {
  QUIRE_ASSIGN_OR_RETURN(const auto log, target.MakeDirectory("log"));
  QUIRE_ASSIGN_OR_RETURN(const auto snapshots,
                         target.MakeDirectory("snapshots"));
  const auto route = [&](Directory& from, Directory& to) {
    return journal::CopyRoute{
        .from = from,
        .to = to,
        .from_identity = backup.identity(),
        .to_identity = restored.identity,
        .goes_on = [](int64_t) { return absl::OkStatus(); }};
  };
  const auto add = [&restored](const journal::Copied& copied) {
    restored.files += copied.files;
    restored.bytes += copied.bytes;
  };
  if (mark.snapshot_lsn > 0) {
    QUIRE_ASSIGN_OR_RETURN(
        const journal::Copied copied,
        journal::CopySnapshot(route(backup.snapshots(), *snapshots),
                              mark.snapshot_lsn));
    add(copied);
  }
  QUIRE_ASSIGN_OR_RETURN(
      const journal::LogReader reader,
      journal::LogReader::Open(backup.log(), backup.identity()));
  for (const auto& segment : reader.segments()) {
    QUIRE_ASSIGN_OR_RETURN(
        const journal::Copied copied,
        journal::CopySegment(route(backup.log(), *log), segment.number));
    add(copied);
  }
  QUIRE_RETURN_IF_ERROR(VerifyCopy(*log, *snapshots, restored.identity, mark));
  QUIRE_RETURN_IF_ERROR(target.Sync());
  return WriteIdentity(target, restored.identity);
}

}  // namespace

absl::StatusOr<Restored> RestoreBackup(std::unique_ptr<Directory> backup,
                                       Directory& target) {
  QUIRE_ASSIGN_OR_RETURN(const BackupMark mark, ReadBackupMark(*backup));
  QUIRE_ASSIGN_OR_RETURN(const DataFiles files,
                         DataFiles::Open(std::move(backup)));
  QUIRE_RETURN_IF_ERROR(CheckEmpty(target));
  QUIRE_RETURN_IF_ERROR(target.Lock());
  Restored restored = {.identity = FreshIdentity(),
                       .epoch = mark.epoch,
                       .lsn = mark.lsn,
                       .files = 1};
  if (absl::Status copied = Copy(files, mark, target, restored); !copied.ok()) {
    RemoveUnfinished(target);
    return copied;
  }
  return restored;
}

}  // namespace quire::inspect
