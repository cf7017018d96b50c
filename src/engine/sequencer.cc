#include "engine/sequencer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/faults.h"
#include "base/limits.h"
#include "base/status.h"

namespace quire {

absl::Status NoSuchTable(std::string_view name) {
  return Error(Reason::kNoSuchTable,
               fmt::format("there is no table '{}'", name), "table.name");
}

absl::Status TableReplaced(std::string_view name) {
  return Error(Reason::kTableReplaced,
               fmt::format("another table has the name '{}' by now: the one "
                           "that was meant was rewound, or dropped and made "
                           "anew. Nothing was changed; describe it again",
                           name),
               "table.uid");
}

void Sequencer::SetLog(journal::Log* log) {
  MutexLock lock(mutex_);
  log_ = log;
  last_lsn_ = log->appended_lsn();
}

// --- Tables ---

absl::StatusOr<std::shared_ptr<Sequencer::TableOrder>> Sequencer::Find(
    const TableUid& uid, std::string_view name) const {
  const auto found = orders_.find(uid.bytes);
  if (found != orders_.end()) {
    return found->second;
  }
  const bool is_replaced =
      std::ranges::any_of(orders_, [name](const auto& entry) {
        const TableOrder& other = *entry.second;
        return !other.is_import && other.table->name() == name;
      });
  return is_replaced ? TableReplaced(name) : NoSuchTable(name);
}

absl::StatusOr<std::vector<std::shared_ptr<Sequencer::TableOrder>>>
Sequencer::FindForPush(std::span<const PushIntent> intents,
                       size_t* refused) const {
  std::vector<std::shared_ptr<TableOrder>> orders;
  orders.reserve(intents.size());
  for (const PushIntent& intent : intents) {
    *refused = orders.size();
    QUIRE_ASSIGN_OR_RETURN(std::shared_ptr<TableOrder> order,
                           Find(intent.uid, intent.name));
    if (order->settings.frozen) {
      return Error(
          Reason::kTableFrozen,
          fmt::format("table '{}' is frozen; nothing was changed. Thaw it "
                      "with AlterTable (frozen: false)",
                      intent.name),
          "table.name");
    }
    orders.push_back(std::move(order));
  }
  return orders;
}

std::vector<Sequencer::PushPlace> Sequencer::TakePlaces(
    std::span<const PushIntent> intents,
    std::span<const std::shared_ptr<TableOrder>> orders) {
  std::vector<PushPlace> places;
  places.reserve(intents.size());
  for (size_t i = 0; i < intents.size(); ++i) {
    TableOrder& order = *orders[i];
    places.push_back({.ticket = Ticket{order.next_ticket++},
                      .step = ++order.step,
                      .learning_rate = intents[i].learning_rate.value_or(
                          order.settings.learning_rate)});
  }
  return places;
}

// --- Pushes ---

absl::StatusOr<std::optional<Sequencer::Duplicate>> Sequencer::FindPushLocked(
    const PushId& id) const {
  QUIRE_ASSIGN_OR_RETURN(const std::optional<uint64_t> lsn, sessions_.Find(id));
  if (!lsn) {
    return std::nullopt;
  }
  const bool is_in_flight = in_flight_.contains(NameOf(id));
  if (is_in_flight && !failure_.ok()) {
    return failure_;
  }
  return Duplicate{.lsn = *lsn, .is_in_flight = is_in_flight};
}

absl::StatusOr<std::optional<Sequencer::Duplicate>> Sequencer::FindPush(
    const PushId& id) const {
  MutexLock lock(mutex_);
  return FindPushLocked(id);
}

absl::StatusOr<Sequencer::PushOrder> Sequencer::SequencePush(
    std::span<const PushIntent> intents, const std::optional<PushId>& id,
    size_t* refused) {
  MutexLock lock(mutex_);
  PushOrder order;
  if (id) {
    *refused = intents.size();
    QUIRE_ASSIGN_OR_RETURN(order.duplicate, FindPushLocked(*id));
    if (order.duplicate) {
      return order;
    }
  }
  QUIRE_ASSIGN_OR_RETURN(const auto tables, FindForPush(intents, refused));
  // From here on nothing fails.
  if (id) {
    sessions_.Add(*id, 0);
    in_flight_.try_emplace(NameOf(*id));
  }
  order.places = TakePlaces(intents, tables);
  ++memory_change_count_;
  return order;
}

absl::StatusOr<Sequencer::LoggedOrder> Sequencer::SequenceLoggedPush(
    Change& change, std::span<const PushIntent> intents,
    const std::optional<PushId>& id,
    const std::function<void(std::span<const PushPlace>, v1::Durability)>&
        place,
    size_t* refused) {
  MutexLock lock(mutex_);
  LoggedOrder order;
  if (id) {
    *refused = intents.size();
    QUIRE_ASSIGN_OR_RETURN(order.duplicate, FindPushLocked(*id));
    if (order.duplicate) {
      return order;
    }
  }
  QUIRE_ASSIGN_OR_RETURN(auto tables, FindForPush(intents, refused));
  *refused = intents.size();
  QUIRE_ASSIGN_OR_RETURN(order.is_sequenced, HasRoom(&change));
  if (!order.is_sequenced) {
    return order;
  }
  // From here on nothing fails.
  v1::Durability by_default = v1::DURABILITY_WRITTEN;
  for (const auto& table : tables) {
    by_default = std::max(by_default, table->settings.default_durability);
  }
  place(TakePlaces(intents, tables), by_default);
  AppendLocked(change, std::move(tables));
  if (id) {
    sessions_.Add(*id, change.lsn());
    in_flight_.try_emplace(NameOf(*id));
  }
  return order;
}

void Sequencer::Finished(const PushId& id, const absl::Status& status) {
  std::vector<std::function<void(absl::Status)>> waiting;
  {
    MutexLock lock(mutex_);
    const auto found = in_flight_.find(NameOf(id));
    QUIRE_CHECK(found != in_flight_.end(), "a push is finished once");
    waiting.swap(found->second);
    if (status.ok()) {
      in_flight_.erase(found);
    }
  }
  for (const auto& done : waiting) {
    done(status);
  }
}

void Sequencer::WhenApplied(const PushId& id,
                            std::function<void(absl::Status)> done) {
  absl::Status status;
  {
    MutexLock lock(mutex_);
    const auto found = in_flight_.find(NameOf(id));
    if (found != in_flight_.end() && failure_.ok()) {
      found->second.push_back(std::move(done));
      return;
    }
    status = found == in_flight_.end() ? absl::OkStatus() : failure_;
  }
  done(status);
}

// --- Rows and labels ---

absl::StatusOr<Ticket> Sequencer::SequenceWrite(const TableUid& uid,
                                                std::string_view name) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(const auto order, Find(uid, name));
  ++memory_change_count_;
  order->last_lsn = last_lsn_;
  return Ticket{order->next_ticket++};
}

