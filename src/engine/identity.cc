#include "engine/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "journal/packing.h"

namespace quire {
namespace {

constexpr std::string_view kDraftName = "IDENTITY.draft";

// "QUIREDIR", format, identity, zeros, checksum: docs/FORMATS.md.
constexpr std::array<char, 8> kMagic = {'Q', 'U', 'I', 'R', 'E', 'D', 'I', 'R'};
using IdentityFile = std::array<std::byte, 64>;

absl::StatusOr<bool> HasFile(const journal::Directory& directory,
                             std::string_view name) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         directory.List());
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

journal::Identity FreshIdentity() {
  std::random_device random;
  journal::Identity identity;
  std::ranges::generate(identity,
                        [&] { return static_cast<std::byte>(random()); });
  return identity;
}

bool MayPrecedeIdentity(std::string_view name) {
  return name == "LOCK" || name == kDraftName || name == "lost+found";
}

absl::StatusOr<journal::Identity> ReadIdentity(journal::Directory& root) {
  QUIRE_ASSIGN_OR_RETURN(const bool is_there, HasFile(root, kIdentityName));
  if (!is_there) {
    return Error(Reason::kForeignData,
                 fmt::format("{} has no file {}: it is no data directory",
                             root.path(), kIdentityName));
  }
  QUIRE_ASSIGN_OR_RETURN(const auto file, root.Open(kIdentityName));
  IdentityFile bytes = {};
  QUIRE_ASSIGN_OR_RETURN(const size_t size, file->Read(0, bytes));
  journal::Unpacker unpacker(bytes);
  if (size != bytes.size() || unpacker.Take<std::array<char, 8>>() != kMagic ||
      !journal::IsSealed(bytes, 0)) {
    return Error(
        Reason::kCorrupt,
        fmt::format("{} is damaged. Put it back from a copy of this data "
                    "directory: 64 bytes, the same since it was made",
                    journal::PathOf(root, kIdentityName)));
  }
  const auto major = unpacker.Take<uint16_t>();
  unpacker.Take<uint16_t>();
  const auto features = unpacker.Take<uint32_t>();
  if (major > journal::kFormatMajor || features != 0) {
    return Error(Reason::kFormatTooNew,
                 fmt::format("{} was written by a later version of Quire "
                             "(format {}, features {:#x}); start that one. "
                             "Nothing was changed",
                             root.path(), major, features));
  }
  return unpacker.Take<journal::Identity>();
}

absl::Status WriteIdentity(journal::Directory& root,
                           const journal::Identity& identity) {
  IdentityFile bytes = {};
  journal::Packer packer(bytes);
  packer.Put(kMagic);
  packer.Put(journal::kFormatMajor);
  packer.Put(journal::kFormatMinor);
  packer.Put(uint32_t{0});
  packer.Put(identity);
  journal::Seal(bytes, 0);
  QUIRE_ASSIGN_OR_RETURN(const bool has_draft, HasFile(root, kDraftName));
  if (has_draft) {
    QUIRE_RETURN_IF_ERROR(root.Remove(kDraftName));
  }
  QUIRE_ASSIGN_OR_RETURN(const auto file, root.Create(kDraftName));
  const Bytes piece = bytes;
  QUIRE_RETURN_IF_ERROR(file->Write(0, {&piece, 1}));
  QUIRE_RETURN_IF_ERROR(file->Sync());
  QUIRE_RETURN_IF_ERROR(root.Rename(kDraftName, kIdentityName));
  return root.Sync();
}

}  // namespace quire
