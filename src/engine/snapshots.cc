#include "engine/snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/faults.h"
#include "base/status.h"
#include "base/tuning.h"
#include "engine/stored.h"
#include "journal/snapshots.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {
namespace {

// How often it is looked whether one is due, or whether a wait is over.
constexpr std::chrono::milliseconds kDueInterval{100};
constexpr std::chrono::milliseconds kWaitInterval{1};

// Rows whose labels are written in one chunk.
constexpr int64_t kLabelRows = 16'384;

// How long after a damaged one could not be replaced that is tried again.
constexpr std::chrono::seconds kReplaceInterval{10};

absl::Status StoppingError() {
  return Error(Reason::kStopping,
               "the server is stopping: the snapshot is given up");
}

// Whether its rows are in snapshots. A MEMORY table's are saved elsewhere. One
// that is not filled yet has initial rows, but for those pushed since; it is
// waited for.
bool HasRows(const LiveTable& table) {
  return table.is_logged() && table.ready();
}

}  // namespace

storage::v1::SnapshotManifest ManifestOf(const Sequencer::Image& image,
                                         uint64_t epoch) {
  storage::v1::SnapshotManifest manifest;
  manifest.set_lsn(image.lsn);
  manifest.set_epoch(epoch);
  for (const Sequencer::Image::OfTable& table : image.tables) {
    storage::v1::TableState& state = *manifest.add_tables();
    state.set_uid(BytesOf(table.table->uid()));
    state.set_origin_uid(BytesOf(table.table->origin()));
    *state.mutable_spec() = table.table->created_spec();
    state.set_learning_rate(table.state.settings.learning_rate);
    state.set_frozen(table.state.settings.frozen);
    state.set_default_durability(table.state.settings.default_durability);
    state.set_step(table.state.step);
    state.set_last_change_lsn(table.state.last_lsn);
    state.set_is_import(table.is_import);
  }
  for (const Sequencer::Image::OfSession& session : image.sessions) {
    storage::v1::SessionState& state = *manifest.add_sessions();
    state.set_session_id(BytesOf(session.id));
    for (const SessionTable::Push& push : session.pushes) {
      state.add_sequences(push.sequence);
      state.add_hashes(push.hash);
      state.add_lsns(push.lsn);
    }
  }
  return manifest;
}

Snapshots::Snapshots(Sequencer& sequencer, DataDirectory& directory,
                     journal::Log& log, MemoryBudget& tables,
                     const Recovered& recovered, const SnapshotPolicy& policy)
    : sequencer_(sequencer),
      directory_(directory),
      log_(log),
      tables_(tables),
      policy_(policy),
      epoch_ends_(recovered.epoch_ends),
      memory_saves_(sequencer, directory, tables, recovered.memory_number,
                    policy.rate_bytes),
      newest_lsn_(recovered.newest_lsn),
      newest_bytes_(recovered.newest_bytes),
      log_bytes_(-recovered.log_bytes),
      made_(std::chrono::steady_clock::now()),
      damaged_(recovered.damaged),
      thread_([this] { Run(); }) {}

Snapshots::~Snapshots() { Stop(); }

void Snapshots::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wanted_changed_.NotifyAll();
    made_changed_.NotifyAll();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

bool Snapshots::is_stopping() const {
  MutexLock lock(mutex_);
  return stopping_;
}

absl::Status Snapshots::EndWithSave(
    std::chrono::steady_clock::time_point deadline) {
  Stop();
  return memory_saves_.Save(
      [deadline] { return std::chrono::steady_clock::now() < deadline; },
      /*is_paced=*/false);
}

uint64_t Snapshots::newest_lsn() const {
  MutexLock lock(mutex_);
  return newest_lsn_;
}

int64_t Snapshots::newest_bytes() const {
  MutexLock lock(mutex_);
  return newest_bytes_;
}

void Snapshots::ReportDamaged(uint64_t lsn, std::string what) {
  MutexLock lock(mutex_);
  damaged_[lsn] = std::move(what);
  has_new_damage_ = true;
  wanted_changed_.NotifyAll();
}

std::vector<std::string> Snapshots::damaged() const {
  MutexLock lock(mutex_);
  std::vector<std::string> whats;
  for (const auto& [lsn, what] : damaged_) {
    whats.push_back(what);
  }
  return whats;
}

bool Snapshots::IsDamaged(uint64_t lsn) const {
  MutexLock lock(mutex_);
  return damaged_.contains(lsn);
}

bool Snapshots::ReplacementIsDue() const {
  MutexLock lock(mutex_);
  return has_new_damage_ ||
         (damaged_.contains(newest_lsn_) &&
          std::chrono::steady_clock::now() - replaced_ > kReplaceInterval);
}

