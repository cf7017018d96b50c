#include "client/formats/zip_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/zip_member.h"

namespace quire::formats {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kDirectorySignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocatorSignature = 0x07064b50;

constexpr size_t kLocalBytes = 30;
constexpr size_t kDirectoryEntryBytes = 46;
constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kLocatorBytes = 20;
constexpr size_t kCommentBytesMax = 0xffff;

// Values of fields that an extra field of 64 bits has instead.
constexpr uint32_t kIn64 = 0xffffffff;
constexpr uint16_t kCountIn64 = 0xffff;
constexpr uint16_t kExtra64 = 1;

// Flags: encrypted, patched, strongly encrypted, masked.
constexpr uint16_t kFlagsRefused = 1u << 0 | 1u << 5 | 1u << 6 | 1u << 13;

// Little-endian numbers, one after the other.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  T Take() {
    T value = 0;
    std::memcpy(&value, rest_.data(), sizeof(value));
    rest_.remove_prefix(sizeof(value));
    return value;
  }
  void Skip(size_t bytes) { rest_.remove_prefix(bytes); }

 private:
  std::string_view rest_;
};

struct Directory {
  uint64_t count = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
};

absl::Status Damaged(std::string_view name, std::string_view what) {
  return InputError(fmt::format("'{}' is a damaged .zip file: {}", name, what));
}

// Where the end record is: the last place whose comment reaches the end of the
// file.
absl::StatusOr<size_t> FindEnd(Bytes& bytes) {
  const size_t tail_bytes =
      std::min(bytes.size(), kEndBytes + kCommentBytesMax);
  QUIRE_ASSIGN_OR_RETURN(
      const std::string tail,
      ReadRange(bytes, bytes.size() - tail_bytes, tail_bytes));
  for (size_t i = tail.size() < kEndBytes ? 0 : tail.size() - kEndBytes + 1;
       i-- > 0;) {
    Fields fields(std::string_view(tail).substr(i));
    if (fields.Take<uint32_t>() != kEndSignature) {
      continue;
    }
    fields.Skip(16);
    if (fields.Take<uint16_t>() == tail.size() - i - kEndBytes) {
      return bytes.size() - tail_bytes + i;
    }
  }
  return Damaged(bytes.name(),
                 "its directory is missing from its end: it is cut, or is no "
                 ".zip file");
}

// Whether `found`, a value of 64 bits, is what the end record has for it:
// `limit` if it had no room.
bool Agrees(uint64_t found, uint64_t told, uint64_t limit) {
  return told == limit || told == found;
}

// Replaces what the end record, at `end`, may have no room for, if there is a
// record of 64 bits in front of it; its place is then that of the first of the
// records at the end.
absl::Status ReadEnd64(Bytes& bytes, size_t& end, Directory& directory) {
  const Directory told = directory;
  const bool is_needed =
      told.count == kCountIn64 || told.size == kIn64 || told.offset == kIn64;
  const auto absent = [&] {
    return is_needed
               ? Damaged(bytes.name(), "the end record of 64 bits is not found")
               : absl::OkStatus();
  };
  if (end < kLocatorBytes + kEnd64Bytes) {
    return absent();
  }
  QUIRE_ASSIGN_OR_RETURN(const std::string locator,
                         ReadRange(bytes, end - kLocatorBytes, kLocatorBytes));
  Fields where(locator);
  if (where.Take<uint32_t>() != kLocatorSignature) {
    return absent();
  }
  where.Skip(4);
  const auto place = where.Take<uint64_t>();
  if (place > end - kLocatorBytes - kEnd64Bytes) {
    return absent();
  }
  QUIRE_ASSIGN_OR_RETURN(const std::string record,
                         ReadRange(bytes, place, kEnd64Bytes));
  Fields fields(record);
  if (fields.Take<uint32_t>() != kEnd64Signature) {
    return absent();
  }
  fields.Skip(8 + 2 + 2 + 4 + 4 + 8);
  directory.count = fields.Take<uint64_t>();
  directory.size = fields.Take<uint64_t>();
  directory.offset = fields.Take<uint64_t>();
  if (!Agrees(directory.count, told.count, kCountIn64) ||
      !Agrees(directory.size, told.size, kIn64) ||
      !Agrees(directory.offset, told.offset, kIn64)) {
    return Damaged(bytes.name(), "its two end records differ");
  }
  end = static_cast<size_t>(place);
  return absl::OkStatus();
}

