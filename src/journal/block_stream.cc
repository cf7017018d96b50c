#include "journal/block_stream.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace quire::journal {
namespace {

// One write: large enough for a disk, small enough that others wait little.
constexpr size_t kBufferBytes = size_t{256} << 10;
static_assert(kBufferBytes % kBlockBytes == 0);

}  // namespace

void BlockStream::Free::operator()(std::byte* memory) const {
  std::free(memory);
}

BlockStream::BlockStream(std::unique_ptr<File> file)
    : file_(std::move(file)),
      buffer_(static_cast<std::byte*>(
          std::aligned_alloc(kBlockBytes, kBufferBytes))) {
  QUIRE_CHECK(buffer_ != nullptr, "there is memory for a buffer");
}

absl::StatusOr<std::unique_ptr<BlockStream>> BlockStream::Create(
    Directory& directory, std::string_view name) {
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                         directory.CreateUncached(name));
  return std::unique_ptr<BlockStream>(new BlockStream(std::move(file)));
}

absl::Status BlockStream::Append(std::span<const Bytes> pieces) {
  for (Bytes piece : pieces) {
    while (!piece.empty()) {
      const size_t size = std::min(piece.size(), kBufferBytes - filled_);
      std::memcpy(buffer_.get() + filled_, piece.data(), size);
      filled_ += size;
      piece = piece.subspan(size);
      if (filled_ == kBufferBytes) {
        QUIRE_RETURN_IF_ERROR(Write(kBufferBytes));
        buffer_begin_ += kBufferBytes;
        filled_ = 0;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status BlockStream::Sync() {
  // The last block is written whole, then cut; if more follows, again.
  const size_t blocks = (filled_ + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  std::memset(buffer_.get() + filled_, 0, blocks - filled_);
  if (blocks > 0) {
    QUIRE_RETURN_IF_ERROR(Write(blocks));
  }
  QUIRE_RETURN_IF_ERROR(
      file_->Resize(buffer_begin_ + static_cast<int64_t>(filled_)));
  return file_->Sync();
}

absl::Status BlockStream::Write(size_t size) {
  const Bytes bytes(buffer_.get(), size);
  return file_->Write(buffer_begin_, {&bytes, 1});
}

}  // namespace quire::journal
