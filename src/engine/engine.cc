#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/status.h"
#include "engine/table_spec.h"

namespace quire {
namespace {

// Below this many floats a table is filled by the thread that creates it: it
// takes about a millisecond.
constexpr int64_t kFillInlineFloats = int64_t{1} << 18;

constexpr int64_t kFillingRetryMs = 50;

TableUid FreshUid() {
  static thread_local std::random_device random;
  TableUid uid;
  for (uint8_t& byte : uid.bytes) {
    byte = static_cast<uint8_t>(random());
  }
  return uid;
}

// Of rows that a table is to store.
absl::Status CheckFinite(const kernels::Kernels& kernels, const Table& table,
                         std::span<const float> numbers, int64_t columns,
                         std::string_view field) {
  if (table.config().non_finite_policy == NonFinitePolicy::kAllow) {
    return absl::OkStatus();
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(numbers.data());
  const size_t bad = kernels.first_non_finite(bytes, numbers.size());
  if (bad == numbers.size()) {
    return absl::OkStatus();
  }
  const auto at = static_cast<int64_t>(bad);
  return Error(Reason::kNonFinite,
               fmt::format("{}: row {}, column {} is {}; nothing was changed",
                           field, at / columns, at % columns, numbers[bad]),
               field);
}

// The parts of one table, and where they stand in the request.
struct PushGroup {
  LiveTable* table;
  std::vector<GradientPart> parts;
  std::vector<size_t> positions;
  std::optional<double> learning_rate;
};

std::string PartField(size_t position) {
  return fmt::format("tables[{}].", position);
}

// torch.nn.EmbeddingBag: no division by frequency of a gradient that goes to
// winners, or that has weights.
absl::Status CheckFrequency(const PushPart& part) {
  if (!part.bags || !part.table->rows().config().scale_grad_by_freq) {
    return absl::OkStatus();
  }
  const bool is_max = part.bags->pooling == Pooling::kMax;
  if (!is_max && part.bags->weights.empty()) {
    return absl::OkStatus();
  }
  return Error(Reason::kBadValue,
               fmt::format("table '{}' has scale_grad_by_freq, which does not "
                           "go with {}; use another pooling, or a table "
                           "without it",
                           part.table->name(),
                           is_max ? "POOLING_MAX" : "weights of bags"),
               is_max ? "bags.pooling" : "bags.weights");
}

// Whether the table must see every occurrence of an id by itself.
absl::Status CheckDuplicatesSummed(const PushPart& part) {
  const TableConfig& config = part.table->rows().config();
  const bool skips_rows = config.non_finite_policy == NonFinitePolicy::kSkipRow;
  if (!part.duplicates_summed || !(config.scale_grad_by_freq || skips_rows)) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kBadValue,
      fmt::format(
          "table '{}' has {}: it matters how often an id occurs, and "
          "the gradients of equal ids were summed before they came. "
          "Push them as they are; if that is too large, fewer rows at "
          "a time",
          part.table->name(),
          skips_rows ? "non_finite_policy SKIP_ROW" : "scale_grad_by_freq"),
      "duplicates_summed");
}

// RULINGS 12: a table that is named twice is one table.
absl::StatusOr<std::vector<PushGroup>> GroupByTable(
    std::span<const PushPart> parts) {
  std::vector<PushGroup> groups;
  absl::flat_hash_map<const LiveTable*, size_t> group_of;
  for (size_t i = 0; i < parts.size(); ++i) {
    const PushPart& part = parts[i];
    QUIRE_RETURN_IF_ERROR(
        WithFieldPrefix(part.table->CheckIds(part.ids), PartField(i)));
    QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckFrequency(part), PartField(i)));
    QUIRE_RETURN_IF_ERROR(
        WithFieldPrefix(CheckDuplicatesSummed(part), PartField(i)));
    const auto [found, is_new] =
        group_of.try_emplace(part.table.get(), groups.size());
    if (is_new) {
      groups.push_back({.table = part.table.get()});
    }
    PushGroup& group = groups[found->second];
    group.parts.push_back({.ids = part.ids,
                           .gradient = part.gradient,
                           .bags = part.bags,
                           .gradient_scale = part.gradient_scale});
    group.positions.push_back(i);
    if (part.learning_rate && group.learning_rate &&
        *part.learning_rate != *group.learning_rate) {
      return Error(Reason::kBadValue,
                   fmt::format("table '{}' is named twice with learning rates "
                               "{} and {}; a push is one step",
                               part.table->name(), *group.learning_rate,
                               *part.learning_rate),
                   PartField(i) + "learning_rate");
    }
    if (part.learning_rate) {
      group.learning_rate = part.learning_rate;
    }
  }
  return groups;
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : kernels_(*options.kernels),
      stripes_(std::make_unique<kernels::Stripes>()),
      budget_(options.table_bytes_max),
      workers_(options.worker_count) {}

Engine::~Engine() {
  WriterLock lock(mutex_);
  for (auto& [name, table] : tables_) {
    table->Abandon();
  }
}

// --- Tables ---

absl::StatusOr<TableHandle> Engine::MakeTable(const v1::TableSpec& normalized) {
  const TableConfig config = ConfigOf(normalized);
  // Each factor is bounded (limits.h), their product is not.
  const double bytes =
      static_cast<double>(config.num_embeddings + config.shard_count) *
      static_cast<double>(config.dim +
                          config.optimizer.StateFloats(config.dim)) *
      sizeof(float);
  const auto limit = static_cast<double>(budget_.bytes_max());
  if (bytes > 2 * limit) {
    return Error(
        Reason::kTooLarge,
        fmt::format("table '{}' needs about {:.0f} bytes; this server's tables "
                    "may take {}. Raise --memory-limit, or make it smaller",
                    normalized.name(), bytes, budget_.bytes_max()),
        "spec.num_embeddings");
  }
  const int64_t needed = Table::ValueBytes(config) + Table::StateBytes(config);
  if (needed > budget_.bytes_max()) {
    return Error(
        Reason::kTooLarge,
        fmt::format("table '{}' needs {} bytes; this server's tables may take "
                    "{}. Raise --memory-limit, or make it smaller",
                    normalized.name(), needed, budget_.bytes_max()),
        "spec.num_embeddings");
  }
  MemoryBudget::Charge charge;
  if (!budget_.TryCharge(needed, charge)) {
    return Error(
        Reason::kMemoryFull,
        fmt::format("table '{}' needs {} bytes; of {} that tables may take, {} "
                    "are in use. Drop a table, or raise --memory-limit",
                    normalized.name(), needed, budget_.bytes_max(),
                    budget_.bytes_used()),
        "spec.num_embeddings");
  }
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Table> rows,
                         Table::Make(config, kernels_, *stripes_));
  return std::make_shared<LiveTable>(FreshUid(), normalized, std::move(rows),
                                     std::move(charge), budget_);
}