absl::StatusOr<Directory> FindDirectory(Bytes& bytes) {
  QUIRE_ASSIGN_OR_RETURN(size_t end, FindEnd(bytes));
  QUIRE_ASSIGN_OR_RETURN(const std::string record,
                         ReadRange(bytes, end, kEndBytes));
  Fields fields(record);
  fields.Skip(4);
  const auto disk = fields.Take<uint16_t>();
  const auto directory_disk = fields.Take<uint16_t>();
  const auto count_here = fields.Take<uint16_t>();
  Directory directory;
  directory.count = fields.Take<uint16_t>();
  directory.size = fields.Take<uint32_t>();
  directory.offset = fields.Take<uint32_t>();
  if ((disk != 0 && disk != kCountIn64) || directory_disk != disk ||
      count_here != directory.count) {
    return InputError(fmt::format(
        "'{}' is a part of an archive of several files", bytes.name()));
  }
  QUIRE_RETURN_IF_ERROR(ReadEnd64(bytes, end, directory));
  if (directory.offset > end || directory.size != end - directory.offset) {
    return Damaged(bytes.name(),
                   fmt::format("a directory of {} bytes from byte {}; it would "
                               "end at byte {}",
                               directory.size, directory.offset, end));
  }
  if (directory.count > kZipMembersMax) {
    return InputError(fmt::format("'{}' has {} members; at most {} are read",
                                  bytes.name(), directory.count,
                                  kZipMembersMax));
  }
  if (directory.count > directory.size / kDirectoryEntryBytes) {
    return Damaged(bytes.name(),
                   fmt::format("{} members in a directory of {} bytes",
                               directory.count, directory.size));
  }
  return directory;
}

// Takes the sizes and the place of a member from its extra fields, if they are
// there. False if one is missing.
bool TakeExtra64(std::string_view extra, std::span<uint64_t* const> wanted) {
  std::vector<uint64_t*> missing;
  std::ranges::copy_if(wanted, std::back_inserter(missing),
                       [](const uint64_t* value) { return *value == kIn64; });
  if (missing.empty()) {
    return true;
  }
  while (extra.size() >= 4) {
    Fields fields(extra);
    const auto kind = fields.Take<uint16_t>();
    const auto size = fields.Take<uint16_t>();
    extra.remove_prefix(4);
    if (size > extra.size()) {
      return false;
    }
    if (kind == kExtra64) {
      if (size < missing.size() * sizeof(uint64_t)) {
        return false;
      }
      Fields values(extra);
      for (uint64_t* value : missing) {
        *value = values.Take<uint64_t>();
      }
      return true;
    }
    extra.remove_prefix(size);
  }
  return false;
}

// Reads the directory's entries, which are `text`.
class DirectoryParser {
 public:
  DirectoryParser(std::string_view archive, std::string_view text)
      : archive_(archive), rest_(text) {}

  absl::StatusOr<std::vector<ZipMember>> Parse(uint64_t count) {
    std::vector<ZipMember> members;
    for (uint64_t i = 0; i < count; ++i) {
      QUIRE_ASSIGN_OR_RETURN(ZipMember member, ParseOne(i));
      if (!names_.insert(member.name).second) {
        return InputError(fmt::format("'{}' has two members named '{}'",
                                      archive_, member.name));
      }
      members.push_back(std::move(member));
    }
    if (!rest_.empty()) {
      return Damaged(archive_, fmt::format("{} bytes follow the last of {} "
                                           "entries of its directory",
                                           rest_.size(), count));
    }
    return members;
  }

 private:
  absl::StatusOr<ZipMember> ParseOne(uint64_t index) {
    if (rest_.size() < kDirectoryEntryBytes ||
        Fields(rest_).Take<uint32_t>() != kDirectorySignature) {
      return Damaged(archive_, fmt::format("entry {} of its directory", index));
    }
    Fields fields(rest_);
    fields.Skip(8);
    ZipMember member;
    const auto flags = fields.Take<uint16_t>();
    member.method = fields.Take<uint16_t>();
    fields.Skip(4);
    member.crc = fields.Take<uint32_t>();
    uint64_t packed_size = fields.Take<uint32_t>();
    uint64_t size = fields.Take<uint32_t>();
    const auto name_bytes = fields.Take<uint16_t>();
    const auto extra_bytes = fields.Take<uint16_t>();
    const auto comment_bytes = fields.Take<uint16_t>();
    fields.Skip(8);
    uint64_t header_offset = fields.Take<uint32_t>();
    rest_.remove_prefix(kDirectoryEntryBytes);
    if (rest_.size() < size_t{name_bytes} + extra_bytes + comment_bytes) {
      return Damaged(archive_,
                     fmt::format("entry {} of its directory is cut", index));
    }
    member.name = rest_.substr(0, name_bytes);
    const std::string_view extra = rest_.substr(name_bytes, extra_bytes);
    rest_.remove_prefix(size_t{name_bytes} + extra_bytes + comment_bytes);
    if (!TakeExtra64(extra, std::to_array<uint64_t*>(
                                {&size, &packed_size, &header_offset}))) {
      return Damaged(archive_,
                     fmt::format("the sizes of '{}' are missing", member.name));
    }
    if ((flags & kFlagsRefused) != 0) {
      return InputError(fmt::format(
          "'{}' is encrypted ('{}'); unpack it and pack it without a password",
          archive_, member.name));
    }
    member.packed_size = packed_size;
    member.size = size;
    member.header_offset = header_offset;
    return member;
  }

