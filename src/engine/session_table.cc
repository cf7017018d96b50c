#include "engine/session_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/status.h"

namespace quire {
namespace {

constexpr size_t kWindowBegin = 16;

// Below the window of a session whose highest number is `highest`.
bool IsTooOld(uint64_t sequence, uint64_t highest) {
  return highest >= kSessionWindow && sequence <= highest - kSessionWindow;
}

absl::Status NoSuchSession() {
  return Error(Reason::kSessionExpired,
               "the server does not know this session: it was closed, others "
               "pushed out one that was idle for long, or a restart forgot it. "
               "This request changed nothing. Open another session; whether "
               "pushes that were not answered had been applied can no longer "
               "be asked",
               "push_id.session_id");
}

}  // namespace

void SessionTable::Open(const SessionId& session) {
  if (sessions_.size() == session_count_max_) {
    sessions_.erase(by_age_.front().bytes);
    by_age_.pop_front();
  }
  by_age_.push_back(session);
  const bool is_new =
      sessions_
          .try_emplace(session.bytes, Session{.age = std::prev(by_age_.end())})
          .second;
  QUIRE_CHECK(is_new, "a session is opened once");
}

void SessionTable::Close(const SessionId& session) {
  const auto found = sessions_.find(session.bytes);
  QUIRE_CHECK(found != sessions_.end(), "CheckIsOpen() saw the session");
  by_age_.erase(found->second.age);
  sessions_.erase(found);
}

absl::Status SessionTable::CheckIsOpen(const SessionId& session) const {
  return sessions_.contains(session.bytes) ? absl::OkStatus() : NoSuchSession();
}

absl::StatusOr<std::optional<uint64_t>> SessionTable::Find(
    const PushId& id) const {
  if (id.sequence == 0) {
    return Error(Reason::kBadValue, "pushes of a session count from 1",
                 "push_id.sequence");
  }
  const auto found = sessions_.find(id.session.bytes);
  if (found == sessions_.end()) {
    return NoSuchSession();
  }
  const Session& session = found->second;
  if (id.sequence > session.highest) {
    return std::nullopt;
  }
  if (IsTooOld(id.sequence, session.highest)) {
    return Error(
        Reason::kSequenceTooOld,
        fmt::format("the session has pushed number {}; number {} is more than "
                    "{} behind it, and whether it was pushed is no longer "
                    "known. Nothing was changed",
                    session.highest, id.sequence, kSessionWindow - 1),
        "push_id.sequence");
  }
  const Push& push = session.window[id.sequence % session.window.size()];
  if (push.sequence != id.sequence) {
    return std::nullopt;
  }
  if (push.hash != id.hash) {
    return Error(Reason::kSequenceReused,
                 fmt::format("number {} of the session was another push; what "
                             "is sent again must be the same. Nothing was "
                             "changed",
                             id.sequence),
                 "push_id.sequence");
  }
  return push.lsn;
}

void SessionTable::Add(const PushId& id, uint64_t lsn) {
  const auto found = sessions_.find(id.session.bytes);
  QUIRE_CHECK(found != sessions_.end(), "Find() saw the session");
  Session& session = found->second;
  by_age_.splice(by_age_.end(), by_age_, session.age);

  const uint64_t highest = std::max(session.highest, id.sequence);
  // Numbers in use must not share a slot: the window grows until they do not.
  // Those in use lie in (highest - kSessionWindow, highest].
  uint64_t lowest = id.sequence;
  for (const Push& push : session.window) {
    if (push.sequence != 0 && !IsTooOld(push.sequence, highest)) {
      lowest = std::min(lowest, push.sequence);
    }
  }
  size_t size = std::max(session.window.size(), kWindowBegin);
  while (size < highest - lowest + 1) {
    size *= 2;
  }
  if (size != session.window.size()) {
    std::vector<Push> old =
        std::exchange(session.window, std::vector<Push>(size));
    for (const Push& push : old) {
      if (push.sequence != 0 && !IsTooOld(push.sequence, highest)) {
        *Slot(session, push.sequence) = push;
      }
    }
  }
  session.highest = highest;
  *Slot(session, id.sequence) = {id.sequence, id.hash, lsn};
}

void SessionTable::ForEach(
    const std::function<void(const SessionId&, std::span<const Push>)>& take)
    const {
  std::vector<Push> pushes;
  for (const SessionId& id : by_age_) {
    const Session& session = sessions_.at(id.bytes);
    pushes.clear();
    for (const Push& push : session.window) {
      if (push.sequence != 0 && !IsTooOld(push.sequence, session.highest)) {
        pushes.push_back(push);
      }
    }
    std::ranges::sort(pushes, {}, &Push::sequence);
    take(id, pushes);
  }
}

}  // namespace quire
