// The embedding database in this process: a catalog of tables. Start here.
//
//   Engine engine({.table_bytes_max = 1 << 30});
//   auto created = engine.CreateTable(spec, v1::IF_EXISTS_ERROR);
//   auto table = engine.Find("dictionary");
//   (*table)->Lookup(ids, out);
//   engine.ApplyGradient({{.table = *table, .ids = ids, .gradient = bytes}});
//
// Every request is checked whole before its first effect; every error says
// what was found, what was needed and of which table, and changes nothing.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/mutex.h"
#include "base/worker_pool.h"
#include "engine/live_table.h"
#include "engine/sequencer.h"
#include "kernels/kernels.h"
#include "quire/v1/admin.pb.h"
#include "quire/v1/table.pb.h"
#include "tensor/bags.h"

namespace quire {

struct EngineOptions {
  // Memory that rows, optimizer state and labels may take, in bytes.
  int64_t table_bytes_max = int64_t{1} << 30;
  // Threads that write initial rows and scan tables.
  int worker_count = 2;
  const kernels::Kernels* kernels = &kernels::BestKernels();
};

// Gradients for rows of one table, as a request brings them.
struct PushPart {
  TableHandle table;
  // [n]
  std::span<const int64_t> ids;
  // float32 [n, dim], or with bags [bags, dim]: its size is right, and so are
  // those of the bags' arrays.
  ByteRange gradient;
  // In place of the table's, for this push: finite, 0 or more. Parts of one
  // table that bring one bring the same.
  std::optional<double> learning_rate = std::nullopt;
  // The bags of the lookup that this is the gradient of.
  std::optional<Bags> bags = std::nullopt;
  // Multiplies what came, before everything: finite.
  std::optional<double> gradient_scale = std::nullopt;
  // Of SUM bags with weights.
  bool return_weight_gradients = false;
  // Refused by tables to which it matters how often an id occurs.
  bool duplicates_summed = false;
};

// What a push did to the table of one part. Parts of one table get the same,
// but for the gradients of their weights.
struct PushResult {
  int64_t rows_changed = 0;
  int64_t padding_dropped = 0;
  int64_t rows_skipped = 0;
  int64_t step = 0;
  // When asked for: [n], from the rows as they were before the push.
  std::vector<float> weight_gradients;
};

class Engine {
 public:
  explicit Engine(const EngineOptions& options);
  // Nobody uses the engine or a handle any more.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // --- Tables ---

  struct Created {
    TableHandle table;
    bool is_new = false;
  };
  // Reserves the table's memory and starts to fill it. Of any number of
  // concurrent creators with IF_EXISTS_VERIFY one creates, all get the table.
  // RESOURCE_EXHAUSTED (MEMORY_FULL) if its rows do not fit what is left,
  // INVALID_ARGUMENT (TOO_LARGE) if they never can.
  absl::StatusOr<Created> CreateTable(const v1::TableSpec& spec,
                                      v1::IfExists if_exists);

  // A table that serves. NOT_FOUND; FAILED_PRECONDITION (TABLE_REPLACED) if
  // another one has the name by now; UNAVAILABLE (FILLING).
  absl::StatusOr<TableHandle> Find(
      std::string_view name, const std::optional<TableUid>& uid = {}) const;

  // The same, also while it is being filled.
  absl::StatusOr<TableHandle> FindAny(
      std::string_view name, const std::optional<TableUid>& uid = {}) const;

  // All tables, by name.
  std::vector<TableHandle> List() const;

  // New requests find no such table from here on. Its memory goes when the
  // last request that found it ends.
  absl::StatusOr<TableUid> DropTable(std::string_view name,
                                     const std::optional<TableUid>& uid);

  // Takes effect with the next push.
  absl::Status AlterTable(const LiveTable& table,
                          std::optional<double> learning_rate,
                          std::optional<bool> frozen);

  // The table as the API describes it.
  v1::Table Describe(const LiveTable& table) const;

  // --- Rows ---

  // One step of every table named: all of them or none. See PushPart; results
  // in the order of parts. Errors name fields as "tables[i].…".
  absl::StatusOr<std::vector<PushResult>> ApplyGradient(
      std::span<const PushPart> parts);

  // Sets stored rows; each id once.
  //   values  float32 [n, dim], finite unless the table allows others
  //   state   float32 [n, state_floats], likewise; or empty: the state stays
  absl::Status WriteRows(LiveTable& table, std::span<const int64_t> ids,
                         std::span<const float> values,
                         std::span<const float> state);

  // A table that is made from rows and appears when it is whole. Dropped
  // before Publish, it was never there. One thread at a time.
  class Import;
  absl::StatusOr<std::unique_ptr<Import>> BeginImport(
      const v1::TableSpec& spec);

  // --- The engine itself ---

  const MemoryBudget& table_memory() const { return budget_; }
  const kernels::Kernels& kernels() const { return kernels_; }
  WorkerPool& workers() { return workers_; }

 private:
  absl::StatusOr<TableHandle> MakeTable(const v1::TableSpec& normalized);
  void Fill(const TableHandle& table);
  absl::Status Publish(const TableHandle& table, Ticket first_ticket);

  // Constant after construction.
  const kernels::Kernels& kernels_;

  // Each guards itself.
  const std::unique_ptr<kernels::Stripes> stripes_;
  MemoryBudget budget_;
  Sequencer sequencer_;

  // Taken before mutex_.
  Mutex creation_mutex_;

  mutable SharedMutex mutex_;
  absl::flat_hash_map<std::string, TableHandle> tables_
      QUIRE_GUARDED_BY(mutex_);

  // Last: its threads end before what they work on.
  WorkerPool workers_;
};

class Engine::Import {
 public:
  ~Import();

  const LiveTable& table() const { return *table_; }

  // The next rows, by id.
  //   values  float32 [n, dim], finite unless the table allows others
  //   state   float32 [n, state_floats], likewise; or empty: initial state
  //   labels  [n], or empty for none
  absl::Status Write(std::span<const float> values,
                     std::span<const float> state,
                     std::span<const std::string_view> labels);

  // The table appears. INVALID_ARGUMENT unless every row was written,
  // ALREADY_EXISTS if another table took the name meanwhile.
  absl::StatusOr<TableHandle> Publish();

 private:
  friend class Engine;
  Import(Engine& engine, TableHandle table)
      : engine_(engine), table_(std::move(table)) {}

  Engine& engine_;
  const TableHandle table_;
  // Rows written so far: the next one's id.
  int64_t next_id_ = 0;
  uint64_t next_ticket_ = 0;
};

}  // namespace quire
