// What the log says of one row.

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/records.h"
#include "journal/log_reader.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {
namespace {

using Change = Engine::RowHistory::Change;
using Kind = Engine::RowHistory::Kind;

bool Contains(std::span<const int64_t> ids, int64_t id) {
  return std::ranges::find(ids, id) != ids.end();
}

absl::StatusOr<bool> PushNames(Bytes payload, const LiveTable& table,
                               int64_t id) {
  std::vector<Bytes> gradients;
  QUIRE_ASSIGN_OR_RETURN(const PushRecord push,
                         ReadPushRecord(payload, gradients));
  const TableConfig& config = table.rows().config();
  return std::ranges::any_of(push.parts, [&](const PushRecordPart& part) {
    return part.table == table.uid() &&
           (config.optimizer.all_rows ||
            (id != config.padding_idx && Contains(part.ids, id)));
  });
}

// An import begins without rows.
bool BeginsWith(Bytes payload, const LiveTable& table) {
  storage::v1::CreateTableRecord record;
  return record.ParseFromArray(payload.data(),
                               static_cast<int>(payload.size())) &&
         !record.is_import() &&
         std::ranges::equal(
             record.uid(), table.uid().bytes,
             [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

// What a record did to the row; nullopt: nothing.
absl::StatusOr<std::optional<Kind>> KindOf(const journal::LogRecord& record,
                                           const LiveTable& table, int64_t id) {
  switch (static_cast<RecordType>(record.type)) {
    case RecordType::kPush: {
      QUIRE_ASSIGN_OR_RETURN(const bool names,
                             PushNames(record.payload, table, id));
      return names ? std::optional(Kind::kPush) : std::nullopt;
    }
    case RecordType::kWriteRows: {
      QUIRE_ASSIGN_OR_RETURN(const WriteRowsRecord rows,
                             ReadWriteRowsRecord(record.payload));
      return rows.table == table.uid() && Contains(rows.ids, id)
                 ? std::optional(Kind::kWrite)
                 : std::nullopt;
    }
    case RecordType::kCreateTable:
      return BeginsWith(record.payload, table) ? std::optional(Kind::kCreate)
                                               : std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace

absl::StatusOr<Engine::RowHistory> Engine::HistoryOf(const LiveTable& table,
                                                     int64_t id, uint64_t lsn) {
  const Snapshots::Hold hold(*snapshots_);
  if (log_->written_lsn() < lsn) {
    QUIRE_RETURN_IF_ERROR(log_->Sync());
  }
  const std::vector<journal::KeptSegment> kept = log_->kept();
  RowHistory history = {.first_lsn = kept.front().first_lsn};
  if (lsn < history.first_lsn) {
    return history;
  }
  QUIRE_ASSIGN_OR_RETURN(
      const journal::LogReader reader,
      journal::LogReader::OpenUntil(directory_->log(), directory_->identity(),
                                    kept, lsn));
  QUIRE_RETURN_IF_ERROR(reader.ReadUntil(
      history.first_lsn, lsn,
      [&](const journal::LogRecord& record) -> absl::Status {
        QUIRE_ASSIGN_OR_RETURN(const std::optional<Kind> kind,
                               KindOf(record, table, id));
        if (kind) {
          history.last = Change{.lsn = record.lsn, .kind = *kind};
        }
        return absl::OkStatus();
      }));
  return history;
}

}  // namespace quire