void Engine::Fill(const TableHandle& table) {
  const TableConfig& config = table->rows().config();
  const bool is_small = config.num_embeddings * config.dim <= kFillInlineFloats;
  for (int32_t shard = 0; shard < config.shard_count; ++shard) {
    const ShardId id{static_cast<uint32_t>(shard)};
    if (is_small) {
      table->FillShard(id, /*initial_values=*/true);
      continue;
    }
    workers_.Post([table, id] {
      if (!table->abandoned()) {
        table->FillShard(id, /*initial_values=*/true);
      }
    });
  }
}

absl::Status Engine::Publish(const TableHandle& table, Ticket first_ticket) {
  WriterLock lock(mutex_);
  if (tables_.contains(table->name())) {
    return Error(Reason::kTableExists,
                 fmt::format("table '{}' exists", table->name()), "spec.name");
  }
  if (static_cast<int64_t>(tables_.size()) >= kTableCountMax) {
    return Error(Reason::kMemoryFull,
                 fmt::format("this server has {} tables, and that is its limit",
                             tables_.size()),
                 "spec.name");
  }
  const v1::Optimizer& optimizer = table->created_spec().optimizer();
  sequencer_.Add(table->uid(),
                 {.learning_rate = optimizer.learning_rate(),
                  .frozen = table->created_spec().frozen()},
                 first_ticket);
  tables_.emplace(table->name(), table);
  return absl::OkStatus();
}

