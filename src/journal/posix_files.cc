#include "journal/posix_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "base/status.h"

namespace quire::journal {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;
constexpr std::string_view kLockName = "LOCK";

absl::Status Failed(std::string_view verb, std::string_view path, int error) {
  const bool is_full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return Error(is_full ? Reason::kDiskFull : Reason::kIoFailed,
               fmt::format("cannot {} '{}': {}", verb, path,
                           std::system_category().message(error)));
}

// `call` again, as long as a signal interrupts it.
template <typename Call>
auto Uninterrupted(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) {
    result = call();
  }
  return result;
}

// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) {
      close(number_);
    }
  }
  Descriptor(Descriptor&& other) noexcept : number_(other.Release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  int Release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

Descriptor OpenAt(int directory, const std::string& name, int flags) {
  return Descriptor(Uninterrupted([&] {
    return openat(directory, name.c_str(), flags | O_CLOEXEC, kFileMode);
  }));
}

// --- Files ---

class PosixFile final : public File {
 public:
  PosixFile(Descriptor descriptor, std::string path)
      : descriptor_(std::move(descriptor)), path_(std::move(path)) {}

  absl::Status Write(int64_t offset, std::span<const Bytes> pieces) override;
  absl::StatusOr<size_t> Read(int64_t offset,
                              std::span<std::byte> out) const override;
  absl::Status Sync() override;
  absl::Status Resize(int64_t size) override;
  absl::StatusOr<int64_t> Size() const override;
  absl::StatusOr<int64_t> FindData(int64_t offset) const override;
  void Forget(int64_t end) override;

 private:
  int number() const { return descriptor_.number(); }
  absl::Status FailedTo(std::string_view verb, int error) const;
  // Returns an error number, or 0.
  int Allocate(int64_t begin, int64_t end) const;

  const Descriptor descriptor_;
  // When it was opened.
  const std::string path_;
};

absl::Status PosixFile::FailedTo(std::string_view verb, int error) const {
  // It may have been renamed since it was opened.
  std::array<char, PATH_MAX> now;
  const ssize_t size =
      readlink(fmt::format("/proc/self/fd/{}", number()).c_str(), now.data(),
               now.size());
  return Failed(verb,
                size <= 0
                    ? std::string_view(path_)
                    : std::string_view(now.data(), static_cast<size_t>(size)),
                error);
}

// What is left of `pieces` without their first `done` bytes.
std::span<iovec> Rest(std::span<iovec> pieces, size_t done) {
  while (!pieces.empty() && done >= pieces.front().iov_len) {
    done -= pieces.front().iov_len;
    pieces = pieces.subspan(1);
  }
  if (done > 0) {
    iovec& cut = pieces.front();
    cut.iov_base = static_cast<std::byte*>(cut.iov_base) + done;
    cut.iov_len -= done;
  }
  return pieces;
}

absl::Status PosixFile::Write(int64_t offset, std::span<const Bytes> pieces) {
  std::vector<iovec> all;
  all.reserve(pieces.size());
  for (const Bytes piece : pieces) {
    all.push_back({.iov_base = const_cast<std::byte*>(piece.data()),
                   .iov_len = piece.size()});
  }
  for (std::span<iovec> left = Rest(all, 0); !left.empty();) {
    const int count = static_cast<int>(std::min<size_t>(left.size(), IOV_MAX));
    const ssize_t done = Uninterrupted(
        [&] { return pwritev(number(), left.data(), count, offset); });
    if (done <= 0) {
      return FailedTo("write", done == 0 ? EIO : errno);
    }
    offset += done;
    left = Rest(left, static_cast<size_t>(done));
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> PosixFile::Read(int64_t offset,
                                       std::span<std::byte> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t count = Uninterrupted([&] {
      return pread(number(), out.data() + done, out.size() - done,
                   offset + static_cast<int64_t>(done));
    });
    if (count < 0) {
      return FailedTo("read", errno);
    }
    if (count == 0) {
      break;
    }
    done += static_cast<size_t>(count);
  }
  return done;
}

absl::Status PosixFile::Sync() {
  // A changed size is saved too: what is needed to find the bytes again.
  return fdatasync(number()) == 0 ? absl::OkStatus() : FailedTo("sync", errno);
}

int PosixFile::Allocate(int64_t begin, int64_t end) const {
  // Not posix_fallocate: where the file system cannot allocate, that writes.
  return Uninterrupted(
             [&] { return fallocate(number(), 0, begin, end - begin); }) == 0
             ? 0
             : errno;
}

absl::Status PosixFile::Resize(int64_t size) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t old_size, Size());
  absl::Status status;
  if (size > old_size) {
    const int error = Allocate(old_size, size);
    if (error == 0) {
      return status;
    }
    if (error != EOPNOTSUPP && error != ENOSYS) {
      status = FailedTo("allocate", error);
      size = old_size;  // gives back what it got
    }
  }
  if (Uninterrupted([&] { return ftruncate(number(), size); }) != 0 &&
      status.ok()) {
    status = FailedTo("resize", errno);
  }
  return status;
}

