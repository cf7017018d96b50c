#include "engine/backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/identity.h"
#include "engine/table_spec.h"
#include "journal/log_reader.h"
#include "journal/packing.h"
#include "journal/posix_files.h"
#include "journal/snapshot_reader.h"

namespace quire {
namespace {

namespace fs = std::filesystem;

// "QUIREBAK", format, position, snapshot, zeros, checksum: docs/FORMATS.md.
constexpr std::array<char, 8> kMagic = {'Q', 'U', 'I', 'R', 'E', 'B', 'A', 'K'};
using MarkFile = std::array<std::byte, 64>;

absl::Status NoPlace(std::string_view path, std::string_view why,
                     std::string_view field) {
  return Error(Reason::kBadValue,
               fmt::format("no backup can be made in {:?}: {}. Nothing was "
                           "changed",
                           path, why),
               field);
}

std::string_view MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// Whether `inner` is `outer` or lies in it; both are canonical.
bool IsWithin(const fs::path& inner, const fs::path& outer) {
  return std::ranges::mismatch(outer, inner).in1 == outer.end();
}

}  // namespace

absl::StatusOr<BackupMark> ReadBackupMark(journal::Directory& backup) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, backup.List());
  if (!std::ranges::binary_search(names, kBackupName)) {
    return Error(Reason::kForeignData,
                 fmt::format("{} has no file {}: it is no backup, or was not "
                             "finished",
                             backup.path(), kBackupName));
  }
  QUIRE_ASSIGN_OR_RETURN(const auto file, backup.Open(kBackupName));
  MarkFile bytes = {};
  QUIRE_ASSIGN_OR_RETURN(const size_t size, file->Read(0, bytes));
  journal::Unpacker unpacker(bytes);
  if (size != bytes.size() || unpacker.Take<std::array<char, 8>>() != kMagic ||
      !journal::IsSealed(bytes, 0)) {
    return Error(Reason::kCorrupt,
                 fmt::format("{} is damaged. Restore another backup",
                             journal::PathOf(backup, kBackupName)));
  }
  const auto major = unpacker.Take<uint16_t>();
  unpacker.Take<uint16_t>();
  const auto features = unpacker.Take<uint32_t>();
  if (major > journal::kFormatMajor || features != 0) {
    return Error(Reason::kFormatTooNew,
                 fmt::format("{} was made by a later version of Quire (format "
                             "{}, features {:#x}); use that one",
                             backup.path(), major, features));
  }
  BackupMark mark;
  mark.epoch = unpacker.Take<uint64_t>();
  mark.lsn = unpacker.Take<uint64_t>();
  mark.snapshot_lsn = unpacker.Take<uint64_t>();
  return mark;
}

absl::Status WriteBackupMark(journal::Directory& backup,
                             const BackupMark& mark) {
  MarkFile bytes = {};
  journal::Packer packer(bytes);
  packer.Put(kMagic);
  packer.Put(journal::kFormatMajor);
  packer.Put(journal::kFormatMinor);
  packer.Put(uint32_t{0});
  packer.Put(mark.epoch);
  packer.Put(mark.lsn);
  packer.Put(mark.snapshot_lsn);
  journal::Seal(bytes, 0);
  QUIRE_ASSIGN_OR_RETURN(const auto file, backup.Create(kBackupName));
  const Bytes piece = bytes;
  QUIRE_RETURN_IF_ERROR(file->Write(0, {&piece, 1}));
  return file->Sync();
}