absl::StatusOr<Engine::Created> Engine::CreateTable(const v1::TableSpec& spec,
                                                    v1::IfExists if_exists) {
  QUIRE_ASSIGN_OR_RETURN(v1::TableSpec full, Normalize(spec));
  if (!v1::IfExists_IsValid(if_exists)) {
    return Error(Reason::kBadValue,
                 fmt::format("if_exists is {}, which this version does not "
                             "know",
                             static_cast<int>(if_exists)),
                 "if_exists");
  }
  // One creator at a time: another of the same table would be told that there
  // is no memory while the first, whose table it could have, holds it.
  MutexLock lock(creation_mutex_);
  // A table may vanish, or an import publish one, between our two looks: look
  // again.
  while (true) {
    if (absl::StatusOr<TableHandle> existing = FindAny(full.name());
        existing.ok()) {
      if (if_exists != v1::IF_EXISTS_VERIFY) {
        return Error(Reason::kTableExists,
                     fmt::format("table '{}' exists", full.name()),
                     "spec.name");
      }
      QUIRE_RETURN_IF_ERROR(CheckSame(Describe(**existing).spec(), full));
      return Created{.table = *std::move(existing), .is_new = false};
    }
    QUIRE_ASSIGN_OR_RETURN(TableHandle table, MakeTable(full));
    const absl::Status published = Publish(table, Ticket{0});
    if (published.ok()) {
      Fill(table);
      return Created{.table = std::move(table), .is_new = true};
    }
    if (ReasonOf(published) != Reason::kTableExists) {
      return published;
    }
  }
}

absl::StatusOr<TableHandle> Engine::FindAny(
    std::string_view name, const std::optional<TableUid>& uid) const {
  QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckTableName(name), "table."));
  TableHandle table;
  {
    ReaderLock lock(mutex_);
    const auto found =
        tables_.find(absl::string_view(name.data(), name.size()));
    if (found != tables_.end()) {
      table = found->second;
    }
  }
  if (table == nullptr) {
    return NoSuchTable(name);
  }
  if (uid && *uid != table->uid()) {
    return Error(Reason::kTableReplaced,
                 fmt::format("table '{}' was dropped and made anew since the "
                             "request's uid was given out; describe it again",
                             name),
                 "table.uid");
  }
  return table;
}

absl::StatusOr<TableHandle> Engine::Find(
    std::string_view name, const std::optional<TableUid>& uid) const {
  QUIRE_ASSIGN_OR_RETURN(TableHandle table, FindAny(name, uid));
  if (!table->ready()) {
    return WithRetryAfterMs(
        Error(Reason::kFilling,
              fmt::format("table '{}' is being filled with its initial rows: "
                          "{:.0f} % done; try again",
                          name, 100 * table->filled()),
              "table.name"),
        kFillingRetryMs);
  }
  return table;
}

std::vector<TableHandle> Engine::List() const {
  std::vector<TableHandle> tables;
  {
    ReaderLock lock(mutex_);
    for (const auto& [name, table] : tables_) {
      tables.push_back(table);
    }
  }
  std::ranges::sort(tables, {}, [](const TableHandle& table) {
    return std::string_view(table->name());
  });
  return tables;
}

absl::StatusOr<TableUid> Engine::DropTable(std::string_view name,
                                           const std::optional<TableUid>& uid) {
  QUIRE_ASSIGN_OR_RETURN(TableHandle table, FindAny(name, uid));
  // Only one of several droppers finds it in the order.
  if (!sequencer_.Remove(table->uid())) {
    return NoSuchTable(name);
  }
  table->Abandon();
  WriterLock lock(mutex_);
  tables_.erase(table->name());
  return table->uid();
}

