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

absl::StatusOr<OutputFile> OutputFile::Create(std::string_view path) {
  if (path == "-") {
    return OutputFile({fdopen(dup(STDOUT_FILENO), "wb"), Close()},
                      "standard output", "");
  }
  std::string target = Resolve(std::string(path));
  std::string temporary =
      IsSpecial(target) ? "" : fmt::format("{}.partial.{}", target, getpid());
  const std::string& opened = temporary.empty() ? target : temporary;
  std::unique_ptr<std::FILE, Close> file(std::fopen(opened.c_str(), "wb"));
  if (file == nullptr) {
    return CannotWrite(path);
  }
  return OutputFile(std::move(file), std::move(target), std::move(temporary));
}

OutputFile::OutputFile(std::unique_ptr<std::FILE, Close> file, std::string path,
                       std::string temporary_path)
    : file_(std::move(file)),
      path_(std::move(path)),
      temporary_path_(std::move(temporary_path)) {}

OutputFile::~OutputFile() {
  if (file_ != nullptr && !temporary_path_.empty()) {
    unlink(temporary_path_.c_str());
  }
}

absl::Status OutputFile::Write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) {
    return Failed();
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Commit() {
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