int64_t Snapshots::log_bytes_since() const {
  const int64_t appended = log_.stats().appended_bytes;
  MutexLock lock(mutex_);
  return appended - log_bytes_;
}

bool Snapshots::IsDue() const {
  const journal::Log::Stats log = log_.stats();
  const uint64_t lsn = log_.appended_lsn();
  const uint64_t first_lsn = log_.first_lsn();
  // The log that is kept spans as many snapshots as are; one more part is for
  // what comes while the next is made.
  const int64_t part = log.bytes_max / (std::max(policy_.keep, 1) + 1);
  const bool has_memory_changes = memory_saves_.HasChanges();
  MutexLock lock(mutex_);
  if (log.has_failed) {
    return false;
  }
  const bool is_late =
      std::chrono::steady_clock::now() - made_ > policy_.interval;
  if (lsn == newest_lsn_) {
    return (log.is_full && first_lsn <= newest_lsn_) ||
           (is_late && has_memory_changes);
  }
  return log.is_full || is_late ||
         log.appended_bytes - log_bytes_ >
             std::min(std::max(policy_.log_bytes_max, tables_.bytes_used()),
                      part);
}

void Snapshots::Run() {
  GiveWayToOthers();
  while (true) {
    uint64_t wanted = 0;
    bool is_wanted = false;
    {
      MutexLock lock(mutex_);
      if (!stopping_ && wanted_ == answered_ && !has_new_damage_) {
        wanted_changed_.WaitUntil(
            mutex_, std::chrono::steady_clock::now() + kDueInterval);
      }
      if (stopping_) {
        return;
      }
      wanted = wanted_;
      is_wanted = wanted_ > answered_;
    }
    RemoveWhatWasHeld();
    const bool is_due = is_wanted || IsDue();
    if (!is_due && !ReplacementIsDue()) {
      continue;
    }
    {
      MutexLock lock(mutex_);
      has_new_damage_ = false;
      replaced_ = std::chrono::steady_clock::now();
    }
    absl::StatusOr<uint64_t> made = is_due ? MakeAll() : MakeOne();
    MutexLock lock(mutex_);
    if (!made.ok() && is_due) {
      // Not at once again: the disk may be full.
      made_ = std::chrono::steady_clock::now();
    }
    answered_ = wanted;
    answer_ = std::move(made);
    made_changed_.NotifyAll();
  }
}

absl::StatusOr<uint64_t> Snapshots::Make() {
  MutexLock lock(mutex_);
  const uint64_t mine = ++wanted_;
  wanted_changed_.NotifyAll();
  while (answered_ < mine && !stopping_) {
    made_changed_.Wait(mutex_);
  }
  return answered_ < mine ? StoppingError() : answer_;
}

absl::StatusOr<uint64_t> Snapshots::MakeAll() {
  absl::StatusOr<uint64_t> made = MakeOne();
  const absl::Status saved =
      memory_saves_.Save([this] { return !is_stopping(); }, /*is_paced=*/true);
  return made.ok() && !saved.ok() ? saved : made;
}

absl::StatusOr<uint64_t> Snapshots::MakeOne() {
  const int64_t log_bytes = log_.stats().appended_bytes;
  const Sequencer::Image image = sequencer_.TakeImage();
  const absl::Cleanup end_of_copies = [&image] {
    for (const Sequencer::Image::OfTable& table : image.tables) {
      table.table->rows().SetCopied(false);
    }
  };
  if (image.lsn == newest_lsn() && !IsDamaged(image.lsn)) {
    {
      MutexLock lock(mutex_);
      made_ = std::chrono::steady_clock::now();
    }
    QUIRE_RETURN_IF_ERROR(RemoveOld());
    return image.lsn;
  }
  QUIRE_RETURN_IF_ERROR(RemoveDamaged(image.lsn));
  QUIRE_ASSIGN_OR_RETURN(
      const std::unique_ptr<journal::SnapshotWriter> writer,
      journal::SnapshotWriter::Begin(directory_.snapshots(),
                                     directory_.identity(), image.lsn));
  QUIRE_RETURN_IF_ERROR(Write(image, *writer));
  QUIRE_KILL_POINT("snapshot_finished");
  {
    MutexLock lock(mutex_);
    newest_lsn_ = image.lsn;
    newest_bytes_ = writer->bytes_written();
    log_bytes_ = log_bytes;
    made_ = std::chrono::steady_clock::now();
    damaged_.erase(image.lsn);
  }
  QUIRE_RETURN_IF_ERROR(RemoveOld());
  return image.lsn;
}