absl::Status Engine::AlterTable(const LiveTable& table,
                                std::optional<double> learning_rate,
                                std::optional<bool> frozen) {
  if (learning_rate) {
    QUIRE_RETURN_IF_ERROR(CheckLearningRate(*learning_rate, "learning_rate"));
  }
  return sequencer_.Alter(table.uid(), table.name(), learning_rate, frozen);
}

v1::Table Engine::Describe(const LiveTable& table) const {
  v1::Table description;
  description.set_uid(table.uid().bytes.data(), table.uid().bytes.size());
  *description.mutable_spec() = table.created_spec();
  if (std::optional<Sequencer::State> state = sequencer_.StateOf(table.uid())) {
    v1::TableSpec& spec = *description.mutable_spec();
    spec.mutable_optimizer()->set_learning_rate(state->settings.learning_rate);
    spec.set_frozen(state->settings.frozen);
    description.set_step(state->step);
  }
  description.set_state(table.ready() ? v1::TABLE_STATE_READY
                                      : v1::TABLE_STATE_FILLING);
  description.set_filled(table.filled());

  const TableConfig& config = table.rows().config();
  const LiveTable::Counters& counters = table.counters();
  v1::TableStats& stats = *description.mutable_stats();
  stats.set_row_count(config.num_embeddings);
  stats.set_value_bytes(Table::ValueBytes(config));
  stats.set_state_bytes(Table::StateBytes(config));
  stats.set_label_bytes(table.labels().bytes());
  stats.set_label_count(table.labels().count());
  stats.set_lookups(counters.lookups.load(std::memory_order_relaxed));
  stats.set_rows_looked_up(
      counters.rows_looked_up.load(std::memory_order_relaxed));
  stats.set_pushes(counters.pushes.load(std::memory_order_relaxed));
  stats.set_rows_changed(counters.rows_changed.load(std::memory_order_relaxed));
  stats.set_rows_skipped(counters.rows_skipped.load(std::memory_order_relaxed));
  return description;
}

// --- Rows ---

absl::StatusOr<std::vector<PushResult>> Engine::ApplyGradient(
    std::span<const PushPart> parts) {
  QUIRE_ASSIGN_OR_RETURN(std::vector<PushGroup> groups, GroupByTable(parts));

  std::vector<GradientBatch> batches;
  std::vector<Sequencer::PushIntent> intents;
  for (const PushGroup& group : groups) {
    size_t bad_part = 0;
    absl::StatusOr<GradientBatch> batch = GradientBatch::Make(
        group.parts, group.table->rows().config(), kernels_, &bad_part);
    if (!batch.ok()) {
      return WithFieldPrefix(std::move(batch).status(),
                             PartField(group.positions[bad_part]));
    }
    batches.push_back(*std::move(batch));
    intents.push_back({.uid = group.table->uid(),
                       .name = group.table->name(),
                       .learning_rate = group.learning_rate});
  }

  std::vector<PushResult> results(parts.size());
  for (const PushGroup& group : groups) {
    for (size_t i = 0; i < group.parts.size(); ++i) {
      const size_t position = group.positions[i];
      if (parts[position].return_weight_gradients) {
        std::vector<float>& gradients = results[position].weight_gradients;
        gradients.resize(parts[position].ids.size());
        group.table->rows().WeightGradients(group.parts[i], gradients);
      }
    }
  }

  size_t refused = 0;
  absl::StatusOr<std::vector<Sequencer::PushPlace>> places =
      sequencer_.SequencePush(intents, &refused);
  if (!places.ok()) {
    return WithFieldPrefix(std::move(places).status(),
                           PartField(groups[refused].positions.front()));
  }

  for (size_t g = 0; g < groups.size(); ++g) {
    LiveTable& table = *groups[g].table;
    const Sequencer::PushPlace& place = (*places)[g];
    const Table::Moved moved = table.rows().ApplyGradient(
        batches[g],
        {.optimizer = table.rows().config().optimizer,
         .learning_rate = place.learning_rate,
         .step = place.step},
        place.ticket);
    const int64_t rows_skipped = batches[g].rows_skipped() + moved.rows_skipped;
    LiveTable::Counters& counters = table.counters();
    counters.pushes.fetch_add(1, std::memory_order_relaxed);
    counters.rows_changed.fetch_add(moved.rows_changed,
                                    std::memory_order_relaxed);
    counters.rows_skipped.fetch_add(rows_skipped, std::memory_order_relaxed);
    for (const size_t position : groups[g].positions) {
      PushResult& result = results[position];
      result.rows_changed = moved.rows_changed;
      result.padding_dropped = batches[g].padding_dropped();
      result.rows_skipped = rows_skipped;
      result.step = place.step;
    }
  }
  return results;
}

