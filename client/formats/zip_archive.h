// The members of a .zip file, as numpy and torch write them.
//
//   archive  := member* directory [end64 locator] end
//   member   := local-header data [descriptor]
//
// What counts is the directory at the end. Members are stored or deflated;
// sizes may be of 64 bits (zip64). Encrypted archives, those of several disks,
// and members that overlap or have the same name are refused.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/formats/bytes.h"

namespace quire::formats {

// Members of one archive: a directory of them takes 20 MiB.
inline constexpr size_t kZipMembersMax = size_t{1} << 17;

struct ZipMember {
  std::string name;
  uint32_t crc = 0;
  // 0 stored, 8 deflated; others cannot be read.
  uint16_t method = 0;
  size_t packed_size = 0;
  size_t size = 0;
  size_t header_offset = 0;
  size_t data_offset = 0;
};

// Thread safety: one thread at a time.
class ZipArchive {
 public:
  // Whether `head`, the first bytes of an input, begins an archive.
  static bool LooksLike(std::string_view head);

  // Reads the directory, and the header of each member.
  static absl::StatusOr<ZipArchive> Open(std::shared_ptr<Bytes> bytes);

  const std::string& name() const { return bytes_->name(); }
  // Of the archive, in bytes.
  size_t size() const { return bytes_->size(); }

  // In the order of the directory.
  std::span<const ZipMember> members() const { return members_; }
  const ZipMember* Find(std::string_view name) const;

  // The bytes of a member, unpacked as they are read. Whoever reads them from
  // the first to the last, or ahead of that only, learns if they do not fit
  // their checksum.
  absl::StatusOr<std::shared_ptr<Bytes>> BytesOf(const ZipMember& member) const;

 private:
  ZipArchive(std::shared_ptr<Bytes> bytes, std::vector<ZipMember> members);

  std::shared_ptr<Bytes> bytes_;
  std::vector<ZipMember> members_;
};

}  // namespace quire::formats
