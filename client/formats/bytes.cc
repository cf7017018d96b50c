#include "client/formats/bytes.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

// What is skipped is read in pieces of this size.
constexpr size_t kSkipBytes = size_t{16} << 10;

class FileBytes : public Bytes {
 public:
  // `source` has a descriptor.
  FileBytes(std::unique_ptr<ByteSource> source, size_t size)
      : Bytes(source->name(), size), source_(std::move(source)) {}

  absl::Status ReadAt(size_t offset, std::span<char> out) override {
    while (!out.empty()) {
      const ssize_t count = pread(source_->descriptor(), out.data(), out.size(),
                                  static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count <= 0) {
        return InputError(fmt::format(
            "'{}' {}", name(),
            count < 0 ? fmt::format("cannot be read: {}", std::strerror(errno))
                      : "became shorter while it was read"));
      }
      out = out.subspan(static_cast<size_t>(count));
      offset += static_cast<size_t>(count);
    }
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<ByteSource> source_;
};

// Of a source that can only go forward, or begin again.
class StreamBytes : public Bytes {
 public:
  // `source` stands at its first byte.
  StreamBytes(std::unique_ptr<ByteSource> source, size_t size)
      : Bytes(source->name(), size), source_(std::move(source)) {}

  absl::Status ReadAt(size_t offset, std::span<char> out) override {
    if (offset < position_) {
      QUIRE_RETURN_IF_ERROR(source_->Rewind());
      position_ = 0;
    }
    char skipped[kSkipBytes];
    while (position_ < offset) {
      QUIRE_RETURN_IF_ERROR(ReadOn(
          std::span(skipped).first(std::min(kSkipBytes, offset - position_))));
    }
    return ReadOn(out);
  }

 private:
  absl::Status ReadOn(std::span<char> out) {
    while (!out.empty()) {
      QUIRE_ASSIGN_OR_RETURN(const size_t count, source_->Read(out));
      if (count == 0) {
        return InputError(fmt::format("'{}' ends after {} bytes of {}", name(),
                                      position_, size()));
      }
      position_ += count;
      out = out.subspan(count);
    }
    return absl::OkStatus();
  }

  const std::unique_ptr<ByteSource> source_;
  size_t position_ = 0;
};

class PartBytes : public Bytes {
 public:
  PartBytes(std::shared_ptr<Bytes> whole, size_t offset, size_t size,
            std::string name)
      : Bytes(std::move(name), size),
        whole_(std::move(whole)),
        offset_(offset) {}

  absl::Status ReadAt(size_t offset, std::span<char> out) override {
    return whole_->ReadAt(offset_ + offset, out);
  }

 private:
  const std::shared_ptr<Bytes> whole_;
  const size_t offset_;
};

// Reads through `source` to its end.
absl::StatusOr<size_t> CountBytes(ByteSource& source) {
  size_t size = 0;
  char ignored[kSkipBytes];
  for (;;) {
    QUIRE_ASSIGN_OR_RETURN(const size_t count, source.Read(ignored));
    if (count == 0) {
      return size;
    }
    size += count;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Bytes>> BytesOf(
    std::unique_ptr<ByteSource> source) {
  struct stat status = {};
  if (source->descriptor() >= 0 && fstat(source->descriptor(), &status) == 0) {
    return std::make_shared<FileBytes>(std::move(source),
                                       static_cast<size_t>(status.st_size));
  }
  QUIRE_RETURN_IF_ERROR(source->Rewind());
  QUIRE_ASSIGN_OR_RETURN(const size_t size, CountBytes(*source));
  QUIRE_RETURN_IF_ERROR(source->Rewind());
  return BytesOf(std::move(source), size);
}

std::shared_ptr<Bytes> BytesOf(std::unique_ptr<ByteSource> source,
                               size_t size) {
  return std::make_shared<StreamBytes>(std::move(source), size);
}

std::shared_ptr<Bytes> PartOf(std::shared_ptr<Bytes> whole, size_t offset,
                              size_t size, std::string name) {
  return std::make_shared<PartBytes>(std::move(whole), offset, size,
                                     std::move(name));
}

absl::StatusOr<std::string> ReadRange(Bytes& bytes, size_t offset,
                                      size_t size) {
  std::string range(size, '\0');
  QUIRE_RETURN_IF_ERROR(bytes.ReadAt(offset, range));
  return range;
}

}  // namespace quire::formats
