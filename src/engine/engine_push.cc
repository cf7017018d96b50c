// The pushes of an engine.

#include <fmt/format.h>

#include <future>
#include <utility>

#include "base/check.h"
#include "base/faults.h"
#include "base/status.h"
#include "engine/engine.h"

namespace quire {
namespace {

// What a push asks for, of tables that are LOGGED or not, all of them.
absl::Status CheckDurability(v1::Durability wanted, bool is_logged) {
  if (!v1::Durability_IsValid(wanted)) {
    return Error(Reason::kBadValue,
                 fmt::format("min_durability is {}, which this version does "
                             "not know",
                             static_cast<int>(wanted)),
                 "min_durability");
  }
  const v1::Durability most =
      is_logged ? v1::DURABILITY_SYNCED : v1::DURABILITY_MEMORY;
  if (wanted <= most) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kUnsupportedDurability,
      fmt::format("min_durability is {}; these are {} tables, which reach {}",
                  v1::Durability_Name(wanted), is_logged ? "LOGGED" : "MEMORY",
                  v1::Durability_Name(most)),
      "min_durability");
}

// All tables of a push, or none. RULINGS 9.
absl::StatusOr<bool> AreLogged(std::span<const PushPart> parts) {
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].table->is_logged() != parts[0].table->is_logged()) {
      const size_t logged = parts[i].table->is_logged() ? i : 0;
      return Error(
          Reason::kUnsupportedDurability,
          fmt::format("table '{}' is LOGGED and table '{}' is not: a push is "
                      "all or nothing, also after a crash. Push to them in two "
                      "requests",
                      parts[logged].table->name(),
                      parts[logged == 0 ? i : 0].table->name()),
          fmt::format("tables[{}].table.name", i));
    }
  }
  return !parts.empty() && parts[0].table->is_logged();
}

}  // namespace

void Engine::ApplyGradient(const Push& push, PushDone done) {
  if (QUIRE_FAULT("applied_before_validation") && push.parts.size() > 1) {
    ApplyGradient(push.parts.first(1)).status().IgnoreError();
    return ApplyGradient(Push{.parts = push.parts.subspan(1)}, std::move(done));
  }
  const absl::StatusOr<bool> is_logged = AreLogged(push.parts);
  absl::Status refused = is_logged.status();
  if (refused.ok()) {
    refused = CheckDurability(push.min_durability, *is_logged);
  }
  if (!refused.ok()) {
    return done(refused);
  }
  absl::StatusOr<PreparedPush> prepared =
      PreparedPush::Make(push.parts, kernels_);
  if (!prepared.ok()) {
    return done(prepared.status());
  }
  if (*is_logged) {
    auto* logged = new LoggedPush(
        sequencer_, *std::move(prepared), push.parts, push.id,
        push.min_durability,
        [this](std::function<void()> apply) {
          appliers_->Post(std::move(apply));
        },
        [this, push,
         done = std::move(done)](absl::StatusOr<LoggedPush::End> end) {
          if (!end.ok()) {
            done(end.status());
          } else if (end->duplicate) {
            AnswerDuplicate(*end->duplicate, push, done);
          } else {
            done(PushOutcome{.lsn = end->lsn,
                             .reached = end->is_synced ? v1::DURABILITY_SYNCED
                                                       : v1::DURABILITY_WRITTEN,
                             .tables = std::move(end->results)});
          }
        });
    if (!logged->Sequence()) {
      room_queue_->Add(logged, push.deadline);
    }
    return;
  }
  size_t group = 0;
  const absl::StatusOr<Sequencer::PushOrder> order =
      sequencer_.SequencePush(prepared->Intents(), push.id, &group);
  if (!order.ok()) {
    return done(prepared->Refusal(order.status(), group));
  }
  if (order->duplicate) {
    return AnswerDuplicate(*order->duplicate, push, std::move(done));
  }
  PushOutcome outcome = {.tables = prepared->Apply(order->places, 0)};
  if (push.id) {
    sequencer_.Finished(*push.id, absl::OkStatus());
  }
  done(std::move(outcome));
}

absl::StatusOr<PushOutcome> Engine::ApplyGradient(const Push& push) {
  std::promise<absl::StatusOr<PushOutcome>> end;
  ApplyGradient(push, [&end](absl::StatusOr<PushOutcome> outcome) {
    end.set_value(std::move(outcome));
  });
  return end.get_future().get();
}

absl::StatusOr<std::vector<PushResult>> Engine::ApplyGradient(
    std::span<const PushPart> parts) {
  QUIRE_ASSIGN_OR_RETURN(PushOutcome outcome,
                         ApplyGradient(Push{.parts = parts}));
  return std::move(outcome.tables);
}

absl::StatusOr<bool> Engine::WasPushed(const PushId& id) const {
  QUIRE_ASSIGN_OR_RETURN(const std::optional<Sequencer::Duplicate> found,
                         sequencer_.FindPush(id));
  return found.has_value();
}

void Engine::AnswerDuplicate(const Push& push, PushDone done) {
  const absl::StatusOr<std::optional<Sequencer::Duplicate>> found =
      sequencer_.FindPush(*push.id);
  if (!found.ok()) {
    return done(found.status());
  }
  QUIRE_CHECK(found->has_value(), "WasPushed() said so");
  AnswerDuplicate(**found, push, std::move(done));
}

void Engine::AnswerDuplicate(const Sequencer::Duplicate& duplicate,
                             const Push& push, PushDone done) {
  const auto answer = [this, lsn = duplicate.lsn,
                       part_count = push.parts.size(),
                       wanted = push.min_durability,
                       done = std::move(done)](const absl::Status& applied) {
    if (!applied.ok()) {
      return done(applied);
    }
    PushOutcome outcome = {.lsn = lsn, .is_duplicate = true};
    outcome.tables.resize(part_count);
    if (lsn == 0) {
      return done(std::move(outcome));
    }
    outcome.reached = v1::DURABILITY_WRITTEN;
    if (log_->synced_lsn() >= lsn) {
      outcome.reached = v1::DURABILITY_SYNCED;
    }
    if (outcome.reached >= wanted) {
      return done(std::move(outcome));
    }
    // It was pushed with less.
    waiting_->Post([this, outcome = std::move(outcome), done]() mutable {
      if (const absl::Status synced = log_->Sync(); !synced.ok()) {
        return done(synced);
      }
      outcome.reached = v1::DURABILITY_SYNCED;
      done(std::move(outcome));
    });
  };
  if (duplicate.is_in_flight) {
    sequencer_.WhenApplied(*push.id, answer);
  } else {
    answer(absl::OkStatus());
  }
}

}  // namespace quire
