// What tests of engines on a model disk share: an engine that goes on with what
// is there, and a table in which pushes can be counted.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "journal/model_disk.h"

namespace quire {

inline constexpr int64_t kSmallSegmentBytes = 1 << 12;
inline constexpr char kLedger[] = "ledger";

// Segments of a few pushes, and no patience with a full disk.
journal::LogOptions SmallLog();

// Goes on with what is on `disk`, which outlives the engine.
absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(
    journal::ModelDisk& disk, const journal::LogOptions& log = SmallLog());

// A LOGGED table of zeros, in two shards, that learns by plain SGD.
v1::TableSpec LedgerSpec(int64_t rows, int64_t dim);

// All rows: float32 [rows, dim].
std::vector<float> RowsOf(const LiveTable& table);

// A push that adds 1 to each row of `ids`, once for each time that it is named.
// It stays until the push has ended.
class Addition {
 public:
  Addition(const TableHandle& table, std::vector<int64_t> ids, const PushId& id,
           v1::Durability durability);
  Addition(const Addition&) = delete;
  Addition& operator=(const Addition&) = delete;

  Push push() const;

 private:
  const std::vector<int64_t> ids_;
  const std::vector<float> gradient_;
  const Bytes bytes_;
  const PushPart part_;
  const PushId id_;
  const v1::Durability durability_;
};

}  // namespace quire
