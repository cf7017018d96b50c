#include "crash/disk_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

#include "base/status.h"

namespace quire::crash {
namespace {

constexpr int64_t kReceipts = 700;  // within a session's window
constexpr int64_t kPayloadRows = 64;
// The disk fails within so many operations of a life, or of a start.
constexpr uint64_t kOperationsOfLife = 120;
constexpr uint64_t kOperationsOfStart = 30;
constexpr int kBurstsOfLife = 60;
// A life ends when so many pushes were refused for want of room.
constexpr int kPatience = 20;
constexpr int64_t kPlenty = int64_t{1} << 40;

}  // namespace

DiskWorld::DiskWorld(uint64_t seed, Trouble trouble)
    : trouble_(trouble),
      random_(seed),
      ledger_(kReceipts, kPayloadRows),
      disk_(random_()) {
  log_.segment_bytes = kSmallSegmentBytes << (random_() % 3);
  log_.sync_interval = std::chrono::milliseconds(1 + random_() % 30);
  CreateTable();
  Open();
}

Outcome DiskWorld::outcome() const {
  return {.kills = kills_,
          .acknowledged = acknowledged_,
          .violations = ledger_.violations()};
}

// Without trouble, and by an engine that ends as it should: it is safe.
void DiskWorld::CreateTable() {
  auto engine = OpenEngine(disk_.disk(), log_);
  if (!engine.ok() || !(*engine)
                           ->CreateTable(LedgerSpec(ledger_.row_count(), kDim),
                                         v1::IF_EXISTS_ERROR)
                           .ok()) {
    throw std::runtime_error("no table on a disk without faults");
  }
}

bool DiskWorld::LiveOnce() {
  Prepare();
  Arm();
  Live();
  CheckLiving();
  if (has_failed_) {
    ExpectNoMore();
  }
  Finish();
  FailToOpen();
  Open();
  return !is_used_up_ && ledger_.violations().sum() == 0;
}

void DiskWorld::Open() {
  auto engine = OpenEngine(disk_.disk(), log_);
  if (!engine.ok()) {
    ledger_.Violate(&Violations::others, "what is left cannot be opened: " +
                                             engine.status().ToString());
    return;
  }
  engine_ = *std::move(engine);
  CheckLeft();
}

void DiskWorld::Live() {
  // A power cut comes when it comes.
  for (int i = 0; trouble_ == Trouble::kPower || i < kBurstsOfLife; ++i) {
    Burst();
    if (is_full_ && refused_in_a_row_ > 0) {
      ExpectRoom();
    }
    if (IsOver() || refused_in_a_row_ >= kPatience) {
      return;
    }
  }
}

void DiskWorld::Prepare() {
  is_over_ = is_full_ = has_failed_ = false;
  refused_in_a_row_ = 0;
  table_ = *engine_->FindAny(kLedger);
  if (sessions_.empty() || Chance(8)) {
    const auto session = engine_->OpenSession();
    if (session.ok()) {
      sessions_.push_back({.id = *session});
    } else {
      ledger_.Violate(&Violations::others, session.status().ToString());
    }
  }
  // Some senders are gone, and will never know.
  std::erase_if(unanswered_, [this](Sent* sent) {
    sent->push->is_given_up = Chance(4);
    return sent->push->is_given_up;
  });
}

void DiskWorld::Arm() {
  const auto operation = static_cast<int64_t>(random_() % kOperationsOfLife);
  if (trouble_ == Trouble::kPower) {
    disk_.CutPowerBefore(operation, [this] { End(); });
  } else if (Chance(3)) {
    is_full_ = true;
    disk_.SetSpace(static_cast<int64_t>(
        random_() % static_cast<uint64_t>(4 * log_.segment_bytes)));
  } else {
    disk_.FailAt(operation);
  }
}

void DiskWorld::End() {
  const std::lock_guard lock(mutex_);
  is_over_ = true;
}

// --- Sending ---

DiskWorld::Sent* DiskWorld::NewPush() {
  Push* const push = ledger_.Begin(random_);
  if (push == nullptr) {
    is_used_up_ = true;
    return nullptr;
  }
  Session& session = sessions_[random_() % sessions_.size()];
  sent_.push_back({.push = push,
                   .id = {.session = session.id,
                          .sequence = ++session.last_sequence,
                          .hash = static_cast<uint64_t>(push->ids[0]) + 1},
                   .durability = Chance(3) ? v1::DURABILITY_SYNCED
                                           : v1::DURABILITY_WRITTEN});
  return &sent_.back();
}

DiskWorld::Sent* DiskWorld::Choose() {
  if (unanswered_.empty() || Chance(2)) {
    return NewPush();
  }
  const auto chosen = unanswered_.begin() +
                      static_cast<ptrdiff_t>(random_() % unanswered_.size());
  Sent* const sent = *chosen;
  unanswered_.erase(chosen);
  return sent;
}

void DiskWorld::Burst() {
  std::deque<Attempt> attempts;
  ++bursts_;
  for (uint64_t left = Chance(3) ? 1 + random_() % 8 : 1; left > 0; --left) {
    Sent* const sent = Choose();
    if (sent == nullptr) {
      break;
    }
    // Some are sent again before there is an answer.
    for (int copies = Chance(8) ? 2 : 1; copies > 0; --copies) {
      attempts.push_back({.sent = sent});
      Send(attempts.back());
    }
  }
  if (Chance(12)) {
    MakeSnapshot();
  }
  AwaitAnswers();
  Judge(attempts);
}

void DiskWorld::AwaitAnswers() {
  std::unique_lock lock(mutex_);
  answered_.wait(lock, [this] { return pending_ == 0; });
}

bool DiskWorld::IsOver() {
  const std::lock_guard lock(mutex_);
  return is_over_ || has_failed_ || is_used_up_ ||
         ledger_.violations().sum() > 0;
}

void DiskWorld::Send(Attempt& attempt) {
  Sent& sent = *attempt.sent;
  Push& push = *sent.push;
  if (!push.was_applied) {
    push.expected = Expected::kEither;
  }
  {
    const std::lock_guard lock(mutex_);
    ++pending_;
    if (!push.was_applied && !sent.is_in_order) {
      sent.is_in_order = true;
      sent.burst = bursts_;
      sent.lsn = 0;
      order_.push_back(&sent);
    }
  }
  attempt.addition = std::make_unique<Addition>(
      table_, std::vector<int64_t>(push.ids.begin(), push.ids.end()), sent.id,
      sent.durability);
  engine_->ApplyGradient(attempt.addition->push(),
                         [this, &attempt](absl::StatusOr<PushOutcome> answer) {
                           Answer(attempt, std::move(answer));
                         });
}

void DiskWorld::Answer(Attempt& attempt, absl::StatusOr<PushOutcome> answer) {
  const std::lock_guard lock(mutex_);
  attempt.answer = std::move(answer);
  attempt.is_in_time = !is_over_;
  if (attempt.answer.ok()) {
    attempt.sent->lsn = attempt.answer->lsn;
  }
  if (attempt.answer.ok() && attempt.is_in_time) {
    attempt.sent->is_acknowledged = true;
    attempt.sent->is_synced |= attempt.answer->reached >= v1::DURABILITY_SYNCED;
  }
  --pending_;
  answered_.notify_all();
}

void DiskWorld::MakeSnapshot() {
  const absl::Status status = engine_->CreateSnapshot().status();
  const std::lock_guard lock(mutex_);
  if (!status.ok() && !is_over_ && !IsAllowed(status)) {
    ledger_.Violate(&Violations::others, "no snapshot: " + status.ToString());
  }
}

// --- Answers ---

bool DiskWorld::IsAllowed(const absl::Status& status) const {
  const std::optional<Reason> reason = ReasonOf(status);
  return trouble_ == Trouble::kFailures &&
         (reason == Reason::kIoFailed || reason == Reason::kLogFailed ||
          reason == Reason::kDiskFull);
}

void DiskWorld::Judge(const std::deque<Attempt>& attempts) {
  for (size_t i = 0; i < attempts.size();) {
    Sent& sent = *attempts[i].sent;
    Verdict verdict;
    for (; i < attempts.size() && attempts[i].sent == &sent; ++i) {
      JudgeAttempt(attempts[i], verdict);
    }
    Conclude(sent, verdict);
  }
}

void DiskWorld::JudgeAttempt(const Attempt& attempt, Verdict& verdict) {
  if (!attempt.answer.ok()) {
    JudgeFailure(attempt, verdict);
    return;
  }
  refused_in_a_row_ = 0;
  ++verdict.answered;
  verdict.answered_as_new += attempt.answer->is_duplicate ? 0 : 1;
  verdict.answered_in_time += attempt.is_in_time ? 1 : 0;
  if (attempt.answer->reached < attempt.sent->durability) {
    ledger_.Violate(&Violations::others, "less durable than it had to be");
  }
}

void DiskWorld::JudgeFailure(const Attempt& attempt, Verdict& verdict) {
  const absl::Status& status = attempt.answer.status();
  const std::optional<Reason> reason = ReasonOf(status);
  if (attempt.is_in_time && !IsAllowed(status)) {
    ledger_.Violate(&Violations::others,
                    fmt::format("push {} was refused: {}",
                                attempt.sent->push->ids[0], status.ToString()));
  }
  if (reason == Reason::kDiskFull) {
    ++refused_in_a_row_;
    return;
  }
  ++verdict.in_doubt;
  has_failed_ |= reason == Reason::kLogFailed;
}

void DiskWorld::Conclude(Sent& sent, const Verdict& verdict) {
  Push& push = *sent.push;
  const int new_ones = push.was_applied ? 0 : 1;
  if (verdict.answered_as_new > new_ones) {
    ledger_.Violate(
        &Violations::doubled,
        fmt::format("push {} was taken for a new one once more", push.ids[0]));
  }
  if (verdict.answered > 0 && verdict.in_doubt == 0 &&
      verdict.answered_as_new < new_ones) {
    ledger_.Violate(&Violations::others,
                    fmt::format("push {} was taken for one that is there, and "
                                "is not",
                                push.ids[0]));
  }
  push.was_applied |= verdict.answered > 0;
  if (verdict.answered_in_time > 0) {
    acknowledged_ += sent.is_counted ? 0 : 1;
    sent.is_counted = true;
    return;
  }
  unanswered_.push_back(&sent);
  if (verdict.answered == 0 && verdict.in_doubt == 0) {
    // Refused: it has no place in the order.
    const std::lock_guard lock(mutex_);
    std::erase(order_, &sent);
    sent.is_in_order = false;
    push.expected = Expected::kNotThere;
  }
}

// --- Failures ---

void DiskWorld::ExpectRoom() {
  disk_.SetSpace(kPlenty);
  is_full_ = false;
  for (int i = 0; i < 2000 && refused_in_a_row_ > 0 && !IsOver(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    refused_in_a_row_ = 0;
    Burst();
  }
  if (refused_in_a_row_ > 0 && !IsOver()) {
    ledger_.Violate(&Violations::others,
                    "there is room again, and pushes are still refused");
  }
}

void DiskWorld::ExpectNoMore() {
  Sent* const sent = NewPush();
  if (sent == nullptr) {
    return;
  }
  Attempt attempt{.sent = sent};
  Send(attempt);
  AwaitAnswers();
  if (ReasonOf(attempt.answer.status()) != Reason::kLogFailed) {
    ledger_.Violate(&Violations::others,
                    "a log that has failed takes a push: " +
                        attempt.answer.status().ToString());
  }
}

void DiskWorld::Finish() {
  if (trouble_ == Trouble::kFailures) {
    End();
    const uint64_t end = random_() % 3;
    if (end == 0) {
      disk_.KeepAfterPowerCut();
    } else if (end == 1) {
      disk_.KeepAfterKill();
    }  // else it ends as it should
    power_was_cut_ = end == 0;
    ++kills_;
  }
  table_.reset();
  engine_.reset();
  if (trouble_ == Trouble::kPower && disk_.is_kept()) {
    power_was_cut_ = true;
    ++kills_;
  }
  disk_.GoOn();
}

void DiskWorld::FailToOpen() {
  while (Chance(4)) {
    const auto operation = static_cast<int64_t>(random_() % kOperationsOfStart);
    if (trouble_ == Trouble::kPower) {
      disk_.CutPowerBefore(operation, [this] { End(); });
    } else {
      disk_.FailAt(operation);
    }
    auto engine = OpenEngine(disk_.disk(), log_);
    if (!engine.ok() && trouble_ == Trouble::kFailures &&
        !IsAllowed(engine.status())) {
      ledger_.Violate(&Violations::others, "a start on a failing disk ends: " +
                                               engine.status().ToString());
    }
    if (trouble_ == Trouble::kFailures && Chance(2)) {
      disk_.KeepAfterPowerCut();
      power_was_cut_ = true;
    }
    engine = absl::CancelledError();
    if (trouble_ == Trouble::kPower && disk_.is_kept()) {
      power_was_cut_ = true;
    }
    disk_.GoOn();
    ++kills_;
  }
}

}  // namespace quire::crash