absl::StatusOr<std::optional<Ticket>> Sequencer::SequenceLoggedWrite(
    Change& change, const TableUid& uid, std::string_view name) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(auto order, Find(uid, name));
  QUIRE_ASSIGN_OR_RETURN(const bool has_room, HasRoom(&change));
  if (!has_room) {
    return std::nullopt;
  }
  const Ticket ticket{order->next_ticket++};
  AppendLocked(change, {std::move(order)});
  return ticket;
}

// --- The catalog ---

absl::StatusOr<bool> Sequencer::Add(Change* change, const TableHandle& table,
                                    const Settings& settings, bool is_import,
                                    Ticket next_ticket) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(const bool has_room, HasRoom(change));
  if (!has_room) {
    return false;
  }
  const auto [order, is_new] = orders_.try_emplace(
      table->uid().bytes,
      std::make_shared<TableOrder>(
          TableOrder{.table = table,
                     .settings = settings,
                     .is_import = is_import,
                     .next_ticket = static_cast<uint64_t>(next_ticket)}));
  QUIRE_CHECK(is_new, "a uid names one table");
  if (change != nullptr) {
    AppendLocked(*change, {});
  }
  order->second->last_lsn = last_lsn_;
  return true;
}

absl::StatusOr<bool> Sequencer::Publish(Change* change, const TableUid& uid,
                                        int64_t step) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(const auto order, Find(uid, "of an import"));
  QUIRE_ASSIGN_OR_RETURN(const bool has_room, HasRoom(change));
  if (!has_room) {
    return false;
  }
  order->is_import = false;
  order->step = step;
  if (change != nullptr) {
    AppendLocked(*change, {});
  }
  order->last_lsn = last_lsn_;
  return true;
}

absl::StatusOr<bool> Sequencer::PublishInPlaceOf(const LiveTable& replaced,
                                                 Change* change,
                                                 const TableUid& uid,
                                                 int64_t step) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(const auto old_order,
                         Find(replaced.uid(), replaced.name()));
  QUIRE_ASSIGN_OR_RETURN(const auto order, Find(uid, "of an import"));
  QUIRE_ASSIGN_OR_RETURN(const bool has_room, HasRoom(change));
  if (!has_room) {
    return false;
  }
  order->is_import = false;
  order->step = step;
  order->settings = old_order->settings;
  orders_.erase(replaced.uid().bytes);
  if (change != nullptr) {
    AppendLocked(*change, {});
  }
  order->last_lsn = last_lsn_;
  return true;
}

