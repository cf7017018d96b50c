// Bytes of an input from any place, and no more in memory than was asked for.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/formats/byte_source.h"

namespace quire::formats {

// Thread safety: one thread at a time.
class Bytes {
 public:
  virtual ~Bytes() = default;

  // As messages name it: "vectors.npz", "vectors.npz: weight.npy".
  const std::string& name() const { return name_; }
  size_t size() const { return size_; }

  // Fills `out` from `offset`; the range lies within size(). An error names
  // what it is of.
  virtual absl::Status ReadAt(size_t offset, std::span<char> out) = 0;

 protected:
  Bytes(std::string name, size_t size) : name_(std::move(name)), size_(size) {}

 private:
  const std::string name_;
  const size_t size_;
};

// All of `source`. What it unpacks on the way is read through once to learn its
// size, and again from the start whenever an earlier place is asked for: quick
// as long as one goes forward.
absl::StatusOr<std::shared_ptr<Bytes>> BytesOf(
    std::unique_ptr<ByteSource> source);

// `size` bytes of a source whose size is known; that it ends there is for the
// source to check.
std::shared_ptr<Bytes> BytesOf(std::unique_ptr<ByteSource> source, size_t size);

// The range [offset, offset + size) of `whole`, which has it.
std::shared_ptr<Bytes> PartOf(std::shared_ptr<Bytes> whole, size_t offset,
                              size_t size, std::string name);

// Reads a whole range at once.
absl::StatusOr<std::string> ReadRange(Bytes& bytes, size_t offset, size_t size);

}  // namespace quire::formats
