#include "engine/sequencer.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/status.h"

namespace quire {

absl::Status NoSuchTable(std::string_view name) {
  return Error(Reason::kNoSuchTable,
               fmt::format("there is no table '{}'", name), "table.name");
}

absl::StatusOr<Sequencer::TableOrder*> Sequencer::Find(const TableUid& uid,
                                                       std::string_view name) {
  const auto found = orders_.find(uid.bytes);
  if (found == orders_.end()) {
    return NoSuchTable(name);
  }
  return &found->second;
}

void Sequencer::Add(const TableUid& uid, const Settings& settings,
                    Ticket first_ticket) {
  MutexLock lock(mutex_);
  const bool is_new =
      orders_
          .try_emplace(
              uid.bytes,
              TableOrder{.settings = settings,
                         .next_ticket = static_cast<uint64_t>(first_ticket)})
          .second;
  QUIRE_CHECK(is_new, "a uid names one table");
}

bool Sequencer::Remove(const TableUid& uid) {
  MutexLock lock(mutex_);
  return orders_.erase(uid.bytes) > 0;
}

absl::StatusOr<std::vector<Sequencer::PushPlace>> Sequencer::SequencePush(
    std::span<const PushIntent> intents, size_t* refused) {
  std::vector<TableOrder*> orders;
  std::vector<PushPlace> places;
  orders.reserve(intents.size());
  places.reserve(intents.size());

  MutexLock lock(mutex_);
  for (const PushIntent& intent : intents) {
    *refused = orders.size();
    QUIRE_ASSIGN_OR_RETURN(TableOrder * order, Find(intent.uid, intent.name));
    if (order->settings.frozen) {
      return Error(
          Reason::kTableFrozen,
          fmt::format("table '{}' is frozen; nothing was changed. Thaw it "
                      "with AlterTable (frozen: false)",
                      intent.name),
          "table.name");
    }
    orders.push_back(order);
  }
  // From here on nothing fails.
  for (size_t i = 0; i < intents.size(); ++i) {
    TableOrder& order = *orders[i];
    places.push_back({.ticket = Ticket{order.next_ticket++},
                      .step = ++order.step,
                      .learning_rate = intents[i].learning_rate.value_or(
                          order.settings.learning_rate)});
  }
  return places;
}

absl::StatusOr<Ticket> Sequencer::SequenceWrite(const TableUid& uid,
                                                std::string_view name) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(TableOrder * order, Find(uid, name));
  return Ticket{order->next_ticket++};
}

absl::Status Sequencer::Alter(const TableUid& uid, std::string_view name,
                              std::optional<double> learning_rate,
                              std::optional<bool> frozen) {
  MutexLock lock(mutex_);
  QUIRE_ASSIGN_OR_RETURN(TableOrder * order, Find(uid, name));
  order->settings.learning_rate =
      learning_rate.value_or(order->settings.learning_rate);
  order->settings.frozen = frozen.value_or(order->settings.frozen);
  return absl::OkStatus();
}

std::optional<Sequencer::State> Sequencer::StateOf(const TableUid& uid) const {
  MutexLock lock(mutex_);
  const auto found = orders_.find(uid.bytes);
  if (found == orders_.end()) {
    return std::nullopt;
  }
  return State{.settings = found->second.settings, .step = found->second.step};
}

}  // namespace quire
