#include "client/formats/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

// One request to the disk or the unpacker.
constexpr size_t kReadBytes = size_t{1} << 20;

// One read from a pipe.
constexpr size_t kPipeBytes = size_t{64} << 10;

// A gzip stream, or, as zlib reads those unchanged, any other file.
class GzSource : public ByteSource {
 public:
  // `file` owns `descriptor`.
  GzSource(gzFile file, int descriptor, std::string name)
      : ByteSource(std::move(name)), file_(file), descriptor_(descriptor) {
    gzbuffer(file_, kReadBytes);
  }
  ~GzSource() override { gzclose(file_); }

  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    const size_t wanted = std::min(buffer.size(), kReadBytes);
    const int count =
        gzread(file_, buffer.data(), static_cast<unsigned>(wanted));
    int code = Z_OK;
    const char* message = gzerror(file_, &code);
    // A stream that ends too soon gives what it has, and Z_BUF_ERROR.
    if (count < 0 || code == Z_BUF_ERROR) {
      return InputError(
          fmt::format("cannot read '{}': {}", name(),
                      code == Z_ERRNO ? std::strerror(errno) : message));
    }
    return static_cast<size_t>(count);
  }

  absl::Status Rewind() override {
    if (gzrewind(file_) != 0) {
      return InputError(fmt::format("cannot read '{}' twice", name()));
    }
    return absl::OkStatus();
  }

  int descriptor() const override {
    return gzdirect(file_) != 0 ? descriptor_ : -1;
  }

  size_t size_max() const override {
    struct stat status = {};
    const size_t size = fstat(descriptor_, &status) == 0
                            ? static_cast<size_t>(status.st_size)
                            : 0;
    return descriptor() >= 0 ? size : size * kDeflateRatioMax;
  }

 private:
  const gzFile file_;
  const int descriptor_;
};

class MemorySource : public ByteSource {
 public:
  MemorySource(std::string bytes, std::string name)
      : ByteSource(std::move(name)), bytes_(std::move(bytes)) {}

  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    const size_t count = std::min(buffer.size(), bytes_.size() - position_);
    std::memcpy(buffer.data(), bytes_.data() + position_, count);
    position_ += count;
    return count;
  }

  absl::Status Rewind() override {
    position_ = 0;
    return absl::OkStatus();
  }

  size_t size_max() const override { return bytes_.size(); }

 private:
  const std::string bytes_;
  size_t position_ = 0;
};

absl::Status CannotOpen(std::string_view name, int error) {
  return InputError(
      fmt::format("cannot open '{}': {}", name, std::strerror(error)));
}

// A descriptor that is closed, unless it is released.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) {
      close(value_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

absl::Status CannotRead(std::string_view name) {
  return InputError(
      fmt::format("cannot read '{}': {}", name, std::strerror(errno)));
}

absl::Status WriteAll(int descriptor, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR) {
      return absl::ResourceExhaustedError(fmt::format(
          "cannot hold an input in memory: {}", std::strerror(errno)));
    }
    bytes = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(count, 0)));
  }
  return absl::OkStatus();
}

// All that can be read from `descriptor`, as a file in memory.
absl::StatusOr<int> HoldInMemory(const Descriptor& descriptor,
                                 std::string_view name) {
  Descriptor held(memfd_create("quire", MFD_CLOEXEC));
  if (held.get() < 0) {
    return CannotRead(name);
  }
  std::string buffer(kPipeBytes, '\0');
  for (;;) {
    const ssize_t count = read(descriptor.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return CannotRead(name);
    }
    if (count == 0) {
      lseek(held.get(), 0, SEEK_SET);
      return held.release();
    }
    QUIRE_RETURN_IF_ERROR(WriteAll(
        held.get(), std::span(buffer.data(), static_cast<size_t>(count))));
  }
}

// Takes `owned` over.
absl::StatusOr<std::unique_ptr<ByteSource>> SourceOfDescriptor(
    int owned, std::string_view name) {
  Descriptor descriptor(owned);
  struct stat status = {};
  if (descriptor.get() < 0 || fstat(descriptor.get(), &status) != 0) {
    return CannotOpen(name, errno);
  }
  if (S_ISDIR(status.st_mode)) {
    return CannotOpen(name, EISDIR);
  }
  int readable = -1;
  if (S_ISREG(status.st_mode)) {
    readable = descriptor.release();
  } else {
    QUIRE_ASSIGN_OR_RETURN(readable, HoldInMemory(descriptor, name));
  }
  gzFile file = gzdopen(readable, "rb");
  QUIRE_CHECK(file != nullptr, "zlib has memory for a file");
  return std::make_unique<GzSource>(file, readable, std::string(name));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenSource(std::string_view path) {
  if (path == "-") {
    return SourceOfDescriptor(dup(STDIN_FILENO), "standard input");
  }
  return SourceOfDescriptor(
      open(std::string(path).c_str(), O_RDONLY | O_CLOEXEC), path);
}

std::unique_ptr<ByteSource> SourceOf(std::string bytes, std::string_view name) {
  return std::make_unique<MemorySource>(std::move(bytes), std::string(name));
}

absl::StatusOr<std::string> ReadAll(ByteSource& source) {
  std::string bytes;
  for (size_t size = 0;;) {
    bytes.resize(std::max(size + kReadBytes, 2 * size));
    QUIRE_ASSIGN_OR_RETURN(
        const size_t count,
        source.Read(std::span(bytes.data() + size, bytes.size() - size)));
    size += count;
    if (count == 0) {
      bytes.resize(size);
      return bytes;
    }
  }
}

absl::StatusOr<std::string> Peek(ByteSource& source, size_t count) {
  std::string bytes(count, '\0');
  size_t size = 0;
  while (size < count) {
    QUIRE_ASSIGN_OR_RETURN(
        const size_t more,
        source.Read(std::span(bytes.data() + size, count - size)));
    if (more == 0) {
      break;
    }
    size += more;
  }
  bytes.resize(size);
  QUIRE_RETURN_IF_ERROR(source.Rewind());
  return bytes;
}

}  // namespace quire::formats
