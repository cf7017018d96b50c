#include "engine/exact_table.h"

#include <fmt/format.h>

#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include "base/status.h"

namespace quire {
namespace {

constexpr std::chrono::milliseconds kWaitInterval{1};

}  // namespace

absl::StatusOr<ExactTable> ExactTable::Open(Engine& engine, TableHandle table) {
  ExactTable exact(engine, std::move(table));
  // Before the position is taken: what it needs is there then.
  exact.hold_ = engine.HoldPast();
  const std::optional<Sequencer::Moment> now = engine.MomentOf(*exact.table_);
  if (!now) {
    const std::string& name = exact.table_->name();
    return engine.FindAny(name).ok() ? TableReplaced(name) : NoSuchTable(name);
  }
  exact.moment_ = *now;
  exact.is_exact_ = exact.table_->is_logged() && exact.WaitUntilMade();
  if (!exact.is_exact_) {
    exact.hold_.reset();
  }
  return exact;
}

bool ExactTable::WaitUntilMade() const {
  const Table& rows = table_->rows();
  for (int32_t s = 0; s < rows.config().shard_count; ++s) {
    const Shard& shard = rows.shard(ShardId{static_cast<uint32_t>(s)});
    while (!shard.HasTurn(moment_.next_ticket)) {
      if (engine_->log()->stats().has_failed) {
        return false;
      }
      std::this_thread::sleep_for(kWaitInterval);
    }
  }
  return true;
}

bool ExactTable::IsAsItWas() const {
  const std::optional<Sequencer::Moment> now = engine_->MomentOf(*table_);
  return now && now->next_ticket == moment_.next_ticket;
}

absl::Status ExactTable::Rebuild() {
  absl::StatusOr<Engine::PastTable> past =
      engine_->TableAsOf(*table_, moment_.lsn);
  if (ReasonOf(past.status()) == Reason::kMemoryFull) {
    const auto message = past.status().message();
    return Error(
        Reason::kMemoryFull,
        fmt::format("table '{}' changed while it was read: {}. A table that is "
                    "frozen is read without a copy",
                    table_->name(),
                    std::string_view(message.data(), message.size())),
        "table.name");
  }
  QUIRE_RETURN_IF_ERROR(past.status());
  past_ = past->table;
  hold_.reset();
  return absl::OkStatus();
}

absl::Status ExactTable::Read(
    const std::function<void(const LiveTable&)>& read) {
  if (past_ == nullptr) {
    read(*table_);
    if (!is_exact_ || IsAsItWas()) {
      return absl::OkStatus();
    }
    QUIRE_RETURN_IF_ERROR(Rebuild());
  }
  read(*past_);
  return absl::OkStatus();
}

}  // namespace quire