  const std::string_view archive_;
  std::string_view rest_;
  std::unordered_set<std::string> names_;
};

// Finds the data of `member`: behind its own header, and in front of `limit`.
absl::Status ReadLocalHeader(Bytes& bytes, size_t limit, ZipMember& member) {
  const auto damaged = [&](std::string_view what) {
    return Damaged(bytes.name(), fmt::format("'{}' {}", member.name, what));
  };
  if (member.header_offset > limit ||
      limit - member.header_offset < kLocalBytes + member.name.size()) {
    return damaged("lies outside of the file, or over another member");
  }
  QUIRE_ASSIGN_OR_RETURN(
      const std::string header,
      ReadRange(bytes, member.header_offset, kLocalBytes + member.name.size()));
  Fields fields(header);
  const auto signature = fields.Take<uint32_t>();
  fields.Skip(4);
  const auto method = fields.Take<uint16_t>();
  fields.Skip(16);
  const auto name_bytes = fields.Take<uint16_t>();
  const auto extra_bytes = fields.Take<uint16_t>();
  if (signature != kLocalSignature || name_bytes != member.name.size() ||
      !header.ends_with(member.name) || method != member.method) {
    return damaged("is not where the directory says, or not the same there");
  }
  member.data_offset = member.header_offset + header.size() + extra_bytes;
  if (member.data_offset > limit ||
      member.packed_size > limit - member.data_offset) {
    return damaged("reaches beyond its place, over another member or the end");
  }
  return absl::OkStatus();
}

// Finds the data of all members, in the order in which they lie there.
absl::Status ReadLocalHeaders(Bytes& bytes, size_t directory_offset,
                              std::span<ZipMember> members) {
  std::vector<ZipMember*> order;
  order.reserve(members.size());
  for (ZipMember& member : members) {
    order.push_back(&member);
  }
  std::ranges::sort(order, {}, &ZipMember::header_offset);
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t limit =
        i + 1 < order.size()
            ? std::min(order[i + 1]->header_offset, directory_offset)
            : directory_offset;
    QUIRE_RETURN_IF_ERROR(ReadLocalHeader(bytes, limit, *order[i]));
  }
  return absl::OkStatus();
}

}  // namespace

bool ZipArchive::LooksLike(std::string_view head) {
  return head.starts_with("PK\x03\x04") || head.starts_with("PK\x05\x06");
}

absl::StatusOr<ZipArchive> ZipArchive::Open(std::shared_ptr<Bytes> bytes) {
  QUIRE_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(*bytes));
  std::vector<ZipMember> members;
  {
    QUIRE_ASSIGN_OR_RETURN(const std::string text,
                           ReadRange(*bytes, directory.offset, directory.size));
    QUIRE_ASSIGN_OR_RETURN(
        members, DirectoryParser(bytes->name(), text).Parse(directory.count));
  }
  QUIRE_RETURN_IF_ERROR(ReadLocalHeaders(*bytes, directory.offset, members));
  return ZipArchive(std::move(bytes), std::move(members));
}

ZipArchive::ZipArchive(std::shared_ptr<Bytes> bytes,
                       std::vector<ZipMember> members)
    : bytes_(std::move(bytes)), members_(std::move(members)) {}

const ZipMember* ZipArchive::Find(std::string_view name) const {
  const auto found = std::ranges::find(members_, name, &ZipMember::name);
  return found == members_.end() ? nullptr : &*found;
}

absl::StatusOr<std::shared_ptr<Bytes>> ZipArchive::BytesOf(
    const ZipMember& member) const {
  return OpenMember(bytes_, member);
}

}  // namespace quire::formats