absl::StatusOr<int64_t> PosixFile::Size() const {
  struct stat found;
  if (fstat(number(), &found) != 0) {
    return FailedTo("stat", errno);
  }
  return found.st_size;
}

absl::StatusOr<int64_t> PosixFile::FindData(int64_t offset) const {
  // It moves the descriptor's own place, which nothing here uses.
  const off_t found = lseek(number(), offset, SEEK_DATA);
  if (found >= 0) {
    return found;
  }
  return errno == ENXIO ? Size() : offset;
}

void PosixFile::Forget(int64_t end) {
  // Advice: nothing is lost where it is not taken. Pages that `end` cuts stay.
  (void)posix_fadvise(number(), 0, end, POSIX_FADV_DONTNEED);
}

// --- Directories ---

enum class Access { kChange, kRead };

class PosixDirectory final : public Directory {
 public:
  PosixDirectory(Descriptor descriptor, std::string path, Access access)
      : descriptor_(std::move(descriptor)),
        path_(std::move(path)),
        access_(access) {}

  absl::StatusOr<std::unique_ptr<File>> Create(std::string_view name) override;
  absl::StatusOr<std::unique_ptr<File>> CreateUncached(
      std::string_view name) override;
  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name) override;
  absl::StatusOr<std::unique_ptr<Directory>> MakeDirectory(
      std::string_view name) override;
  absl::StatusOr<std::unique_ptr<Directory>> OpenDirectory(
      std::string_view name) override;
  absl::StatusOr<std::vector<std::string>> List() const override;
  absl::Status Rename(std::string_view from, std::string_view to) override;
  absl::Status Remove(std::string_view name) override;
  absl::Status Link(std::string_view name, Directory& other) override;
  absl::Status Sync() override;
  absl::Status Lock() override;
  absl::StatusOr<bool> IsLocked() const override;
  const std::string& path() const override { return path_; }

 private:
  int number() const { return descriptor_.number(); }
  std::string PathOf(std::string_view name) const {
    return journal::PathOf(*this, name);
  }
  // `name`, for the system.
  absl::StatusOr<std::string> Checked(std::string_view name) const;
  void CheckMayChange() const {
    QUIRE_CHECK(access_ == Access::kChange, "what is only read is not changed");
  }
  // With what errno says.
  absl::Status FailedTo(std::string_view verb, std::string_view name) const {
    const int error = errno;
    return Failed(verb, PathOf(name), error);
  }
  absl::StatusOr<std::unique_ptr<File>> OpenFile(std::string_view name,
                                                 std::string_view verb,
                                                 int flags);
  absl::StatusOr<std::unique_ptr<Directory>> OpenDirectoryAt(
      const std::string& name, int flags);

  const Descriptor descriptor_;
  const std::string path_;
  const Access access_;

  Mutex mutex_;
  // Set by the one Lock() that succeeds.
  Descriptor lock_ QUIRE_GUARDED_BY(mutex_);
};

