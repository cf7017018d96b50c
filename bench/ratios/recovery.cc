#include <fmt/format.h>

#include <numeric>

#include "bench/ratios/durable.h"
#include "bench/ratios/workloads.h"
#include "engine/engine.h"
#include "journal/posix_files.h"

namespace quire::bench {
namespace {

constexpr int kStarts = 5;
constexpr int64_t kLogPushes = 2000;
// A start also reads the log's segment in which the snapshot's LSN is, from its
// beginning: a gigabyte of rows beside a quarter of log.
constexpr int64_t kSnapshotRows = 4 * kRows;

template <typename Value>
Value ValueOrDie(absl::StatusOr<Value> value) {
  if (!value.ok()) {
    Die(fmt::format("recovery: {}", value.status().ToString()));
  }
  return *std::move(value);
}

std::unique_ptr<Engine> Open(const std::filesystem::path& path) {
  const EngineOptions options = {
      .table_bytes_max = int64_t{4} << 30,
      .snapshots = {.log_bytes_max = int64_t{1} << 40, .rate_bytes = 0}};
  return ValueOrDie(Engine::Open(
      options, ValueOrDie(DataDirectory::Open(
                   ValueOrDie(journal::OpenDirectory(path.string())), {}))));
}

void Push(Engine& engine, const TableHandle& table,
          std::span<const int64_t> ids) {
  static const std::vector<float> gradient(kW4.floats(), 1e-3f);
  const Bytes bytes =
      std::as_bytes(std::span(gradient).first(ids.size() * kW4.dim));
  const PushPart part = {
      .table = table, .ids = ids, .gradient = ByteRange(bytes)};
  ValueOrDie(engine.ApplyGradient({&part, 1}));
}

TableHandle MakeTable(Engine& engine, int64_t row_count) {
  v1::TableSpec spec;
  spec.set_name("t");
  spec.set_num_embeddings(row_count);
  spec.set_embedding_dim(static_cast<int64_t>(kW4.dim));
  spec.mutable_optimizer()->mutable_rowwise_adagrad();
  ValueOrDie(engine.CreateTable(spec, v1::IF_EXISTS_ERROR));
  absl::StatusOr<TableHandle> table = engine.Find("t");
  while (!table.ok()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    table = engine.Find("t");
  }
  return *table;
}

// Every row is written once: no chunk is as it was at the beginning.
void PushEveryRow(Engine& engine, const TableHandle& table) {
  std::vector<int64_t> ids(kW4.ids);
  for (int64_t first = 0; first < kSnapshotRows; first += std::ssize(ids)) {
    std::iota(ids.begin(), ids.end(), first);
    const int64_t count = std::min(std::ssize(ids), kSnapshotRows - first);
    Push(engine, table, std::span(ids).first(static_cast<size_t>(count)));
  }
}

int64_t BytesBelow(const std::filesystem::path& path) {
  int64_t bytes = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(path)) {
    bytes +=
        entry.is_regular_file() ? static_cast<int64_t>(entry.file_size()) : 0;
  }
  return bytes;
}

void Show(const std::string& name, int64_t bytes, double gate,
          const std::filesystem::path& path) {
  std::vector<double> rates;
  for (int i = 0; i < kStarts; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const std::unique_ptr<Engine> engine = Open(path);
    rates.push_back(
        static_cast<double>(bytes) /
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
            .count());
    ValueOrDie(engine->Find("t"));
  }
  const Spread rate = SpreadOf(rates);
  fmt::print(
      "figure {} {:.2f}\n      GB/s ({:.2f} .. {:.2f}) of {:.2f} GB; {:.1f} is "
      "asked for{}\n",
      name, rate.median / 1e9, rate.low / 1e9, rate.high / 1e9,
      static_cast<double>(bytes) / 1e9, gate,
      rate.median / 1e9 < gate ? ": SHORT" : "");
}

}  // namespace

void ShowRecovery(const std::filesystem::path& disk) {
  {
    const ScratchDirectory scratch(disk);
    {
      const std::unique_ptr<Engine> engine = Open(scratch.path());
      PushEveryRow(*engine, MakeTable(*engine, kSnapshotRows));
      ValueOrDie(engine->CreateSnapshot());
    }
    Show("recovery_snapshot_gb_per_s", BytesBelow(scratch.path() / "snapshots"),
         1.0, scratch.path());
  }
  const ScratchDirectory scratch(disk);
  int64_t log_bytes = 0;
  {
    const std::unique_ptr<Engine> engine = Open(scratch.path());
    const TableHandle table = MakeTable(*engine, kRows);
    Batches batches(kW4, 0);
    for (int64_t i = 0; i < kLogPushes; ++i) {
      Push(*engine, table, batches.Next());
    }
    log_bytes = engine->log()->stats().appended_bytes;
  }
  Show("recovery_log_gb_per_s", log_bytes, 0.5, scratch.path());
}

}  // namespace quire::bench
