// What an engine has found on the disk, against what it must have.

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"
#include "crash/disk_world.h"

namespace quire::crash {

void DiskWorld::CheckRows(bool after_power_cut) {
  const absl::StatusOr<TableHandle> table = engine_->FindAny(kLedger);
  if (!table.ok()) {
    ledger_.Violate(&Violations::lost, std::string(table.status().message()));
    return;
  }
  for (const Sent* sent : order_) {
    const bool is_promised =
        after_power_cut ? sent->is_synced : sent->is_acknowledged;
    sent->push->expected = is_promised ? Expected::kThere : Expected::kEither;
  }
  ledger_.Check(RowsOf(**table));
}

// The table's own count of its pushes.
void DiskWorld::CheckStep() {
  const absl::StatusOr<TableHandle> table = engine_->FindAny(kLedger);
  const int64_t step = table.ok() ? engine_->Describe(**table).step() : -1;
  const int64_t there = std::ranges::count_if(
      sent_, [](const Sent& sent) { return sent.push->was_applied; });
  if (step != there) {
    ledger_.Violate(&Violations::others,
                    fmt::format("the table's step is {}, and {} pushes are "
                                "there",
                                step, there));
  }
}

void DiskWorld::CheckSessions() {
  const auto is_gone = [&](const SessionId& id) {
    return ReasonOf(
               engine_->WasPushed({.session = id, .sequence = 1}).status()) ==
           Reason::kSessionExpired;
  };
  std::erase_if(sessions_, [&](const Session& session) {
    if (!is_gone(session.id)) {
      return false;
    }
    const bool has_pushed =
        std::ranges::any_of(sent_, [&session](const Sent& sent) {
          return sent.id.session == session.id && sent.push->was_applied;
        });
    if (!power_was_cut_ || has_pushed) {
      ledger_.Violate(&Violations::others, "a session is lost");
    }
    std::erase_if(unanswered_, [&session](const Sent* sent) {
      return sent->id.session == session.id;
    });
    return true;
  });
}

void DiskWorld::CheckLeft() {
  const std::lock_guard lock(mutex_);
  CheckRows(power_was_cut_);
  CheckStep();
  CheckSessions();
  CheckOrder();
  SettleOrder();
  power_was_cut_ = false;
}

void DiskWorld::CheckLiving() {
  const std::lock_guard lock(mutex_);
  CheckRows(/*after_power_cut=*/false);
}

void DiskWorld::CheckOrder() {
  // The first that is missing, by either order.
  const Sent* by_burst = nullptr;
  const Sent* by_lsn = nullptr;
  for (const Sent* sent : order_) {
    if (!sent->push->was_applied) {
      by_burst = by_burst == nullptr ? sent : by_burst;
      by_lsn = sent->lsn != 0 && (by_lsn == nullptr || sent->lsn < by_lsn->lsn)
                   ? sent
                   : by_lsn;
    }
  }
  for (const Sent* sent : order_) {
    const bool is_behind =
        (by_burst != nullptr && sent->burst > by_burst->burst) ||
        (by_lsn != nullptr && sent->lsn > by_lsn->lsn);
    if (sent->push->was_applied && is_behind) {
      ledger_.Violate(&Violations::others,
                      fmt::format("push {} is there, and one before it is not",
                                  sent->push->ids[0]));
    }
  }
}

void DiskWorld::SettleOrder() {
  std::erase_if(order_, [this](Sent* sent) {
    Push& push = *sent->push;
    const bool stays = push.was_applied && !power_was_cut_;
    sent->is_in_order = stays;
    if (!push.was_applied) {
      push.expected = Expected::kNotThere;
      sent->is_acknowledged = sent->is_synced = false;
    } else if (!stays) {
      push.expected = Expected::kThere;
    }
    return !stays;
  });
}

}  // namespace quire::crash