absl::StatusOr<std::string> PosixDirectory::Checked(
    std::string_view name) const {
  static constexpr std::string_view kNotInNames("/\0", 2);
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of(kNotInNames) != std::string_view::npos) {
    return Error(Reason::kBadValue,
                 fmt::format("'{}' is no name of a file in '{}'", name, path_));
  }
  return std::string(name);
}

absl::StatusOr<std::unique_ptr<File>> PosixDirectory::OpenFile(
    std::string_view name, std::string_view verb, int flags) {
  QUIRE_ASSIGN_OR_RETURN(const std::string checked, Checked(name));
  const int access = access_ == Access::kRead ? O_RDONLY : O_RDWR;
  Descriptor file = OpenAt(number(), checked, access | flags);
  if (!file.is_open()) {
    return FailedTo(verb, name);
  }
  return std::make_unique<PosixFile>(std::move(file), PathOf(name));
}

absl::StatusOr<std::unique_ptr<File>> PosixDirectory::Create(
    std::string_view name) {
  CheckMayChange();
  return OpenFile(name, "create", O_CREAT | O_EXCL);
}

absl::StatusOr<std::unique_ptr<File>> PosixDirectory::CreateUncached(
    std::string_view name) {
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<File> file, Create(name));
  // Where the file system cannot, it is a file as any other.
  return OpenFile(name, "open", O_DIRECT).value_or(std::move(file));
}

absl::StatusOr<std::unique_ptr<File>> PosixDirectory::Open(
    std::string_view name) {
  return OpenFile(name, "open", 0);
}

absl::StatusOr<std::unique_ptr<Directory>> PosixDirectory::MakeDirectory(
    std::string_view name) {
  CheckMayChange();
  QUIRE_ASSIGN_OR_RETURN(const std::string checked, Checked(name));
  if (mkdirat(number(), checked.c_str(), kDirectoryMode) != 0 &&
      errno != EEXIST) {
    return FailedTo("make directory", name);
  }
  return OpenDirectoryAt(checked, 0);
}

absl::StatusOr<std::unique_ptr<Directory>> PosixDirectory::OpenDirectory(
    std::string_view name) {
  QUIRE_ASSIGN_OR_RETURN(const std::string checked, Checked(name));
  return OpenDirectoryAt(checked, O_NOFOLLOW);
}

absl::StatusOr<std::unique_ptr<Directory>> PosixDirectory::OpenDirectoryAt(
    const std::string& name, int flags) {
  Descriptor directory = OpenAt(number(), name, O_RDONLY | O_DIRECTORY | flags);
  if (!directory.is_open()) {
    return FailedTo("open directory", name);
  }
  return std::make_unique<PosixDirectory>(std::move(directory), PathOf(name),
                                          access_);
}

absl::StatusOr<std::vector<std::string>> PosixDirectory::List() const {
  // A descriptor of its own: its position is shared with nobody.
  Descriptor own = OpenAt(number(), ".", O_RDONLY | O_DIRECTORY);
  constexpr auto kClose = [](DIR* stream) { closedir(stream); };
  const std::unique_ptr<DIR, decltype(kClose)> stream(
      own.is_open() ? fdopendir(own.number()) : nullptr);
  if (stream == nullptr) {
    return Failed("list", path_, errno);
  }
  own.Release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
    errno = 0;
  }
  if (errno != 0) {
    return Failed("list", path_, errno);
  }
  std::ranges::sort(names);
  return names;
}