absl::Status Snapshots::Write(const Sequencer::Image& image,
                              journal::SnapshotWriter& writer) {
  // Tables that were dropped meanwhile may never be ready: they have no rows
  // then, and the log drops them.
  for (const Sequencer::Image::OfTable& table : image.tables) {
    QUIRE_RETURN_IF_ERROR(WaitUntil(
        [&] { return table.table->ready() || table.table->abandoned(); }));
  }
  QUIRE_KILL_POINT("snapshot_begun");
  storage::v1::SnapshotManifest manifest = ManifestOf(image, log_.epoch());
  for (const auto& [epoch, lsn] : epoch_ends_) {
    storage::v1::EpochEnd& end = *manifest.add_epoch_ends();
    end.set_epoch(epoch);
    end.set_lsn(lsn);
  }
  for (size_t i = 0; i < image.tables.size(); ++i) {
    storage::v1::TableState& state =
        *manifest.mutable_tables(static_cast<int>(i));
    if (HasRows(*image.tables[i].table)) {
      QUIRE_ASSIGN_OR_RETURN(const int64_t chunk_count,
                             WriteTable(static_cast<uint32_t>(i),
                                        image.tables[i], image.lsn, writer));
      state.set_has_rows(true);
      state.set_chunk_count(chunk_count);
    }
    // Rows and labels that were copied had been sequenced before.
    state.set_last_lsn(log_.appended_lsn());
  }
  // The chunks have changes that were only written: were they cut off the log
  // by a power cut, parts of them would be in the snapshot.
  QUIRE_RETURN_IF_ERROR(log_.Sync());
  QUIRE_KILL_POINT("snapshot_log_synced");
  const std::string body = manifest.SerializeAsString();
  return writer.Finish(std::as_bytes(std::span(body)));
}

absl::StatusOr<int64_t> Snapshots::WriteTable(
    uint32_t stream, const Sequencer::Image::OfTable& table, uint64_t image_lsn,
    journal::SnapshotWriter& writer) {
  const auto begun = std::chrono::steady_clock::now();
  const int64_t bytes_before = writer.bytes_written();
  const Table& rows = table.table->rows();
  std::vector<float> floats;
  int64_t chunk_count = 0;
  for (int32_t s = 0; s < rows.config().shard_count; ++s) {
    const auto id = static_cast<uint32_t>(s);
    const Shard& shard = rows.shard(ShardId{id});
    QUIRE_RETURN_IF_ERROR(
        WaitUntil([&] { return shard.HasTurn(table.next_ticket); }));
    for (int64_t c = 0; c < shard.chunk_count(); ++c) {
      if (!shard.IsWritten(c)) {
        continue;
      }
      ++chunk_count;
      floats.resize(shard.ChunkFloats(c));
      const uint64_t lsn = shard.CopyChunk(c, floats.data());
      const Bytes payload = std::as_bytes(std::span(floats));
      QUIRE_RETURN_IF_ERROR(
          writer.Append({.stream = stream,
                         .index = RowsChunk(id, static_cast<uint32_t>(c)),
                         .lsn = std::max(lsn, image_lsn)},
                        {&payload, 1}));
      QUIRE_KILL_POINT("snapshot_chunk_written");
      Pace(writer.bytes_written() - bytes_before, begun);
      QUIRE_RETURN_IF_ERROR(WaitUntil([] { return true; }));
    }
  }
  QUIRE_RETURN_IF_ERROR(WriteLabels(stream, *table.table, image_lsn, writer));
  return chunk_count;
}

// Labels may be those of later changes: setting them again, in the order of the
// log, ends with the same.
absl::Status WriteLabels(uint32_t stream, const LiveTable& table,
                         uint64_t image_lsn, journal::SnapshotWriter& writer) {
  const int64_t rows = table.rows().config().num_embeddings;
  for (int64_t first = 0; table.labels().count() > 0 && first < rows;
       first += kLabelRows) {
    std::vector<int64_t> ids(
        static_cast<size_t>(std::min(kLabelRows, rows - first)));
    std::iota(ids.begin(), ids.end(), first);
    storage::v1::SetLabelsRecord record;
    const std::vector<std::string> labels = table.labels().Get(ids);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!labels[i].empty()) {
        record.add_ids(ids[i]);
        record.add_labels(labels[i]);
      }
    }
    const std::string bytes = record.SerializeAsString();
    const Bytes payload = std::as_bytes(std::span(bytes));
    QUIRE_RETURN_IF_ERROR(writer.Append(
        {.stream = stream, .index = kLabelsChunk, .lsn = image_lsn},
        {&payload, 1}));
  }
  return absl::OkStatus();
}