absl::Status VerifyCopy(journal::Directory& log, journal::Directory& snapshots,
                        const journal::Identity& identity,
                        const BackupMark& mark) {
  if (mark.snapshot_lsn > 0) {
    QUIRE_ASSIGN_OR_RETURN(
        const journal::SnapshotReader snapshot,
        journal::SnapshotReader::Open(snapshots, identity, mark.snapshot_lsn));
    QUIRE_RETURN_IF_ERROR(snapshot.Verify());
  }
  QUIRE_ASSIGN_OR_RETURN(const journal::LogReader reader,
                         journal::LogReader::Open(log, identity));
  QUIRE_ASSIGN_OR_RETURN(
      const journal::LogEnd end,
      reader.Read(mark.snapshot_lsn + 1,
                  [](const journal::LogRecord&) { return absl::OkStatus(); }));
  if (end.next_lsn != mark.lsn + 1 || end.torn) {
    return Error(Reason::kCorrupt,
                 fmt::format("the log of {} ends with LSN {}, where {} was to "
                             "be the last: its files are not all there",
                             log.path(), end.next_lsn - 1, mark.lsn));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<journal::Directory>> OpenBackupRoot(
    const std::string& path, const std::string& data_path) {
  constexpr std::string_view kField = "--backup-dir";
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return NoPlace(path,
                   "it is not there, or no directory. Make it first: a volume "
                   "that is not mounted is not to be mistaken for it",
                   kField);
  }
  const fs::path root = fs::canonical(path, error);
  const fs::path data =
      fs::weakly_canonical(fs::absolute(data_path, error), error);
  if (IsWithin(root, data)) {
    return NoPlace(path,
                   fmt::format("it lies in the data directory {:?}. Name one "
                               "outside of it, on another disk",
                               data.string()),
                   kField);
  }
  auto directory = journal::OpenDirectory(root.string());
  return directory.ok() ? std::move(directory)
                        : NoPlace(path, MessageOf(directory.status()), kField);
}

absl::Status CheckBackupName(std::string_view name) {
  if (IsTableName(name)) {
    return absl::OkStatus();
  }
  // What came may be anything: it is shown escaped, and not whole.
  return Error(
      Reason::kBadName,
      fmt::format("a backup's name of {} bytes, {:?}, is not "
                  "[A-Za-z0-9][A-Za-z0-9._-]{{0,127}}: it is a name in "
                  "the server's --backup-dir, not a path",
                  name.size(), name.substr(0, 40)),
      "name");
}

absl::StatusOr<std::unique_ptr<BackupTarget>> BackupTarget::Make(
    journal::Directory& root, const std::string& name) {
  const auto no_place = [&](std::string_view why) {
    return NoPlace(journal::PathOf(root, name), why, "name");
  };
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> taken, root.List());
  const bool is_new = !std::ranges::binary_search(taken, name);
  auto directory =
      is_new ? journal::MakeDirectoryIn(root, name) : root.OpenDirectory(name);
  if (!directory.ok()) {
    return is_new ? directory.status()
                  : no_place(fmt::format("{}; a file or a symbolic link is of "
                                         "no use: choose another name",
                                         MessageOf(directory.status())));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         (*directory)->List());
  for (const std::string& inner : names) {
    if (inner != "lost+found") {
      return no_place(
          fmt::format("it has a file {:?}; choose a name that is "
                      "not there, or of an empty directory",
                      inner));
    }
  }
  std::unique_ptr<BackupTarget> target(
      new BackupTarget(root, name, is_new, *std::move(directory)));
  if (is_new) {
    QUIRE_RETURN_IF_ERROR(root.Sync());
  }
  return target;
}

BackupTarget::~BackupTarget() {
  if (is_kept_) {
    return;
  }
  RemoveUnfinished(*directory_);
  if (is_new_) {
    root_.Remove(name_).IgnoreError();
    root_.Sync().IgnoreError();
  }
}

void RemoveUnfinished(journal::Directory& root) {
  const absl::StatusOr<std::vector<std::string>> names = root.List();
  if (!names.ok()) {
    return;
  }
  // Without an identity nobody takes it for a data directory or a backup, if
  // the rest cannot be removed.
  for (const std::string_view name :
       {kIdentityName, std::string_view("IDENTITY.draft"), kBackupName,
        std::string_view("log"), std::string_view("snapshots")}) {
    if (std::ranges::binary_search(*names, name)) {
      RemoveWithContent(root, name).IgnoreError();
    }
  }
  root.Sync().IgnoreError();
}

}  // namespace quire