absl::Status PosixDirectory::Rename(std::string_view from,
                                    std::string_view to) {
  CheckMayChange();
  QUIRE_ASSIGN_OR_RETURN(const std::string source, Checked(from));
  QUIRE_ASSIGN_OR_RETURN(const std::string target, Checked(to));
  // The system would let a directory take the place of an empty one.
  struct stat found;
  if (fstatat(number(), source.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISDIR(found.st_mode) &&
      fstatat(number(), target.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EEXIST;
    return FailedTo("rename", fmt::format("{}' to '{}", from, PathOf(to)));
  }
  if (renameat(number(), source.c_str(), number(), target.c_str()) != 0) {
    return FailedTo("rename", fmt::format("{}' to '{}", from, PathOf(to)));
  }
  return absl::OkStatus();
}

absl::Status PosixDirectory::Remove(std::string_view name) {
  CheckMayChange();
  QUIRE_ASSIGN_OR_RETURN(const std::string checked, Checked(name));
  int result = unlinkat(number(), checked.c_str(), 0);
  if (result != 0 && errno == EISDIR) {
    result = unlinkat(number(), checked.c_str(), AT_REMOVEDIR);
  }
  return result == 0 ? absl::OkStatus() : FailedTo("remove", name);
}

absl::Status PosixDirectory::Link(std::string_view name, Directory& other) {
  CheckMayChange();
  QUIRE_ASSIGN_OR_RETURN(const std::string checked, Checked(name));
  const auto& to = dynamic_cast<PosixDirectory&>(other);
  return linkat(number(), checked.c_str(), to.number(), checked.c_str(), 0) == 0
             ? absl::OkStatus()
             : FailedTo("link", fmt::format("{}' to '{}", name,
                                            journal::PathOf(other, name)));
}

absl::Status PosixDirectory::Sync() {
  if (access_ == Access::kRead) {
    return absl::OkStatus();
  }
  return fsync(number()) == 0 ? absl::OkStatus() : Failed("sync", path_, errno);
}

absl::Status PosixDirectory::Lock() {
  CheckMayChange();
  const MutexLock guard(mutex_);
  if (lock_.is_open()) {
    return absl::OkStatus();
  }
  const std::string name(kLockName);
  Descriptor lock = OpenAt(number(), name, O_RDWR | O_CREAT);
  if (!lock.is_open()) {
    return FailedTo("open", name);
  }
  if (Uninterrupted([&] { return flock(lock.number(), LOCK_EX | LOCK_NB); }) !=
      0) {
    if (errno != EWOULDBLOCK) {
      return FailedTo("lock", name);
    }
    return Error(Reason::kDirectoryInUse,
                 fmt::format("another process has the directory '{}'. Stop "
                             "it, or use another directory",
                             path_));
  }
  lock_ = std::move(lock);
  return absl::OkStatus();
}

absl::StatusOr<bool> PosixDirectory::IsLocked() const {
  const std::string name(kLockName);
  const Descriptor lock = OpenAt(number(), name, O_RDONLY);
  if (!lock.is_open()) {
    return errno == ENOENT ? absl::StatusOr<bool>(false)
                           : FailedTo("open", name);
  }
  // Taken for a moment if nobody has it: closing gives it back.
  if (Uninterrupted([&] { return flock(lock.number(), LOCK_SH | LOCK_NB); }) ==
      0) {
    return false;
  }
  return errno == EWOULDBLOCK ? absl::StatusOr<bool>(true)
                              : FailedTo("lock", name);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Directory>> OpenDirectory(
    const std::string& path) {
  const bool is_new = mkdir(path.c_str(), kDirectoryMode) == 0;
  if (!is_new && errno != EEXIST) {
    return Failed("make directory", path, errno);
  }
  Descriptor directory = OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  if (!directory.is_open()) {
    return Failed("open directory", path, errno);
  }
  if (is_new) {
    const Descriptor parent =
        OpenAt(directory.number(), "..", O_RDONLY | O_DIRECTORY);
    if (!parent.is_open() || fsync(parent.number()) != 0) {
      const int error = errno;
      rmdir(path.c_str());  // the next try makes it, and syncs, again
      return Failed("sync the parent of", path, error);
    }
  }
  return std::make_unique<PosixDirectory>(std::move(directory), path,
                                          Access::kChange);
}

absl::StatusOr<std::unique_ptr<Directory>> OpenDirectoryToRead(
    const std::string& path) {
  Descriptor directory = OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  if (!directory.is_open()) {
    return Failed("open directory", path, errno);
  }
  return std::make_unique<PosixDirectory>(std::move(directory), path,
                                          Access::kRead);
}

}  // namespace quire::journal
