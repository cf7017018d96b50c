// Backups: a data directory that is copied aside, of all tables at one
// position.
//
//   DIR/BACKUP      which position; a server does not start on it
//   DIR/log/        what the snapshot needs, up to the position and no further
//   DIR/snapshots/  one snapshot, or none
//   DIR/IDENTITY    as in the original; the last file: without it, no backup
//
// There is no memory/: of MEMORY tables a backup has what the catalog says of
// them, no rows and no labels.
//
// inspect/restore.h makes a data directory of one.
//
// Thread safety: functions for one thread at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/files.h"
#include "journal/format.h"

namespace quire {

inline constexpr std::string_view kBackupName = "BACKUP";

// What a backup is of.
struct BackupMark {
  uint64_t epoch = 0;
  // All changes up to here, and none behind.
  uint64_t lsn = 0;
  // Of its one snapshot; 0: there is none, the log has all.
  uint64_t snapshot_lsn = 0;
};

// FOREIGN_DATA if there is none, CORRUPT, FORMAT_TOO_NEW.
absl::StatusOr<BackupMark> ReadBackupMark(journal::Directory& backup);
// It is on the disk when this returns, but for its name.
absl::Status WriteBackupMark(journal::Directory& backup,
                             const BackupMark& mark);

// Whether what is copied is whole: every chunk, every record up to the mark and
// none behind.
absl::Status VerifyCopy(journal::Directory& log, journal::Directory& snapshots,
                        const journal::Identity& identity,
                        const BackupMark& mark);

// --- Where they are made ---

// The directory in which a server makes its backups, each under a name: nothing
// but what is in it is ever written by one who asks for a backup.
//   path       is there, and outside of the data directory, else BAD_VALUE
//   data_path  may not be there yet
absl::StatusOr<std::unique_ptr<journal::Directory>> OpenBackupRoot(
    const std::string& path, const std::string& data_path);

// As names of tables are, else BAD_NAME: one component of a path.
absl::Status CheckBackupName(std::string_view name);

// A directory for a backup that is to be made.
class BackupTarget {
 public:
  // The directory `name` of `root`, which outlives it: made, or an empty one
  // that is there. BAD_VALUE if something else is there, or a symbolic link;
  // DISK_FULL, IO_FAILED.
  static absl::StatusOr<std::unique_ptr<BackupTarget>> Make(
      journal::Directory& root, const std::string& name);
  // Unless it was kept, as it was before: what is in it is removed.
  ~BackupTarget();
  BackupTarget(const BackupTarget&) = delete;
  BackupTarget& operator=(const BackupTarget&) = delete;

  journal::Directory& directory() { return *directory_; }
  void Keep() { is_kept_ = true; }

 private:
  BackupTarget(journal::Directory& root, std::string name, bool is_new,
               std::unique_ptr<journal::Directory> directory)
      : root_(root),
        name_(std::move(name)),
        is_new_(is_new),
        directory_(std::move(directory)) {}

  journal::Directory& root_;
  const std::string name_;
  const bool is_new_;
  const std::unique_ptr<journal::Directory> directory_;
  bool is_kept_ = false;
};

// Removes what a backup, or a data directory, that was not finished has.
void RemoveUnfinished(journal::Directory& root);

}  // namespace quire
