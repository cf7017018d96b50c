// The seam between the journal and a disk: directories of files that are
// written at any place and synced on request. posix_files.h is the real one;
// tests have one that fails where they say, and one that loses power.
//
// What is promised of a power cut, and no more:
//   - bytes of a file that were written before a Sync() of it that returned OK
//     are there, if its name is;
//   - bytes written since may be there or not, in any order and in pieces of a
//     sector (kSectorBytes), which never tears;
//   - a name that was made, renamed or removed before a Directory::Sync() that
//     returned OK stays so; since, each may have happened or not.
//
// A Sync() that fails says nothing about what it was to save, then or later:
// kernels mark such pages clean. Whoever gets that error never writes to the
// file again.
//
// Errors are Error() of base/status.h and name the file: BAD_VALUE for what is
// no name, DISK_FULL where space or the allowed size of a file is at its end,
// IO_FAILED otherwise.
//
// Thread safety: of one File, Read() and Sync() may be called while another
// thread is in any function; writes and Resize() come from one thread at a
// time. A Sync() saves the writes that returned before it was called. Of a
// Directory, all functions may be called from any thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"

namespace quire::journal {

// What a disk writes whole.
inline constexpr int64_t kSectorBytes = 512;

// What every disk takes that is written to directly.
inline constexpr size_t kBlockBytes = 4096;

class File {
 public:
  File() = default;
  virtual ~File() = default;  // closes
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // The bytes of `pieces`, end to end, at [offset, …); the file grows as
  // needed, a gap is zeros. After an error any part of them may be there.
  virtual absl::Status Write(int64_t offset, std::span<const Bytes> pieces) = 0;

  // Bytes from `offset` on into `out`; how many there were: fewer than asked
  // only at the end of the file.
  virtual absl::StatusOr<size_t> Read(int64_t offset,
                                      std::span<std::byte> out) const = 0;

  // What has been written is on the disk.
  virtual absl::Status Sync() = 0;

  // Makes the file `size` bytes long. New bytes are zeros and have their place
  // on the disk: writing them cannot fail with DISK_FULL on file systems that
  // can allocate.
  virtual absl::Status Resize(int64_t size) = 0;

  virtual absl::StatusOr<int64_t> Size() const = 0;

  // The first place from `offset` on that may hold something else than zeros;
  // the file's size if there is none. What was allocated and never written need
  // not be read, where the system knows it.
  virtual absl::StatusOr<int64_t> FindData(int64_t offset) const {
    return offset;
  }

  // Bytes before `end`, which have been synced, will not be read soon: they
  // need not stay in memory. What is written next gets their memory, and the
  // system need not look for more.
  virtual void Forget(int64_t end) = 0;
};

// Names are one component: no '/', not "." or "..". Checked.
class Directory {
 public:
  Directory() = default;
  virtual ~Directory() = default;
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  // A new, empty file to read and write. IO_FAILED if the name is taken.
  virtual absl::StatusOr<std::unique_ptr<File>> Create(
      std::string_view name) = 0;

  // The same, written past the page cache where the system can: each Write()
  // has one piece, whose place, size and address are multiples of kBlockBytes.
  virtual absl::StatusOr<std::unique_ptr<File>> CreateUncached(
      std::string_view name) {
    return Create(name);
  }

  // A file that is there, to read and write.
  virtual absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name) = 0;

  // A directory in this one, made if it is not there.
  virtual absl::StatusOr<std::unique_ptr<Directory>> MakeDirectory(
      std::string_view name) = 0;

  // A directory that is there. A symbolic link is none.
  virtual absl::StatusOr<std::unique_ptr<Directory>> OpenDirectory(
      std::string_view name) = 0;

  // Names of files and directories, sorted.
  virtual absl::StatusOr<std::vector<std::string>> List() const = 0;

  // Of a file or a directory. A file takes the place of one that has the name
  // `to`; a directory's new name must be free.
  virtual absl::Status Rename(std::string_view from, std::string_view to) = 0;

  // A file, or an empty directory.
  virtual absl::Status Remove(std::string_view name) = 0;

  // The file of that name has the same one in `other` too, a directory of the
  // same disk: both names lead to it. IO_FAILED if the name is taken there.
  virtual absl::Status Link(std::string_view name, Directory& other) = 0;

  // Names are on the disk as they are now; what is in the files, and in the
  // directories, is not.
  virtual absl::Status Sync() = 0;

  // Takes the directory for this process, until the Directory is destroyed.
  // DIRECTORY_IN_USE if another one has it; OK if this Directory has it
  // already. Leaves a file LOCK.
  virtual absl::Status Lock() = 0;

  // Whether a Directory, of any process, has taken it. Nothing is made or
  // changed; only a process that calls Lock() in the same microsecond may be
  // told that it is in use.
  virtual absl::StatusOr<bool> IsLocked() const = 0;

  // For messages.
  virtual const std::string& path() const = 0;
};

// The path of what is called `name`, for messages.
std::string PathOf(const Directory& directory, std::string_view name);

// Directory::MakeDirectory, and certain to be in `parent`: a symbolic link of
// that name is refused, and nothing changes where it leads.
absl::StatusOr<std::unique_ptr<Directory>> MakeDirectoryIn(
    Directory& parent, std::string_view name);

// Removes a file, or a directory with all that is in it, one after the other:
// after an error or a crash a part of it may be gone.
absl::Status RemoveWithContent(Directory& directory, std::string_view name);

}  // namespace quire::journal
