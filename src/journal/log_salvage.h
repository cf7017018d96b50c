// What lies behind the damage of a log: for people who have to decide whether
// it is cut there.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "journal/files.h"
#include "journal/format.h"
#include "journal/log_reader.h"

namespace quire::journal {

struct RecordsBehind {
  // Of those whose header is whole; 0 and 0 if there is none.
  uint64_t first_lsn = 0;
  uint64_t last_lsn = 0;
  int64_t header_count = 0;
  // How many of them are as they were written. The first one behind a header
  // that is lost cannot be told, and does not count.
  int64_t readable_count = 0;
  // Segments that have something behind the damage, in order.
  std::vector<std::string> segments;
  // Those of them whose header is lost, and all of their records with it.
  std::vector<std::string> unreadable;
};

// `whole` is where the last whole record before the damage ends.
absl::StatusOr<RecordsBehind> FindRecordsBehind(Directory& directory,
                                                const Identity& identity,
                                                const LogEnd& whole);

// Bytes of the log's last segment and of later ones from `end` on, up to the
// last that is not zero: what a cut there takes away.
absl::StatusOr<int64_t> BytesBehind(Directory& directory, const LogEnd& end);

}  // namespace quire::journal
