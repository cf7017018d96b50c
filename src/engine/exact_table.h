// A table as of one position, read while it changes.
//
//   the table itself ──a change──► what it was, rebuilt aside
//
// As long as nothing has changed since the position, the table itself is read:
// that costs nothing. When something has, the table is rebuilt as it was
// (Engine::TableAsOf), and read there from then on. Until then log and
// snapshots are held.
//
// A MEMORY table has no past: it is read as it is, each row whole. So is any
// table after the log has failed.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace quire {

class ExactTable {
 public:
  // As of now: waits until all changes before are made. `engine` outlives it.
  // NOT_FOUND, TABLE_REPLACED if the table has ended.
  static absl::StatusOr<ExactTable> Open(Engine& engine, TableHandle table);

  // All changes up to there are in it, and none after. 0: it has no position.
  uint64_t lsn() const { return is_exact_ ? moment_.lsn : 0; }
  // Pushes up to there.
  int64_t step() const { return moment_.step; }
  // Whether rows come from what was rebuilt.
  bool is_rebuilt() const { return past_ != nullptr; }

  // Calls `read` with what is to be read; once more, if the table changed
  // meanwhile: the last call counts. MEMORY_FULL and other errors of
  // Engine::TableAsOf: what was read before stays right.
  absl::Status Read(const std::function<void(const LiveTable&)>& read);

 private:
  ExactTable(Engine& engine, TableHandle table)
      : engine_(&engine), table_(std::move(table)) {}

  // False: the log has failed.
  bool WaitUntilMade() const;
  bool IsAsItWas() const;
  absl::Status Rebuild();

  Engine* engine_;
  TableHandle table_;
  bool is_exact_ = false;
  Sequencer::Moment moment_;
  // While the table itself is read.
  std::unique_ptr<Snapshots::Hold> hold_;
  // Null: nothing has changed yet.
  TableHandle past_;
};

}  // namespace quire
