#include "engine/disk_life.h"

#include <chrono>
#include <numeric>
#include <span>
#include <utility>

#include "base/status.h"

namespace quire {

journal::LogOptions SmallLog() {
  return {.segment_bytes = kSmallSegmentBytes,
          .room_retry_interval = std::chrono::milliseconds(5)};
}

absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(
    journal::ModelDisk& disk, const journal::LogOptions& log) {
  QUIRE_ASSIGN_OR_RETURN(auto directory, DataDirectory::Open(disk.Open(), {}));
  return Engine::Open({.table_bytes_max = 1 << 20,
                       .worker_count = 1,
                       .log = log,
                       .snapshots = {.rate_bytes = 0}},
                      std::move(directory));
}

v1::TableSpec LedgerSpec(int64_t rows, int64_t dim) {
  v1::TableSpec spec;
  spec.set_name(kLedger);
  spec.set_num_embeddings(rows);
  spec.set_embedding_dim(static_cast<int32_t>(dim));
  spec.set_shard_count(2);
  spec.mutable_initializer()->mutable_zeros();
  return spec;
}

std::vector<float> RowsOf(const LiveTable& table) {
  const TableConfig& config = table.rows().config();
  std::vector<int64_t> ids(static_cast<size_t>(config.num_embeddings));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<float> rows(ids.size() * static_cast<size_t>(config.dim));
  table.rows().Gather(ids, reinterpret_cast<std::byte*>(rows.data()));
  return rows;
}

Addition::Addition(const TableHandle& table, std::vector<int64_t> ids,
                   const PushId& id, v1::Durability durability)
    : ids_(std::move(ids)),
      gradient_(ids_.size() * static_cast<size_t>(table->dim()), -1.0f),
      bytes_(std::as_bytes(std::span(gradient_))),
      part_{.table = table,
            .ids = ids_,
            .gradient = ByteRange(bytes_),
            .learning_rate = 1.0},
      id_(id),
      durability_(durability) {}

Push Addition::push() const {
  return {.parts = {&part_, 1}, .id = id_, .min_durability = durability_};
}

}  // namespace quire
