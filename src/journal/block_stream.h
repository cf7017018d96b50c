// A file that is written once, from its beginning to its end, past the page
// cache where the system can: gigabytes that nobody reads soon would push out
// what others read, and cost twice the work.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "journal/files.h"

namespace quire::journal {

class BlockStream {
 public:
  // A new file. Errors are those of Directory::CreateUncached.
  static absl::StatusOr<std::unique_ptr<BlockStream>> Create(
      Directory& directory, std::string_view name);

  // Puts `pieces` behind what is there. They reach the file in whole buffers:
  // an error may be that of an earlier Append. Nothing is called after one.
  absl::Status Append(std::span<const Bytes> pieces);

  // All that was appended is in the file, and on the disk. More may follow.
  absl::Status Sync();

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };

  explicit BlockStream(std::unique_ptr<File> file);
  // What is in the buffer, up to `size` bytes of it.
  absl::Status Write(size_t size);

  const std::unique_ptr<File> file_;
  // What is behind buffer_begin_ in the file: filled_ bytes so far.
  const std::unique_ptr<std::byte[], Free> buffer_;
  size_t filled_ = 0;
  int64_t buffer_begin_ = 0;
};

}  // namespace quire::journal
