// Status macros, and the errors that users see.
//
// An error is an absl::Status with a canonical code, one sentence (what was
// found, what was needed, of which table), a machine-readable Reason, and the
// request field at fault. Reason and field travel as payloads of the Status
// and become google.rpc.ErrorInfo and google.rpc.BadRequest on the wire
// (server/errors.h). The table of reasons is in docs/ERRORS.md.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expression` from the caller unless it is OK.
#define QUIRE_RETURN_IF_ERROR(expression)                                 \
  do {                                                                    \
    if (absl::Status quire_status_ = (expression); !quire_status_.ok()) { \
      return quire_status_;                                               \
    }                                                                     \
  } while (false)

#define QUIRE_STATUS_CONCAT_INNER_(a, b) a##b
#define QUIRE_STATUS_CONCAT_(a, b) QUIRE_STATUS_CONCAT_INNER_(a, b)

// QUIRE_ASSIGN_OR_RETURN(auto x, MakeX()): x = value, or return the status.
#define QUIRE_ASSIGN_OR_RETURN(target, expression)                        \
  QUIRE_ASSIGN_OR_RETURN_IMPL_(QUIRE_STATUS_CONCAT_(quire_or_, __LINE__), \
                               target, expression)
#define QUIRE_ASSIGN_OR_RETURN_IMPL_(result, target, expression) \
  auto result = (expression);                                    \
  if (!result.ok()) {                                            \
    return std::move(result).status();                           \
  }                                                              \
  target = *std::move(result)

namespace quire {

// Why a request was refused, for programs. Names are stable; each belongs to
// exactly one canonical code.
enum class Reason {
  // INVALID_ARGUMENT: the same request can never succeed.
  kMalformed,       // not a message of this API
  kBadName,         // a name outside [A-Za-z0-9][A-Za-z0-9._-]{0,127}
  kBadShape,        // dims, ids and payload disagree
  kBadValue,        // a field's value is outside its range
  kNonFinite,       // NaN or infinity where numbers are needed
  kNotBuilt,        // a field of the API that this version does not have
  kTooLarge,        // over a limit of this server, for ever
  kReplyTooLarge,   // the reply would exceed max_response_bytes
  kSequenceReused,  // another push had this number in its session
  // NOT_FOUND
  kNoSuchTable,
  kNoSuchLabel,
  kNoSuchService,  // a health check of a service that is not here
  // OUT_OF_RANGE
  kIdOutOfRange,
  // ALREADY_EXISTS
  kTableExists,
  // FAILED_PRECONDITION: the state must change before a retry.
  kTableReplaced,  // another table now has this name
  kTableDiffers,   // if_exists: VERIFY found another specification
  kTableFrozen,
  kUnsupportedDurability,
  kSessionExpired,  // the server has no such session, or no more
  kSequenceTooOld,  // below what the session remembers
  kDirectoryInUse,  // another process has the data directory
  kForeignData,     // a file of another data directory
  kFormatTooNew,    // a file of a later version
  kNotKept,         // nothing is kept of the position that is asked for
  kNoBackupDir,     // the server has no directory for backups
  kPositionLost,    // a position that this server has not, and never will have
  kClockDiffers,    // other workers say that a clock has another size
  // RESOURCE_EXHAUSTED
  kMemoryFull,
  kDiskFull,
  kLogFull,
  kBusy,
  // UNAVAILABLE
  kFilling,     // a new table's initial rows are being written
  kRecovering,  // the server reads what it has on disk
  kStopping,
  kNotCaughtUp,    // the position was not reached by the deadline
  kClockBehind,    // a worker had not done the steps waited for by the deadline
  kIoFailed,       // the disk failed
  kLogFailed,      // … and the log with it: no more writes
  kCannotConnect,  // (clients) no server answered
  // DATA_LOSS
  kCorrupt,  // what is stored is not what was written
  // DEADLINE_EXCEEDED, CANCELLED, INTERNAL, UNIMPLEMENTED
  kDeadline,
  kCancelled,
  kBug,
  kNoSuchMethod,
};

// "NO_SUCH_TABLE" for kNoSuchTable: ErrorInfo.reason.
std::string_view ReasonName(Reason reason);

// The one canonical code that goes with `reason`.
absl::StatusCode CodeOf(Reason reason);

// The inverse of ReasonName; nullopt for a name of another version.
std::optional<Reason> ReasonFromName(std::string_view name);

// An error with `reason`'s code. `field` names what is at fault as the request
// spells it ("tables[0].ids.ids[7]"), or is empty.
absl::Status Error(Reason reason, std::string_view message,
                   std::string_view field = {});

// The reason and the field of an Error(); nullopt and "" for other statuses.
std::optional<Reason> ReasonOf(const absl::Status& status);
std::string FieldOf(const absl::Status& status);

// The same error, a whole `prefix` in front of its field: "tables[2]." +
// "ids.ids[7]".
absl::Status WithFieldPrefix(absl::Status status, std::string_view prefix);

// How long a client should wait before it tries again; only on errors that a
// retry can mend (BUSY, FILLING, RECOVERING, …).
absl::Status WithRetryAfterMs(absl::Status status, int64_t retry_after_ms);
std::optional<int64_t> RetryAfterMsOf(const absl::Status& status);

// STOPPING, of a call that has done nothing: another server may be there soon.
absl::Status IsStopping();

}  // namespace quire
