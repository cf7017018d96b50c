#include "journal/snapshots.h"

#include <algorithm>

#include "base/faults.h"
#include "base/status.h"
#include "journal/snapshot_format.h"

namespace quire::journal {

absl::StatusOr<SnapshotList> ListSnapshots(Directory& snapshots) {
  QUIRE_RETURN_IF_ERROR(snapshots.Sync());
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         snapshots.List());
  SnapshotList list;
  for (const std::string& name : names) {
    if (const std::optional<uint64_t> lsn = SnapshotLsn(name)) {
      list.lsns.push_back(*lsn);
    } else if (DraftLsn(name)) {
      list.drafts.push_back(name);
    }
  }
  std::ranges::sort(list.lsns, std::ranges::greater());
  return list;
}

absl::Status RemoveSnapshot(Directory& snapshots, uint64_t lsn) {
  const std::string draft = DraftName(lsn);
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         snapshots.List());
  // A crash may have brought back one that was removed.
  if (std::ranges::binary_search(names, draft)) {
    QUIRE_RETURN_IF_ERROR(RemoveDraft(snapshots, draft));
  }
  QUIRE_RETURN_IF_ERROR(snapshots.Rename(SnapshotName(lsn), draft));
  return RemoveDraft(snapshots, draft);
}

absl::Status RemoveDrafts(Directory& snapshots) {
  QUIRE_ASSIGN_OR_RETURN(const SnapshotList list, ListSnapshots(snapshots));
  for (const std::string& name : list.drafts) {
    QUIRE_RETURN_IF_ERROR(RemoveDraft(snapshots, name));
  }
  return absl::OkStatus();
}

absl::Status RemoveDraft(Directory& snapshots, std::string_view name) {
  QUIRE_RETURN_IF_ERROR(snapshots.Sync());
  QUIRE_KILL_POINT("snapshot_removing");
  const absl::Status removed = RemoveWithContent(snapshots, name);
  QUIRE_KILL_POINT("snapshot_removed");
  return removed;
}

}  // namespace quire::journal
