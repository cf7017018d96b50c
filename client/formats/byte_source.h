// The bytes of an input, from the first to the last, twice if need be.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quire::formats {

// Where bytes come from. Thread safety: one thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // As messages name it: "vectors.txt", "standard input".
  const std::string& name() const { return name_; }

  // Fills the front of `buffer` and returns how much; 0 after the last byte.
  virtual absl::StatusOr<size_t> Read(std::span<char> buffer) = 0;

  // The next Read gives the first byte again.
  virtual absl::Status Rewind() = 0;

  // The descriptor of a file that is read as it lies on the disk, so that its
  // bytes may be had from any place (pread); -1 otherwise. Stays open as long
  // as this lives.
  virtual int descriptor() const { return -1; }

  // No more bytes than this can come: of what is packed, what its size allows.
  virtual size_t size_max() const = 0;

 protected:
  explicit ByteSource(std::string name) : name_(std::move(name)) {}

 private:
  const std::string name_;
};

// What deflate can make of one byte.
inline constexpr size_t kDeflateRatioMax = 1032;

// Opens a file, or standard input for "-". What begins like gzip is unpacked
// on the way. What can be read only once, standard input or a pipe, is held in
// memory as it came, packed or not.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenSource(std::string_view path);

// Bytes that are here already.
std::unique_ptr<ByteSource> SourceOf(std::string bytes, std::string_view name);

// All bytes from where `source` stands.
absl::StatusOr<std::string> ReadAll(ByteSource& source);

// The first bytes of `source`, at most `count`; the source is rewound.
absl::StatusOr<std::string> Peek(ByteSource& source, size_t count);

}  // namespace quire::formats
