// A data directory that is looked at: nothing in it is changed, and a server
// may be at work in it.
//
// Beside a server, what is read may change while it is: the end of the log is
// being written, its oldest segments and snapshots go. Whoever finds damage
// there looks again before he believes it: Again().
//
// Thread safety: one thread at a time.

#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "journal/files.h"
#include "journal/format.h"

namespace quire::inspect {

class DataFiles {
 public:
  // FOREIGN_DATA if it is no data directory; CORRUPT, FORMAT_TOO_NEW,
  // IO_FAILED.
  //   root  best journal::OpenDirectoryToRead()
  static absl::StatusOr<DataFiles> Open(
      std::unique_ptr<journal::Directory> root);

  const journal::Identity& identity() const { return identity_; }
  journal::Directory& root() const { return *root_; }
  journal::Directory& log() const { return *log_; }
  journal::Directory& snapshots() const { return *snapshots_; }

  // Whether a server has it now.
  absl::StatusOr<bool> IsInUse() const { return root_->IsLocked(); }

 private:
  DataFiles() = default;

  std::unique_ptr<journal::Directory> root_;
  std::unique_ptr<journal::Directory> log_;
  std::unique_ptr<journal::Directory> snapshots_;
  journal::Identity identity_ = {};
};

// What `look`, which returns a StatusOr, finds: while a server has the
// directory, what it says of damage, or of files that are gone, counts only if
// it says so again and again.
template <typename Look>
auto Again(const DataFiles& files, const Look& look) {
  constexpr int kLooks = 4;
  auto found = look();
  for (int i = 1; i < kLooks && !found.ok(); ++i) {
    if (const auto in_use = files.IsInUse(); !in_use.value_or(false)) {
      break;
    }
    found = look();
  }
  return found;
}

}  // namespace quire::inspect