template <typename Condition>
absl::Status Snapshots::WaitUntil(const Condition& is_so) {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (stopping_) {
        return StoppingError();
      }
    }
    if (log_.stats().has_failed) {
      return Error(Reason::kLogFailed,
                   "the log has failed: there are no more snapshots");
    }
    if (is_so()) {
      return absl::OkStatus();
    }
    std::this_thread::sleep_for(kWaitInterval);
  }
}

void Snapshots::Pace(int64_t bytes,
                     std::chrono::steady_clock::time_point begun) {
  if (policy_.rate_bytes > 0) {
    std::this_thread::sleep_until(
        begun + std::chrono::duration_cast<std::chrono::nanoseconds>(
                    std::chrono::duration<double>(
                        static_cast<double>(bytes) /
                        static_cast<double>(policy_.rate_bytes))));
  }
}

absl::Status Snapshots::RemoveDamaged(uint64_t lsn) {
  // The next one may not come to be.
  QUIRE_RETURN_IF_ERROR(WaitUntil([] { return true; }));
  QUIRE_ASSIGN_OR_RETURN(const journal::SnapshotList list,
                         journal::ListSnapshots(directory_.snapshots()));
  if (std::ranges::find(list.lsns, lsn) == list.lsns.end()) {
    return absl::OkStatus();
  }
  const uint64_t first_lsn = log_.first_lsn();
  const bool can_be_missed =
      first_lsn == 1 || std::ranges::any_of(list.lsns, [&](uint64_t other) {
        return other < lsn && first_lsn <= other + 1 && !IsDamaged(other);
      });
  if (!can_be_missed) {
    return Error(Reason::kCorrupt,
                 fmt::format("the snapshot of LSN {} is damaged, no older one "
                             "is kept that could stand in for it, and nothing "
                             "has changed since: it is replaced with the next "
                             "change. Keep more than one: --snapshot-keep 2",
                             lsn));
  }
  return journal::RemoveSnapshot(directory_.snapshots(), lsn);
}

Snapshots::Hold::Hold(Snapshots& snapshots) : snapshots_(snapshots) {
  MutexLock lock(snapshots_.removing_);
  ++snapshots_.hold_count_;
}

Snapshots::Hold::~Hold() {
  MutexLock lock(snapshots_.removing_);
  --snapshots_.hold_count_;
}

void Snapshots::RemoveWhatWasHeld() {
  {
    MutexLock lock(removing_);
    if (!removal_is_due_ || hold_count_ > 0) {
      return;
    }
  }
  // If that fails, the next snapshot tries again.
  RemoveOld().IgnoreError();
}

absl::Status Snapshots::RemoveOld() {
  MutexLock lock(removing_);
  removal_is_due_ = hold_count_ > 0;
  if (removal_is_due_) {
    return absl::OkStatus();
  }
  QUIRE_RETURN_IF_ERROR(RemoveReplaced());
  QUIRE_RETURN_IF_ERROR(
      RemoveAllBut(static_cast<size_t>(std::max(policy_.keep, 1))));
  return log_.stats().is_full ? RemoveAllBut(1) : absl::OkStatus();
}

absl::Status Snapshots::RemoveReplaced() {
  std::vector<uint64_t> replaced;
  {
    MutexLock lock(mutex_);
    for (const auto& [lsn, what] : damaged_) {
      if (lsn < newest_lsn_) {
        replaced.push_back(lsn);
      }
    }
  }
  if (replaced.empty()) {
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const journal::SnapshotList list,
                         journal::ListSnapshots(directory_.snapshots()));
  for (const uint64_t lsn : replaced) {
    if (std::ranges::find(list.lsns, lsn) != list.lsns.end()) {
      QUIRE_RETURN_IF_ERROR(
          journal::RemoveSnapshot(directory_.snapshots(), lsn));
    }
    MutexLock lock(mutex_);
    damaged_.erase(lsn);
  }
  return absl::OkStatus();
}

absl::Status Snapshots::RemoveAllBut(size_t count) {
  QUIRE_ASSIGN_OR_RETURN(journal::SnapshotList list,
                         journal::ListSnapshots(directory_.snapshots()));
  std::erase_if(list.lsns, [this](uint64_t lsn) { return IsDamaged(lsn); });
  for (size_t i = count; i < list.lsns.size(); ++i) {
    QUIRE_RETURN_IF_ERROR(
        journal::RemoveSnapshot(directory_.snapshots(), list.lsns[i]));
  }
  // While there are fewer, the log from its beginning stands for the others.
  return list.lsns.size() < count ? absl::OkStatus()
                                  : log_.RemoveBefore(list.lsns[count - 1] + 1);
}

}  // namespace quire
