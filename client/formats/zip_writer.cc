#include "client/formats/zip_writer.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace quire::formats {
namespace {

// torch maps storages into memory where they lie.
constexpr uint64_t kAlignment = 64;

// What 32 bits cannot hold is in a field of 64.
constexpr uint64_t kIn64 = 0xffffffff;
constexpr uint64_t kCountIn64 = 0xffff;

constexpr size_t kLocalBytes = 30;
constexpr uint16_t kVersion = 20;
constexpr uint16_t kVersion64 = 45;
// The checksum follows the data.
constexpr uint16_t kFlags = 1u << 3;
// 1980-01-01, the first day that there is.
constexpr uint16_t kDate = 1u << 5 | 1u;
constexpr uint16_t kExtra64 = 1;
// "FB", as torch pads.
constexpr uint16_t kExtraPadding = 0x4246;

template <typename... Numbers>
void AppendNumbers(std::string& out, Numbers... numbers) {
  (out.append(reinterpret_cast<const char*>(&numbers), sizeof(numbers)), ...);
}

uint32_t Low32(uint64_t value) {
  return static_cast<uint32_t>(std::min(value, kIn64));
}

uint16_t Size16(size_t size) { return static_cast<uint16_t>(size); }

bool Is64(uint64_t value) { return value >= kIn64; }

}  // namespace

absl::StatusOr<size_t> ZipWriter::Add(std::string name, uint64_t size) {
  std::string extra;
  if (Is64(size)) {
    AppendNumbers(extra, kExtra64, uint16_t{16}, size, size);
  }
  // Padding is a field with a head of 4 bytes.
  const uint64_t unpadded = end_ + kLocalBytes + name.size() + extra.size() + 4;
  const uint64_t padding = (kAlignment - unpadded % kAlignment) % kAlignment;
  AppendNumbers(extra, kExtraPadding, static_cast<uint16_t>(padding));
  extra.append(padding, 'Z');

  const bool is_64 = Is64(size);
  std::string header;
  AppendNumbers(header, uint32_t{0x04034b50}, is_64 ? kVersion64 : kVersion,
                kFlags, uint16_t{0}, uint16_t{0}, kDate, uint32_t{0},
                Low32(size), Low32(size), Size16(name.size()),
                Size16(extra.size()));
  header += name + extra;
  QUIRE_RETURN_IF_ERROR(file_.WriteAt(end_, header));
  Member member = {.name = std::move(name),
                   .size = size,
                   .header_offset = end_,
                   .data_offset = end_ + header.size()};
  end_ = member.data_offset + size + (is_64 ? 24 : 16);
  members_.push_back(std::move(member));
  if (size == 0) {
    QUIRE_RETURN_IF_ERROR(WriteDescriptor(members_.back()));
  }
  return members_.size() - 1;
}

absl::Status ZipWriter::Append(size_t index, std::string_view bytes) {
  Member& member = members_[index];
  QUIRE_CHECK(bytes.size() <= member.size - member.written,
              "a member is as long as was said");
  if (bytes.empty()) {
    return absl::OkStatus();
  }
  member.crc = static_cast<uint32_t>(crc32_z(
      member.crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  QUIRE_RETURN_IF_ERROR(
      file_.WriteAt(member.data_offset + member.written, bytes));
  member.written += bytes.size();
  return member.written == member.size ? WriteDescriptor(member)
                                       : absl::OkStatus();
}

absl::Status ZipWriter::AddWhole(std::string name, std::string_view bytes) {
  QUIRE_ASSIGN_OR_RETURN(const size_t member,
                         Add(std::move(name), bytes.size()));
  return Append(member, bytes);
}

absl::Status ZipWriter::WriteDescriptor(const Member& member) {
  std::string descriptor;
  AppendNumbers(descriptor, uint32_t{0x08074b50}, member.crc);
  if (Is64(member.size)) {
    AppendNumbers(descriptor, member.size, member.size);
  } else {
    AppendNumbers(descriptor, Low32(member.size), Low32(member.size));
  }
  return file_.WriteAt(member.data_offset + member.size, descriptor);
}

absl::Status ZipWriter::Finish() {
  std::string directory;
  for (const Member& member : members_) {
    QUIRE_CHECK(member.written == member.size, "members are complete");
    std::string extra;
    if (Is64(member.size)) {
      AppendNumbers(extra, member.size, member.size);
    }
    if (Is64(member.header_offset)) {
      AppendNumbers(extra, member.header_offset);
    }
    const uint16_t extra_size = Size16(extra.size());
    const uint16_t extra_bytes = extra.empty() ? 0 : Size16(extra_size + 4);
    const uint16_t version = extra.empty() ? kVersion : kVersion64;
    AppendNumbers(
        directory, uint32_t{0x02014b50}, version, version, kFlags, uint16_t{0},
        uint16_t{0}, kDate, member.crc, Low32(member.size), Low32(member.size),
        Size16(member.name.size()), extra_bytes, uint16_t{0}, uint16_t{0},
        uint16_t{0}, uint32_t{0}, Low32(member.header_offset));
    directory += member.name;
    if (!extra.empty()) {
      AppendNumbers(directory, kExtra64, extra_size);
      directory += extra;
    }
  }
  const uint64_t count = members_.size();
  const uint64_t size = directory.size();
  if (Is64(end_) || Is64(size) || count >= kCountIn64) {
    AppendNumbers(directory, uint32_t{0x06064b50}, uint64_t{44}, kVersion64,
                  kVersion64, uint32_t{0}, uint32_t{0}, count, count, size,
                  end_);
    AppendNumbers(directory, uint32_t{0x07064b50}, uint32_t{0}, end_ + size,
                  uint32_t{1});
  }
  const auto count16 = static_cast<uint16_t>(std::min(count, kCountIn64));
  AppendNumbers(directory, uint32_t{0x06054b50}, uint16_t{0}, uint16_t{0},
                count16, count16, Low32(size), Low32(end_), uint16_t{0});
  return file_.WriteAt(end_, directory);
}

}  // namespace quire::formats
