#include "client/cli/failure.h"

#include <fmt/format.h>

#include <string_view>

#include "base/status.h"
#include "client/cli/interrupt.h"
#include "client/formats/input_error.h"
#include "client/terminal/printable.h"

namespace quire::cli {
namespace {

constexpr std::string_view kInterruptedUrl = "quire/interrupted";

bool IsInterrupted(const absl::Status& status) {
  return status.GetPayload({kInterruptedUrl.data(), kInterruptedUrl.size()})
      .has_value();
}

constexpr std::string_view kDataUrl = "quire/data";

bool IsDataError(const absl::Status& status) {
  return status.GetPayload({kDataUrl.data(), kDataUrl.size()}).has_value();
}

// As sysexits.h has it.
int DataExitCode(const absl::Status& status) {
  switch (ReasonOf(status).value_or(Reason::kBadValue)) {
    case Reason::kCorrupt:
      return 65;  // EX_DATAERR
    case Reason::kIoFailed:
    case Reason::kDiskFull:
      return 74;  // EX_IOERR
    case Reason::kDirectoryInUse:
      return 75;  // EX_TEMPFAIL
    case Reason::kForeignData:
    case Reason::kFormatTooNew:
      return 78;  // EX_CONFIG
    default:
      return 2;
  }
}

std::string_view NextStep(Reason reason) {
  switch (reason) {
    case Reason::kCannotConnect:
      return "start quire-server, or name another with --server or "
             "QUIRE_SERVER";
    case Reason::kDeadline:
      return "--timeout gives the server longer, as in --timeout 5m";
    case Reason::kNoSuchTable:
      return "'quire table list' shows the tables";
    case Reason::kTableExists:
      return "choose another name, or drop the table: 'quire table drop NAME'";
    case Reason::kTableDiffers:
      return "'quire table describe NAME' shows what the table is";
    case Reason::kTableFrozen:
      return "'quire table alter NAME --frozen false' thaws it";
    case Reason::kUnsupportedDurability:
      return "leave out --durability, or push to a table made with --logged";
    case Reason::kNotKept:
      return "'quire stats' shows the last LSN; quire-server --snapshot-keep "
             "keeps more of what was";
    case Reason::kPositionLost:
      return "leave out --min-position; 'quire stats' shows the last change";
    case Reason::kNotCaughtUp:
      return "--timeout gives the server longer, as in --timeout 5m";
    case Reason::kIdOutOfRange:
      return "'quire table describe NAME' shows how many rows there are";
    case Reason::kMemoryFull:
      return "drop a table, or give the server a higher limit; 'quire stats' "
             "shows what is taken";
    default:
      return "";
  }
}

}  // namespace

absl::Status InterruptedError() {
  absl::Status status = absl::CancelledError("interrupted");
  status.SetPayload({kInterruptedUrl.data(), kInterruptedUrl.size()},
                    absl::Cord());
  return status;
}

absl::Status DataError(absl::Status status) {
  if (!status.ok()) {
    status.SetPayload({kDataUrl.data(), kDataUrl.size()}, absl::Cord());
  }
  return status;
}

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) {
    return 0;
  }
  if (IsInterrupted(status)) {
    return InterruptExitCode();
  }
  if (formats::IsInputError(status)) {
    return 2;
  }
  if (IsDataError(status)) {
    return DataExitCode(status);
  }
  const bool no_answer = ReasonOf(status) == Reason::kCannotConnect ||
                         status.code() == absl::StatusCode::kDeadlineExceeded;
  return no_answer ? 3 : 1;
}

std::string FailureText(const absl::Status& status) {
  std::string text = terminal::Printable(formats::SentenceOf(status)) + "\n";
  if (const std::string field = FieldOf(status); !field.empty()) {
    text += fmt::format("  field: {}\n", terminal::Printable(field));
  }
  const std::optional<Reason> reason = ReasonOf(status);
  const std::string_view next = reason ? NextStep(*reason) : "";
  if (!next.empty()) {
    text += fmt::format("  next: {}\n", next);
  }
  return text;
}

}  // namespace quire::cli
