// Tables that are made from rows, and appear when they are whole.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/stored.h"
#include "engine/table_spec.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {
namespace {

// Floats of rows in one record of a table that is rewound: a megabyte.
constexpr int64_t kRecordFloats = int64_t{1} << 18;

// Steps that an import brings: there is room to count on from there.
constexpr int64_t kStepMax = int64_t{1} << 62;

}  // namespace

absl::StatusOr<TableHandle> Engine::MakeImportedTable(const TableUid& uid,
                                                      const v1::TableSpec& spec,
                                                      const TableUid& origin) {
  QUIRE_ASSIGN_OR_RETURN(TableHandle table, MakeTable(uid, spec, origin));
  workers_.ParallelFor(spec.shard_count(), [&](int64_t shard) {
    table->FillShard(ShardId{static_cast<uint32_t>(shard)},
                     /*initial_values=*/false);
  });
  return table;
}

absl::StatusOr<std::unique_ptr<Engine::Import>> Engine::BeginImport(
    const v1::TableSpec& spec, int64_t step) {
  if (step < 0 || step > kStepMax) {
    return Error(Reason::kBadValue,
                 fmt::format("table '{}': step is {}; rows have seen 0 to {} "
                             "pushes",
                             spec.name(), step, kStepMax),
                 "header.step");
  }
  absl::StatusOr<v1::TableSpec> full = Normalize(spec, directory_ != nullptr);
  if (!full.ok()) {
    return WithFieldPrefix(full.status(), "header.");
  }
  QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckRoomFor(full->name()), "header."));
  const TableUid uid = FreshUid();
  absl::StatusOr<TableHandle> made = MakeImportedTable(uid, *full, uid);
  if (!made.ok()) {
    return WithFieldPrefix(made.status(), "header.");
  }
  TableHandle table = *std::move(made);
  storage::v1::CreateTableRecord record;
  record.set_uid(BytesOf(table->uid()));
  *record.mutable_spec() = *full;
  record.set_is_import(true);
  QUIRE_RETURN_IF_ERROR(
      Commit(RecordType::kCreateTable, record, [&](Sequencer::Change* change) {
        return sequencer_.Add(change, table, Sequencer::SettingsOf(*full),
                              /*is_import=*/true);
      }));
  return std::unique_ptr<Import>(new Import(*this, std::move(table), step));
}

Engine::Import::~Import() {
  if (is_published_) {
    return;
  }
  storage::v1::DropTableRecord record;
  record.set_uid(BytesOf(table_->uid()));
  // If the log takes no more, the next start drops it.
  engine_
      .Commit(RecordType::kDropTable, record,
              [&](Sequencer::Change* change) {
                return engine_.sequencer_.Remove(change, table_->uid(),
                                                 table_->name());
              })
      .IgnoreError();
}

absl::Status Engine::Import::Write(std::span<const float> values,
                                   std::span<const float> state,
                                   std::span<const std::string_view> labels) {
  const int64_t dim = table_->dim();
  const int64_t state_floats = table_->rows().state_floats();
  const int64_t count = static_cast<int64_t>(values.size()) / dim;
  const int64_t rows = table_->rows().config().num_embeddings;
  QUIRE_CHECK(count * dim == static_cast<int64_t>(values.size()),
              "values are whole rows");
  if (count > rows - next_id_) {
    return Error(Reason::kBadShape,
                 fmt::format("table '{}' has {} rows; the import brings more",
                             table_->name(), rows),
                 "chunk.values");
  }
  QUIRE_RETURN_IF_ERROR(
      engine_.CheckFinite(table_->rows(), values, dim, "chunk.values"));
  QUIRE_RETURN_IF_ERROR(
      engine_.CheckFinite(table_->rows(), state, state_floats, "chunk.state"));
  std::vector<int64_t> ids(static_cast<size_t>(count));
  std::ranges::generate(ids, [this] { return next_id_++; });
  QUIRE_RETURN_IF_ERROR(engine_.WriteCheckedRows(*table_, ids, values, state));
  return labels.empty() ? absl::OkStatus()
                        : engine_.SetLabels(*table_, ids, labels);
}

absl::Status Engine::Import::WriteAll() {
  const Table& rows = table_->rows();
  const int64_t row_count = rows.config().num_embeddings;
  const int64_t row_floats = table_->dim() + rows.state_floats();
  const int64_t count_max = std::max<int64_t>(1, kRecordFloats / row_floats);
  std::vector<int64_t> ids;
  std::vector<float> values;
  std::vector<float> state;
  while (next_id_ < row_count) {
    ids.resize(static_cast<size_t>(std::min(count_max, row_count - next_id_)));
    std::iota(ids.begin(), ids.end(), next_id_);
    values.resize(ids.size() * static_cast<size_t>(table_->dim()));
    state.resize(ids.size() * static_cast<size_t>(rows.state_floats()));
    rows.ReadRows(ids, values.data(), state.data());
    QUIRE_RETURN_IF_ERROR(
        engine_.WriteCheckedRows(*table_, ids, values, state));
    std::vector<int64_t> labelled;
    std::vector<std::string_view> labels;
    const std::vector<std::string> all = table_->labels().Get(ids);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!all[i].empty()) {
        labelled.push_back(ids[i]);
        labels.push_back(all[i]);
      }
    }
    if (!labels.empty()) {
      QUIRE_RETURN_IF_ERROR(engine_.SetLabels(*table_, labelled, labels));
    }
    next_id_ += std::ssize(ids);
  }
  return absl::OkStatus();
}

absl::StatusOr<TableHandle> Engine::Import::Publish() {
  const int64_t rows = table_->rows().config().num_embeddings;
  if (next_id_ != rows) {
    return Error(Reason::kBadShape,
                 fmt::format("table '{}' has {} rows; the import brought {}. "
                             "There is no table",
                             table_->name(), rows, next_id_),
                 "chunk");
  }
  MutexLock lock(engine_.creation_mutex_);
  QUIRE_RETURN_IF_ERROR(
      WithFieldPrefix(engine_.CheckRoomFor(table_->name()), "header."));
  storage::v1::PublishTableRecord record;
  record.set_uid(BytesOf(table_->uid()));
  // A MEMORY table that comes back without its rows has not made its steps.
  record.set_step(table_->is_logged() ? step_ : 0);
  QUIRE_RETURN_IF_ERROR(engine_.Commit(
      RecordType::kPublishTable, record, [&](Sequencer::Change* change) {
        return engine_.sequencer_.Publish(change, table_->uid(), step_);
      }));
  is_published_ = true;
  engine_.Show(table_);
  return table_;
}

absl::StatusOr<uint64_t> Engine::Import::PublishInPlaceOf(LiveTable& replaced) {
  MutexLock lock(engine_.creation_mutex_);
  storage::v1::PublishTableRecord record;
  record.set_uid(BytesOf(table_->uid()));
  record.set_replaces_uid(BytesOf(replaced.uid()));
  record.set_step(step_);
  uint64_t lsn = 0;
  QUIRE_RETURN_IF_ERROR(engine_.Commit(
      RecordType::kPublishTable, record,
      [&](Sequencer::Change* change) -> absl::StatusOr<bool> {
        QUIRE_ASSIGN_OR_RETURN(const bool is_sequenced,
                               engine_.sequencer_.PublishInPlaceOf(
                                   replaced, change, table_->uid(), step_));
        lsn = change->lsn();
        return is_sequenced;
      }));
  is_published_ = true;
  engine_.ShowInPlaceOf(replaced, table_);
  return lsn;
}

}  // namespace quire