absl::StatusOr<bool> Sequencer::Remove(Change* change, const TableUid& uid,
                                       std::string_view name) {
  MutexLock lock(mutex_);
  QUIRE_RETURN_IF_ERROR(Find(uid, name).status());
  QUIRE_ASSIGN_OR_RETURN(const bool has_room, HasRoom(change));
  if (!has_room) {
    return false;
  }
  orders_.erase(uid.bytes);
  if (change != nullptr) {
    AppendLocked(*change, {});
  }
  return true;
}

absl::StatusOr<bool> Sequencer::Alter(Change* change, const TableUid& uid,
                                      std::string_view name,
                                      const Alteration& alteration) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(const auto order, Find(uid, name));
  QUIRE_ASSIGN_OR_RETURN(const bool has_room, HasRoom(change));
  if (!has_room) {
    return false;
  }
  Settings& settings = order->settings;
  settings.learning_rate =
      alteration.learning_rate.value_or(settings.learning_rate);
  settings.frozen = alteration.frozen.value_or(settings.frozen);
  settings.default_durability =
      alteration.default_durability.value_or(settings.default_durability);
  if (change != nullptr) {
    AppendLocked(*change, {});
  }
  return true;
}

std::optional<Sequencer::State> Sequencer::StateOf(const TableUid& uid) const {
  MutexLock lock(mutex_);
  const auto found = orders_.find(uid.bytes);
  if (found == orders_.end()) {
    return std::nullopt;
  }
  return found->second->state();
}

std::optional<Sequencer::Moment> Sequencer::MomentOf(
    const TableUid& uid) const {
  MutexLock lock(mutex_);
  const auto found = orders_.find(uid.bytes);
  if (found == orders_.end()) {
    return std::nullopt;
  }
  return Moment{.lsn = log_ == nullptr ? 0 : log_->appended_lsn(),
                .next_ticket = Ticket{found->second->next_ticket},
                .step = found->second->step};
}

// --- Sessions ---

absl::StatusOr<bool> Sequencer::OpenSession(Change* change,
                                            const SessionId& session) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(const bool has_room, HasRoom(change));
  if (!has_room) {
    return false;
  }
  sessions_.Open(session);
  if (change != nullptr) {
    AppendLocked(*change, {});
  }
  return true;
}

absl::StatusOr<bool> Sequencer::CloseSession(Change* change,
                                             const SessionId& session) {
  MutexLock lock(mutex_);
  QUIRE_RETURN_IF_ERROR(sessions_.CheckIsOpen(session));
  QUIRE_ASSIGN_OR_RETURN(const bool has_room, HasRoom(change));
  if (!has_room) {
    return false;
  }
  sessions_.Close(session);
  if (change != nullptr) {
    AppendLocked(*change, {});
  }
  return true;
}

size_t Sequencer::session_count() const {
  MutexLock lock(mutex_);
  return sessions_.size();
}

// --- Snapshots and replay ---

std::vector<Sequencer::Image::OfSession> Sequencer::SessionsOf(
    bool logged) const {
  std::vector<Image::OfSession> sessions;
  sessions_.ForEach(
      [&](const SessionId& id, std::span<const SessionTable::Push> pushes) {
        Image::OfSession& session =
            sessions.emplace_back(Image::OfSession{.id = id});
        std::ranges::copy_if(pushes, std::back_inserter(session.pushes),
                             [logged](const SessionTable::Push& push) {
                               return (push.lsn > 0) == logged;
                             });
      });
  return sessions;
}

Sequencer::Image Sequencer::TakeImage() const {
  MutexLock lock(mutex_);
  Image image = {.lsn = log_->appended_lsn()};
  for (const auto& [uid, order] : orders_) {
    if (order->table->is_logged()) {
      order->table->rows().SetCopied(true);
    }
    image.tables.push_back({.table = order->table,
                            .state = order->state(),
                            .next_ticket = Ticket{order->next_ticket},
                            .is_import = order->is_import});
  }
  image.sessions = SessionsOf(/*logged=*/true);
  return image;
}

Sequencer::Image Sequencer::TakeMemoryImage(MemoryBudget& budget) const {
  MutexLock lock(mutex_);
  Image image;
  for (const auto& [uid, order] : orders_) {
    if (order->table->is_logged() || order->is_import ||
        !order->table->ready()) {
      continue;
    }
    const Ticket ticket{order->next_ticket};
    order->table->rows().BeginCopyAsOf(ticket, budget);
    image.tables.push_back({.table = order->table,
                            .state = order->state(),
                            .next_ticket = ticket});
  }
  image.sessions = SessionsOf(/*logged=*/false);
  return image;
}

