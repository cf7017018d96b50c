#include "inspect/data_files.h"

#include <utility>

#include "base/status.h"
#include "engine/identity.h"

namespace quire::inspect {

absl::StatusOr<DataFiles> DataFiles::Open(
    std::unique_ptr<journal::Directory> root) {
  DataFiles files;
  files.root_ = std::move(root);
  QUIRE_ASSIGN_OR_RETURN(files.identity_, ReadIdentity(*files.root_));
  QUIRE_ASSIGN_OR_RETURN(files.log_, files.root_->OpenDirectory("log"));
  QUIRE_ASSIGN_OR_RETURN(files.snapshots_,
                         files.root_->OpenDirectory("snapshots"));
  return files;
}

}  // namespace quire::inspect