absl::Status Engine::WriteRows(LiveTable& table, std::span<const int64_t> ids,
                               std::span<const float> values,
                               std::span<const float> state) {
  QUIRE_RETURN_IF_ERROR(table.CheckIds(ids));
  std::vector<int64_t> sorted(ids.begin(), ids.end());
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted);
      twice != sorted.end()) {
    return Error(Reason::kBadValue,
                 fmt::format("table '{}': id {} is written twice in one "
                             "request",
                             table.name(), *twice),
                 "ids.ids");
  }
  QUIRE_RETURN_IF_ERROR(
      CheckFinite(kernels_, table.rows(), values, table.dim(), "values"));
  QUIRE_RETURN_IF_ERROR(CheckFinite(kernels_, table.rows(), state,
                                    table.rows().state_floats(), "state"));
  QUIRE_ASSIGN_OR_RETURN(Ticket ticket,
                         sequencer_.SequenceWrite(table.uid(), table.name()));
  table.rows().WriteRows(ids, values.data(),
                         state.empty() ? nullptr : state.data(), ticket);
  return absl::OkStatus();
}

// --- Imports ---

absl::StatusOr<std::unique_ptr<Engine::Import>> Engine::BeginImport(
    const v1::TableSpec& spec) {
  absl::StatusOr<v1::TableSpec> full = Normalize(spec);
  if (!full.ok()) {
    return WithFieldPrefix(full.status(), "header.");
  }
  if (FindAny(full->name()).ok()) {
    return Error(Reason::kTableExists,
                 fmt::format("table '{}' exists", full->name()),
                 "header.spec.name");
  }
  absl::StatusOr<TableHandle> made = MakeTable(*full);
  if (!made.ok()) {
    return WithFieldPrefix(made.status(), "header.");
  }
  TableHandle table = *std::move(made);
  workers_.ParallelFor(full->shard_count(), [&](int64_t shard) {
    table->FillShard(ShardId{static_cast<uint32_t>(shard)},
                     /*initial_values=*/false);
  });
  return std::unique_ptr<Import>(new Import(*this, std::move(table)));
}

Engine::Import::~Import() = default;

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
  QUIRE_RETURN_IF_ERROR(CheckFinite(engine_.kernels_, table_->rows(), values,
                                    dim, "chunk.values"));
  QUIRE_RETURN_IF_ERROR(CheckFinite(engine_.kernels_, table_->rows(), state,
                                    state_floats, "chunk.state"));
  std::vector<int64_t> ids(static_cast<size_t>(count));
  std::ranges::generate(ids, [this] { return next_id_++; });
  table_->rows().WriteRows(ids, values.data(),
                           state.empty() ? nullptr : state.data(),
                           Ticket{next_ticket_++});
  return labels.empty() ? absl::OkStatus() : table_->labels().Set(ids, labels);
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
  QUIRE_RETURN_IF_ERROR(WithFieldPrefix(
      engine_.Publish(table_, Ticket{next_ticket_}), "header."));
  return table_;
}

}  // namespace quire