uint64_t Sequencer::memory_change_count() const {
  MutexLock lock(mutex_);
  return memory_change_count_;
}

void Sequencer::RestoreStep(const TableUid& uid, int64_t step) {
  MutexLock lock(mutex_);
  if (const auto found = orders_.find(uid.bytes); found != orders_.end()) {
    found->second->step = step;
  }
}

void Sequencer::RestorePushId(const PushId& id) {
  MutexLock lock(mutex_);
  const absl::StatusOr<std::optional<uint64_t>> known = sessions_.Find(id);
  if (known.ok() && !known->has_value()) {
    sessions_.Add(id, 0);
  }
}

void Sequencer::Restore(const Image::OfTable& table) {
  MutexLock lock(mutex_);
  orders_.emplace(table.table->uid().bytes,
                  std::make_shared<TableOrder>(
                      TableOrder{.table = table.table,
                                 .settings = table.state.settings,
                                 .is_import = table.is_import,
                                 .step = table.state.step,
                                 .last_lsn = table.state.last_lsn}));
}

void Sequencer::SetReplayed(uint64_t lsn) {
  MutexLock lock(mutex_);
  QUIRE_CHECK(log_ == nullptr, "what is replayed was logged before");
  last_lsn_ = lsn;
}

void Sequencer::Reset() {
  MutexLock lock(mutex_);
  orders_.clear();
  sessions_ = SessionTable(kSessionCountMax);
}

absl::StatusOr<Ticket> Sequencer::ReplayPush(const TableUid& uid,
                                             int64_t step) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(const auto order, Find(uid, "of a push in the log"));
  order->step = step;
  order->last_lsn = last_lsn_;
  return Ticket{order->next_ticket++};
}

void Sequencer::ReplayPushId(const PushId& id, uint64_t lsn) {
  MutexLock lock(mutex_);
  sessions_.Add(id, lsn);
}

// --- Through the log ---

absl::StatusOr<bool> Sequencer::HasRoom(const Change* change) {
  if (change == nullptr) {
    return true;
  }
  QUIRE_RETURN_IF_ERROR(failure_);
  QUIRE_CHECK(log_ != nullptr, "what is logged has a log");
  return log_->HasRoom(change->payload_bytes());
}

void Sequencer::AppendLocked(Change& change,
                             std::vector<std::shared_ptr<TableOrder>> tables) {
  change.sequencer_ = this;
  change.tables_ = std::move(tables);
  const uint64_t lsn = last_lsn_ + 1;
  for (const auto& table : change.tables_) {
    table->waiting.push_back(&change);
    table->last_lsn = lsn;
    table->table->NoteSequenced(lsn);
  }
  last_lsn_ = log_->Append(change);
  QUIRE_CHECK(last_lsn_ == lsn, "all records of the log come this way");
  QUIRE_KILL_POINT("change_appended");
}

bool Sequencer::HasTurn(const Change& change) const {
  return std::ranges::all_of(change.tables_, [&](const auto& table) {
    return table->waiting.front() == &change;
  });
}

void Sequencer::Begin(Change& first) {
  std::vector<Change*> ready = {&first};
  while (!ready.empty()) {
    Change& change = *ready.back();
    ready.pop_back();
    // The change may be gone once it has begun.
    const auto tables = std::move(change.tables_);
    reached_.erase(&change);
    change.Begin();
    for (const auto& table : tables) {
      table->waiting.pop_front();
    }
    for (const auto& table : tables) {
      if (!table->waiting.empty()) {
        Change* next = table->waiting.front();
        // Another of the tables may have found it.
        if (next->is_reached_ && HasTurn(*next) &&
            std::ranges::find(ready, next) == ready.end()) {
          ready.push_back(next);
        }
      }
    }
  }
}

void Sequencer::Reached(Change& change, const absl::Status& status) {
  std::vector<Change*> failed;
  absl::Status failure;
  {
    QUIRE_KILL_POINT("change_reached");
    MutexLock lock(mutex_);
    if (failure_.ok()) {
      failure_ = status;
      if (status.ok()) {
        change.is_reached_ = true;
        reached_.insert(&change);
        if (HasTurn(change)) {
          Begin(change);
        }
        return;
      }
      // What waits for its turn waits for something that is never made.
      failed.assign(reached_.begin(), reached_.end());
      reached_.clear();
    }
    failed.push_back(&change);
    failure = failure_;
  }
  for (Change* each : failed) {
    each->Fail(failure);
  }
}

}  // namespace quire
