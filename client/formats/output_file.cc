#include "client/formats/output_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

// What is copied at a time.
constexpr size_t kCopyBytes = size_t{1} << 20;

absl::Status CannotWrite(std::string_view path) {
  return InputError(
      fmt::format("cannot write '{}': {}", path, std::strerror(errno)));
}

bool IsSpecial(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
}

// What a link points to, so that it is the target that is replaced.
std::string Resolve(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  std::string result = resolved == nullptr ? path : resolved;
  std::free(resolved);
  return result;
}

}  // namespace

absl::StatusOr<OutputFile> OutputFile::Create(std::string_view path,
                                              Order order) {
  std::string target = "standard output";
  std::string temporary;
  File file;
  if (path == "-") {
    file.reset(fdopen(dup(STDOUT_FILENO), "wb"));
  } else {
    target = Resolve(std::string(path));
    if (!IsSpecial(target)) {
      temporary = fmt::format("{}.partial.{}", target, getpid());
    }
    file.reset(
        std::fopen((temporary.empty() ? target : temporary).c_str(), "wb"));
  }
  if (file == nullptr) {
    return CannotWrite(path);
  }
  File spool;
  if (order == Order::kAny && temporary.empty()) {
    spool.reset(std::tmpfile());
    if (spool == nullptr) {
      return CannotWrite("a temporary file");
    }
  }
  return OutputFile(std::move(file), std::move(target), std::move(temporary),
                    std::move(spool));
}

OutputFile::OutputFile(File file, std::string path, std::string temporary_path,
                       File spool)
    : file_(std::move(file)),
      path_(std::move(path)),
      temporary_path_(std::move(temporary_path)),
      spool_(std::move(spool)) {}

OutputFile::~OutputFile() {
  if (file_ != nullptr && !temporary_path_.empty()) {
    unlink(temporary_path_.c_str());
  }
}

absl::Status OutputFile::Write(std::string_view bytes) {
  std::FILE* file = spool_ != nullptr ? spool_.get() : file_.get();
  if (std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size()) {
    return Failed();
  }
  position_ += bytes.size();
  return absl::OkStatus();
}

absl::Status OutputFile::WriteAt(uint64_t offset, std::string_view bytes) {
  if (offset != position_) {
    std::FILE* file = spool_ != nullptr ? spool_.get() : file_.get();
    if (fseeko(file, static_cast<off_t>(offset), SEEK_SET) != 0) {
      return Failed();
    }
    position_ = offset;
  }
  return Write(bytes);
}

absl::Status OutputFile::CopySpool() {
  std::rewind(spool_.get());
  std::string buffer(kCopyBytes, '\0');
  for (;;) {
    const size_t count =
        std::fread(buffer.data(), 1, buffer.size(), spool_.get());
    if (count == 0) {
      return std::ferror(spool_.get()) == 0 ? absl::OkStatus() : Failed();
    }
    if (std::fwrite(buffer.data(), 1, count, file_.get()) != count) {
      return Failed();
    }
  }
}

absl::Status OutputFile::Commit() {
  if (spool_ != nullptr) {
    QUIRE_RETURN_IF_ERROR(CopySpool());
  }
  if (std::fflush(file_.get()) != 0) {
    return Failed();
  }
  if (!temporary_path_.empty() &&
      std::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    return Failed();
  }
  file_.reset();
  return absl::OkStatus();
}

absl::Status OutputFile::Failed() const { return CannotWrite(path_); }

}  // namespace quire::formats
