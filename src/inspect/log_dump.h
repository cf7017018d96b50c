// The records of a log, as people read them.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "inspect/data_files.h"

namespace quire::inspect {

struct RecordSummary {
  uint64_t lsn = 0;
  uint64_t epoch = 0;
  // "push", "create_table", …; "type 42" if this version has none of it.
  std::string type;
  // Of all of the record, as it lies in the log.
  int64_t bytes = 0;

  struct Part {
    TableUid uid;
    // Empty if neither the log nor a snapshot says.
    std::string table;
    int64_t id_count = 0;
    // If they are wanted.
    std::vector<int64_t> ids;
  };
  // What it changes: a push, in the order of its tables.
  std::vector<Part> parts;

  // Of a push that has a name, and of a session's own records; sequence 0: a
  // session begins or ends.
  std::optional<SessionId> session;
  uint64_t sequence = 0;

  // Its checksum is right, but it is not what its type says: parts is empty.
  bool is_understood = true;
};

struct DumpOptions {
  uint64_t from_lsn = 1;
  uint64_t to_lsn = std::numeric_limits<uint64_t>::max();
  // Records of this table alone, of all that had the name; empty: all.
  std::string table;
  bool with_ids = false;
};

// Gives `take` the records in order; its first error is returned. Returns where
// a crash tore the end, if that has been read. CORRUPT behind the last record
// that is whole. BAD_VALUE if from_lsn is beyond to_lsn, or if the log begins
// behind to_lsn.
absl::StatusOr<std::optional<std::string>> DumpLog(
    const DataFiles& files, const DumpOptions& options,
    const std::function<absl::Status(const RecordSummary&)>& take);

}  // namespace quire::inspect
