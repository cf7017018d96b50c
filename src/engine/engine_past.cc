// The past of an engine's tables: one as it was, and one that becomes that
// again.

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/recovery.h"
#include "engine/stored.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {
namespace {

// A copy beside the table does not fit: the same, and what to do about it.
absl::Status OfTheCopy(const absl::Status& status, uint64_t lsn) {
  if (ReasonOf(status) != Reason::kMemoryFull) {
    return status;
  }
  const auto message = status.message();
  return Error(
      Reason::kMemoryFull,
      fmt::format("what was at LSN {} is rebuilt beside the table that "
                  "serves, and there is no memory for it: {}",
                  lsn, std::string_view(message.data(), message.size())));
}

}  // namespace

absl::StatusOr<Engine::PastTable> Engine::TableAsOf(const LiveTable& table,
                                                    uint64_t lsn) {
  if (log_ == nullptr || !table.is_logged()) {
    return Error(Reason::kNotKept,
                 fmt::format("table '{}' is a MEMORY table: what it was is not "
                             "kept. That of LOGGED tables is",
                             table.name()),
                 "table.name");
  }
  const Snapshots::Hold hold(*snapshots_);
  if (const uint64_t last = log_->appended_lsn(); lsn > last) {
    return Error(Reason::kNotKept,
                 fmt::format("there is no LSN {} yet: the last change is {}",
                             lsn, last));
  }
  if (log_->written_lsn() < lsn) {
    QUIRE_RETURN_IF_ERROR(log_->Sync());
  }
  std::unique_ptr<Engine> aside(new Engine(*this, Aside{}));
  RecoveryProgress progress;
  Recovery recovery(*aside, progress);
  if (const absl::Status rebuilt = recovery.RunUntil(
          *directory_, log_->kept(),
          {.origin = table.origin(), .name = table.name(), .until_lsn = lsn});
      !rebuilt.ok()) {
    return OfTheCopy(rebuilt, lsn);
  }
  const absl::StatusOr<TableHandle> past = aside->FindAny(table.name());
  if (!past.ok()) {
    return Error(Reason::kNotKept,
                 fmt::format("there was no table '{}' at LSN {}: it was made "
                             "later, or made anew",
                             table.name(), lsn));
  }
  const Sequencer::Moment moment = *aside->sequencer_.MomentOf((*past)->uid());
  // It lives on, and what is aside ends.
  WriterLock lock(aside->mutex_);
  aside->tables_.clear();
  return PastTable{
      .table = *past, .step = moment.step, .next_ticket = moment.next_ticket};
}

absl::StatusOr<Engine::Rewound> Engine::RewindTable(
    std::string_view name, const std::optional<TableUid>& uid,
    uint64_t to_lsn) {
  QUIRE_ASSIGN_OR_RETURN(const TableHandle replaced, Find(name, uid));
  QUIRE_ASSIGN_OR_RETURN(const PastTable past, TableAsOf(*replaced, to_lsn));
  storage::v1::CreateTableRecord record;
  record.set_uid(BytesOf(past.table->uid()));
  *record.mutable_spec() = past.table->created_spec();
  record.set_is_import(true);
  record.set_origin_uid(BytesOf(past.table->origin()));
  QUIRE_RETURN_IF_ERROR(
      Commit(RecordType::kCreateTable, record, [&](Sequencer::Change* change) {
        return sequencer_.Add(change, past.table,
                              Sequencer::SettingsOf(past.table->created_spec()),
                              /*is_import=*/true, past.next_ticket);
      }));
  Import import(*this, past.table, past.step);
  QUIRE_RETURN_IF_ERROR(import.WriteAll());
  QUIRE_ASSIGN_OR_RETURN(const uint64_t lsn,
                         import.PublishInPlaceOf(*replaced));
  QUIRE_RETURN_IF_ERROR(log_->Sync());
  return Rewound{.table = past.table, .lsn = lsn};
}

}  // namespace quire
