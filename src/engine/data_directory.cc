#include "engine/data_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/backup.h"
#include "engine/identity.h"

namespace quire {
absl::StatusOr<std::unique_ptr<DataDirectory>> DataDirectory::Open(
    std::unique_ptr<journal::Directory> directory, const Options& options) {
  std::unique_ptr<DataDirectory> data(new DataDirectory(std::move(directory)));
  journal::Directory& root = *data->root_;
  QUIRE_ASSIGN_OR_RETURN(std::vector<std::string> names, root.List());
  if (std::ranges::find(names, kBackupName) != names.end()) {
    return Error(Reason::kForeignData,
                 fmt::format("{} is a backup, which stays as it is: 'quire "
                             "snapshot restore {} --data-dir NEW' makes a data "
                             "directory of it",
                             root.path(), root.path()));
  }
  QUIRE_RETURN_IF_ERROR(root.Lock());
  QUIRE_ASSIGN_OR_RETURN(names, root.List());
  if (std::ranges::find(names, kIdentityName) != names.end()) {
    QUIRE_ASSIGN_OR_RETURN(data->identity_, ReadIdentity(root));
  } else {
    for (const std::string& name : names) {
      if (!MayPrecedeIdentity(name)) {
        return Error(
            Reason::kForeignData,
            fmt::format("{} has a file {:?} and no {}: it is no data directory "
                        "of this server. Name an empty directory, or its own",
                        root.path(), name, kIdentityName));
      }
    }
    if (options.must_exist) {
      return Error(
          Reason::kForeignData,
          fmt::format("{} is empty, and --require-data is given: is its volume "
                      "there? Start once without it to begin with nothing",
                      root.path()));
    }
    data->identity_ = FreshIdentity();
    QUIRE_RETURN_IF_ERROR(WriteIdentity(root, data->identity_));
  }
  QUIRE_ASSIGN_OR_RETURN(data->log_, root.MakeDirectory("log"));
  QUIRE_ASSIGN_OR_RETURN(data->snapshots_, root.MakeDirectory("snapshots"));
  QUIRE_ASSIGN_OR_RETURN(data->memory_, root.MakeDirectory("memory"));
  QUIRE_RETURN_IF_ERROR(root.Sync());
  return data;
}

}  // namespace quire
