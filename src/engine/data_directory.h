// What a server keeps on a disk: its log, its snapshots, and a name that all of
// its files carry.
//
//   DIR/LOCK        held by the process that has it
//   DIR/IDENTITY    16 random bytes, made once
//   DIR/log/        journal/log.h
//   DIR/snapshots/  journal/snapshots.h
//   DIR/memory/     the same, of MEMORY tables: engine/memory_saves.h
//
// Thread safety: constant after Open, but for what the log and the snapshots
// do.

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "journal/files.h"
#include "journal/format.h"

namespace quire {

class DataDirectory {
 public:
  struct Options {
    // Refuse a directory in which nothing has been: the volume that should be
    // there may not be.
    bool must_exist = false;
  };

  // Takes the directory, until this is destroyed. FAILED_PRECONDITION
  // (DIRECTORY_IN_USE), (FOREIGN_DATA) if there is something and not ours, or
  // nothing that must exist; DATA_LOSS (CORRUPT); IO_FAILED, DISK_FULL.
  static absl::StatusOr<std::unique_ptr<DataDirectory>> Open(
      std::unique_ptr<journal::Directory> directory, const Options& options);

  const journal::Identity& identity() const { return identity_; }
  journal::Directory& log() { return *log_; }
  journal::Directory& snapshots() { return *snapshots_; }
  journal::Directory& memory() { return *memory_; }
  const std::string& path() const { return root_->path(); }

 private:
  explicit DataDirectory(std::unique_ptr<journal::Directory> root)
      : root_(std::move(root)) {}

  const std::unique_ptr<journal::Directory> root_;
  std::unique_ptr<journal::Directory> log_;
  std::unique_ptr<journal::Directory> snapshots_;
  std::unique_ptr<journal::Directory> memory_;
  journal::Identity identity_ = {};
};

}  // namespace quire
