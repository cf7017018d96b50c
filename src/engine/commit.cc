#include "engine/commit.h"

#include <utility>

#include "base/faults.h"

namespace quire {
namespace {

PushRecord RecordOf(std::span<const PushPart> parts,
                    const std::optional<PushId>& id) {
  PushRecord record{.id = id};
  record.parts.reserve(parts.size());
  for (const PushPart& part : parts) {
    record.parts.push_back({.table = part.table->uid(),
                            .gradient_scale = part.gradient_scale,
                            .ids = part.ids,
                            .bags = part.bags,
                            .gradient = part.gradient});
  }
  return record;
}

}  // namespace

// --- WaitingChange ---

WaitingChange::WaitingChange(RecordType type, std::span<const Bytes> payload) {
  SetRecord(static_cast<uint8_t>(type), payload, /*wants_sync=*/false);
}

absl::Status WaitingChange::WaitForTurn() {
  MutexLock lock(mutex_);
  while (!turn_) {
    changed_.Wait(mutex_);
  }
  return *turn_;
}

void WaitingChange::Begin() { Fail(absl::OkStatus()); }

void WaitingChange::Fail(const absl::Status& status) {
  MutexLock lock(mutex_);
  turn_ = status;
  changed_.NotifyAll();
}

// --- LoggedPush ---

LoggedPush::LoggedPush(Sequencer& sequencer, PreparedPush push,
                       std::span<const PushPart> parts,
                       const std::optional<PushId>& id,
                       v1::Durability min_durability,
                       std::function<void(std::function<void()>)> begin,
                       std::function<void(absl::StatusOr<End>)> done)
    : sequencer_(sequencer),
      push_(std::move(push)),
      id_(id),
      min_durability_(min_durability),
      begin_(std::move(begin)),
      done_(std::move(done)),
      record_(RecordOf(parts, id)) {
  SetRecord(static_cast<uint8_t>(RecordType::kPush), record_.pieces(), false);
}

bool LoggedPush::Sequence() {
  const auto place = [this](std::span<const Sequencer::PushPlace> places,
                            v1::Durability by_default) {
    places_.assign(places.begin(), places.end());
    for (size_t group = 0; group < places.size(); ++group) {
      for (const size_t part : push_.positions(group)) {
        record_.Place(part, places[group].step, places[group].learning_rate);
      }
    }
    is_synced_ = std::max(min_durability_, by_default) == v1::DURABILITY_SYNCED;
    SetRecord(static_cast<uint8_t>(RecordType::kPush), record_.pieces(),
              is_synced_);
  };
  size_t refused = 0;
  const absl::StatusOr<Sequencer::LoggedOrder> order =
      sequencer_.SequenceLoggedPush(*this, push_.Intents(), id_, place,
                                    &refused);
  if (!order.ok()) {
    Finish(push_.Refusal(order.status(), refused));
    return true;
  }
  if (order->duplicate) {
    Finish(End{.lsn = order->duplicate->lsn, .duplicate = order->duplicate});
    return true;
  }
  return order->is_sequenced;
}

void LoggedPush::Refuse(const absl::Status& status) { Finish(status); }

void LoggedPush::Begin() {
  begin_([this] { Apply(); });
}

void LoggedPush::Apply() {
  QUIRE_KILL_POINT("push_applying");
  End end = {.lsn = lsn(),
             .is_synced = is_synced_,
             .results = push_.Apply(places_, lsn())};
  QUIRE_KILL_POINT("push_applied");
  if (id_) {
    sequencer_.Finished(*id_, absl::OkStatus());
  }
  Finish(std::move(end));
}

void LoggedPush::Fail(const absl::Status& status) {
  if (id_) {
    sequencer_.Finished(*id_, status);
  }
  Finish(status);
}

void LoggedPush::Finish(absl::StatusOr<End> end) {
  // What it views may go when it is done.
  const auto done = std::move(done_);
  delete this;
  done(std::move(end));
}

}  // namespace quire
