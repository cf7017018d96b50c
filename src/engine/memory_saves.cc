#include "engine/memory_saves.h"

#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/status.h"
#include "engine/snapshots.h"
#include "journal/snapshots.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {
namespace {

constexpr std::chrono::milliseconds kWaitInterval{1};

absl::Status CheckIsWanted(const MemorySaves::IsWanted& is_wanted) {
  return is_wanted()
             ? absl::OkStatus()
             : Error(Reason::kStopping,
                     "the server is stopping: the save of MEMORY tables "
                     "is given up");
}

}  // namespace

MemorySaves::MemorySaves(const Sequencer& sequencer, DataDirectory& directory,
                         MemoryBudget& tables, uint64_t newest_number,
                         int64_t rate_bytes)
    : sequencer_(sequencer),
      directory_(directory),
      tables_(tables),
      rate_bytes_(rate_bytes),
      newest_number_(newest_number),
      saved_changes_(sequencer.memory_change_count()) {}

bool MemorySaves::HasChanges() const {
  const uint64_t changes = sequencer_.memory_change_count();
  MutexLock lock(mutex_);
  return changes != saved_changes_;
}

absl::Status MemorySaves::Save(const IsWanted& is_wanted, bool is_paced) {
  // What comes between this and the image is saved, and saved again.
  const uint64_t changes = sequencer_.memory_change_count();
  if (!HasChanges()) {
    return absl::OkStatus();
  }
  QUIRE_RETURN_IF_ERROR(CheckIsWanted(is_wanted));
  const Sequencer::Image image = sequencer_.TakeMemoryImage(tables_);
  const absl::Cleanup end_of_copies = [&image] {
    for (const Sequencer::Image::OfTable& table : image.tables) {
      table.table->rows().EndCopyAsOf();
    }
  };
  const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  QUIRE_RETURN_IF_ERROR(Write(image, now, is_wanted, is_paced));
  ++newest_number_;
  for (const Sequencer::Image::OfTable& table : image.tables) {
    table.table->SetSaved(now);
  }
  {
    MutexLock lock(mutex_);
    saved_changes_ = changes;
  }
  return RemoveOld();
}

absl::Status MemorySaves::Write(const Sequencer::Image& image,
                                int64_t unix_seconds, const IsWanted& is_wanted,
                                bool is_paced) {
  const uint64_t number = newest_number_ + 1;
  QUIRE_ASSIGN_OR_RETURN(
      const std::unique_ptr<journal::SnapshotWriter> writer,
      journal::SnapshotWriter::Begin(directory_.memory(), directory_.identity(),
                                     number));
  storage::v1::SnapshotManifest manifest = ManifestOf(image, /*epoch=*/0);
  manifest.set_lsn(number);
  manifest.set_saved_unix_seconds(unix_seconds);
  for (size_t i = 0; i < image.tables.size(); ++i) {
    manifest.mutable_tables(static_cast<int>(i))->set_has_rows(true);
    QUIRE_RETURN_IF_ERROR(WriteTable(static_cast<uint32_t>(i), image.tables[i],
                                     is_wanted, is_paced, *writer));
  }
  const std::string body = manifest.SerializeAsString();
  return writer->Finish(std::as_bytes(std::span(body)));
}

absl::Status MemorySaves::WriteTable(uint32_t stream,
                                     const Sequencer::Image::OfTable& table,
                                     const IsWanted& is_wanted, bool is_paced,
                                     journal::SnapshotWriter& writer) {
  const auto begun = std::chrono::steady_clock::now();
  const int64_t bytes_before = writer.bytes_written();
  Table& rows = table.table->rows();
  std::vector<float> floats;
  for (int32_t s = 0; s < rows.config().shard_count; ++s) {
    const auto id = static_cast<uint32_t>(s);
    Shard& shard = rows.shard_to_copy(ShardId{id});
    // Earlier changes are being made: that takes moments.
    while (!shard.HasTurn(table.next_ticket)) {
      std::this_thread::sleep_for(kWaitInterval);
    }
    for (int64_t c = 0; c < shard.chunk_count(); ++c) {
      QUIRE_RETURN_IF_ERROR(CheckIsWanted(is_wanted));
      floats.resize(shard.ChunkFloats(c));
      shard.CopyChunkAsOf(c, floats.data());
      const Bytes payload = std::as_bytes(std::span(floats));
      QUIRE_RETURN_IF_ERROR(
          writer.Append({.stream = stream,
                         .index = RowsChunk(id, static_cast<uint32_t>(c)),
                         .lsn = 0},
                        {&payload, 1}));
      if (is_paced && rate_bytes_ > 0) {
        const auto written =
            static_cast<double>(writer.bytes_written() - bytes_before);
        std::this_thread::sleep_until(
            begun + std::chrono::duration_cast<std::chrono::nanoseconds>(
                        std::chrono::duration<double>(
                            written / static_cast<double>(rate_bytes_))));
      }
    }
  }
  return WriteLabels(stream, *table.table, /*lsn=*/0, writer);
}

absl::Status MemorySaves::RemoveOld() {
  QUIRE_ASSIGN_OR_RETURN(const journal::SnapshotList list,
                         journal::ListSnapshots(directory_.memory()));
  for (const uint64_t number : list.lsns) {
    if (number != newest_number_) {
      QUIRE_RETURN_IF_ERROR(
          journal::RemoveSnapshot(directory_.memory(), number));
    }
  }
  return absl::OkStatus();
}

}  // namespace quire
