// Files and directories of a Linux system.
//
// A file is found by its name in an open directory: nothing changes when a
// directory above it is renamed. Files have mode 0600, directories 0700.
//
// The process ignores SIGXFSZ: the system sends it where a file would exceed
// the allowed size, and kills a process that does not. Ignored, that is
// DISK_FULL.

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "journal/files.h"

namespace quire::journal {

// The directory at `path`. If only its last component is missing it is made,
// and its name is on the disk when this returns.
absl::StatusOr<std::unique_ptr<Directory>> OpenDirectory(
    const std::string& path);

// The directory at `path`, which is there: IO_FAILED if not. It and what is in
// it is only read: files are opened to be read, Sync() does nothing, and
// nothing that would change it may be called.
absl::StatusOr<std::unique_ptr<Directory>> OpenDirectoryToRead(
    const std::string& path);

}  // namespace quire::journal
