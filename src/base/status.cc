#include "base/status.h"

#include <array>
#include <charconv>

#include "absl/strings/cord.h"
#include "base/check.h"

namespace quire {
namespace {

// A server is seldom back sooner.
constexpr int64_t kRestartRetryMs = 500;

struct ReasonEntry {
  Reason reason;
  absl::StatusCode code;
  std::string_view name;
};

using absl::StatusCode;

constexpr auto kReasons = std::to_array<ReasonEntry>({
    {Reason::kMalformed, StatusCode::kInvalidArgument, "MALFORMED"},
    {Reason::kBadName, StatusCode::kInvalidArgument, "BAD_NAME"},
    {Reason::kBadShape, StatusCode::kInvalidArgument, "BAD_SHAPE"},
    {Reason::kBadValue, StatusCode::kInvalidArgument, "BAD_VALUE"},
    {Reason::kNonFinite, StatusCode::kInvalidArgument, "NON_FINITE"},
    {Reason::kNotBuilt, StatusCode::kInvalidArgument, "NOT_BUILT"},
    {Reason::kTooLarge, StatusCode::kInvalidArgument, "TOO_LARGE"},
    {Reason::kReplyTooLarge, StatusCode::kInvalidArgument, "REPLY_TOO_LARGE"},
    {Reason::kSequenceReused, StatusCode::kInvalidArgument, "SEQUENCE_REUSED"},
    {Reason::kNoSuchTable, StatusCode::kNotFound, "NO_SUCH_TABLE"},
    {Reason::kNoSuchLabel, StatusCode::kNotFound, "NO_SUCH_LABEL"},
    {Reason::kNoSuchService, StatusCode::kNotFound, "NO_SUCH_SERVICE"},
    {Reason::kIdOutOfRange, StatusCode::kOutOfRange, "ID_OUT_OF_RANGE"},
    {Reason::kTableExists, StatusCode::kAlreadyExists, "TABLE_EXISTS"},
    {Reason::kTableReplaced, StatusCode::kFailedPrecondition, "TABLE_REPLACED"},
    {Reason::kTableDiffers, StatusCode::kFailedPrecondition, "TABLE_DIFFERS"},
    {Reason::kTableFrozen, StatusCode::kFailedPrecondition, "TABLE_FROZEN"},
    {Reason::kUnsupportedDurability, StatusCode::kFailedPrecondition,
     "UNSUPPORTED_DURABILITY"},
    {Reason::kSessionExpired, StatusCode::kFailedPrecondition,
     "SESSION_EXPIRED"},
    {Reason::kSequenceTooOld, StatusCode::kFailedPrecondition,
     "SEQUENCE_TOO_OLD"},
    {Reason::kDirectoryInUse, StatusCode::kFailedPrecondition,
     "DIRECTORY_IN_USE"},
    {Reason::kForeignData, StatusCode::kFailedPrecondition, "FOREIGN_DATA"},
    {Reason::kFormatTooNew, StatusCode::kFailedPrecondition, "FORMAT_TOO_NEW"},
    {Reason::kNotKept, StatusCode::kFailedPrecondition, "NOT_KEPT"},
    {Reason::kNoBackupDir, StatusCode::kFailedPrecondition, "NO_BACKUP_DIR"},
    {Reason::kPositionLost, StatusCode::kFailedPrecondition, "POSITION_LOST"},
    {Reason::kClockDiffers, StatusCode::kFailedPrecondition, "CLOCK_DIFFERS"},
    {Reason::kMemoryFull, StatusCode::kResourceExhausted, "MEMORY_FULL"},
    {Reason::kDiskFull, StatusCode::kResourceExhausted, "DISK_FULL"},
    {Reason::kLogFull, StatusCode::kResourceExhausted, "LOG_FULL"},
    {Reason::kBusy, StatusCode::kResourceExhausted, "BUSY"},
    {Reason::kFilling, StatusCode::kUnavailable, "FILLING"},
    {Reason::kRecovering, StatusCode::kUnavailable, "RECOVERING"},
    {Reason::kStopping, StatusCode::kUnavailable, "STOPPING"},
    {Reason::kNotCaughtUp, StatusCode::kUnavailable, "NOT_CAUGHT_UP"},
    {Reason::kClockBehind, StatusCode::kUnavailable, "CLOCK_BEHIND"},
    {Reason::kIoFailed, StatusCode::kUnavailable, "IO_FAILED"},
    {Reason::kLogFailed, StatusCode::kUnavailable, "LOG_FAILED"},
    {Reason::kCannotConnect, StatusCode::kUnavailable, "CANNOT_CONNECT"},
    {Reason::kCorrupt, StatusCode::kDataLoss, "CORRUPT"},
    {Reason::kDeadline, StatusCode::kDeadlineExceeded, "DEADLINE"},
    {Reason::kCancelled, StatusCode::kCancelled, "CANCELLED"},
    {Reason::kBug, StatusCode::kInternal, "BUG"},
    {Reason::kNoSuchMethod, StatusCode::kUnimplemented, "NO_SUCH_METHOD"},
});

constexpr std::string_view kReasonUrl = "quire/reason";
constexpr std::string_view kFieldUrl = "quire/field";
constexpr std::string_view kRetryUrl = "quire/retry_after_ms";

absl::string_view Absl(std::string_view text) {
  return {text.data(), text.size()};
}

std::optional<std::string> Payload(const absl::Status& status,
                                   std::string_view url) {
  absl::optional<absl::Cord> cord = status.GetPayload(Absl(url));
  if (!cord) {
    return std::nullopt;
  }
  return std::string(*cord);
}

const ReasonEntry& EntryOf(Reason reason) {
  for (const ReasonEntry& entry : kReasons) {
    if (entry.reason == reason) {
      return entry;
    }
  }
  QUIRE_CHECK(false, "a Reason without an entry");
}

}  // namespace

std::string_view ReasonName(Reason reason) { return EntryOf(reason).name; }

absl::StatusCode CodeOf(Reason reason) { return EntryOf(reason).code; }

std::optional<Reason> ReasonFromName(std::string_view name) {
  for (const ReasonEntry& entry : kReasons) {
    if (entry.name == name) {
      return entry.reason;
    }
  }
  return std::nullopt;
}

absl::Status Error(Reason reason, std::string_view message,
                   std::string_view field) {
  const ReasonEntry& entry = EntryOf(reason);
  absl::Status status(entry.code, Absl(message));
  status.SetPayload(Absl(kReasonUrl), absl::Cord(Absl(entry.name)));
  if (!field.empty()) {
    status.SetPayload(Absl(kFieldUrl), absl::Cord(Absl(field)));
  }
  return status;
}

std::optional<Reason> ReasonOf(const absl::Status& status) {
  std::optional<std::string> name = Payload(status, kReasonUrl);
  return name ? ReasonFromName(*name) : std::nullopt;
}

std::string FieldOf(const absl::Status& status) {
  return Payload(status, kFieldUrl).value_or("");
}

absl::Status WithFieldPrefix(absl::Status status, std::string_view prefix) {
  if (status.ok()) {
    return status;
  }
  std::string field(prefix);
  field += FieldOf(status);
  status.SetPayload(Absl(kFieldUrl), absl::Cord(field));
  return status;
}

absl::Status WithRetryAfterMs(absl::Status status, int64_t retry_after_ms) {
  status.SetPayload(Absl(kRetryUrl),
                    absl::Cord(std::to_string(retry_after_ms)));
  return status;
}

std::optional<int64_t> RetryAfterMsOf(const absl::Status& status) {
  std::optional<std::string> text = Payload(status, kRetryUrl);
  if (!text) {
    return std::nullopt;
  }
  int64_t value = 0;
  auto [end, error] =
      std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) {
    return std::nullopt;
  }
  return value;
}

absl::Status IsStopping() {
  return WithRetryAfterMs(
      Error(Reason::kStopping,
            "the server is stopping; nothing was done. Try again when it, or "
            "another, is there"),
      kRestartRetryMs);
}

}  // namespace quire
