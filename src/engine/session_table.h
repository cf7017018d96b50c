// What each session has pushed: so that a push that is sent again is known.
//
// A session numbers its pushes 1, 2, 3, … and has at most kSessionWindow of
// them in doubt at once. Of the last kSessionWindow numbers up to its highest
// the table remembers which were pushed, with what, and at which LSN; an older
// number is refused, never guessed.
//
// The table is bounded: the session whose last push is longest ago gives way to
// a new one, and is unknown from then on. What is remembered follows from the
// order of changes alone: the log, replayed, makes the same table.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"

namespace quire {

inline constexpr uint64_t kSessionWindow = 1024;

// A push as its sender names it.
struct PushId {
  SessionId session;
  uint64_t sequence = 0;  // 1, 2, 3, …
  // Of what is pushed, without session and sequence: XXH3-64.
  uint64_t hash = 0;
};

class SessionTable {
 public:
  explicit SessionTable(size_t session_count_max)
      : session_count_max_(session_count_max) {}

  // A session begins; it is not there yet.
  void Open(const SessionId& session);
  // It ends; it is there.
  void Close(const SessionId& session);
  // FAILED_PRECONDITION (SESSION_EXPIRED) if there is no such session.
  absl::Status CheckIsOpen(const SessionId& session) const;

  // The LSN of an earlier push of this name; nullopt if it is new.
  // FAILED_PRECONDITION (SESSION_EXPIRED) if there is no such session,
  // (SEQUENCE_TOO_OLD) for a number below the window; INVALID_ARGUMENT
  // (BAD_VALUE) for number 0, (SEQUENCE_REUSED) if another push had the number.
  absl::StatusOr<std::optional<uint64_t>> Find(const PushId& id) const;

  // A new push has its place. Find(id) gave nullopt just now.
  void Add(const PushId& id, uint64_t lsn);

  size_t size() const { return sessions_.size(); }

  // --- For snapshots ---

  struct Push {
    uint64_t sequence = 0;
    uint64_t hash = 0;
    uint64_t lsn = 0;
  };
  // Every session, the one that would give way first, first; its pushes in the
  // order of their numbers.
  void ForEach(const std::function<void(const SessionId&,
                                        std::span<const Push>)>& take) const;

 private:
  struct Session {
    // Where it stands in by_age_.
    std::list<SessionId>::iterator age;
    uint64_t highest = 0;
    // The push of number s at [s % size]; sequence 0: none. Its size is a power
    // of two that grows with the session, to kSessionWindow.
    std::vector<Push> window;
  };

  static Push* Slot(Session& session, uint64_t sequence) {
    return &session.window[sequence % session.window.size()];
  }

  size_t session_count_max_;
  absl::flat_hash_map<std::array<uint8_t, 16>, Session> sessions_;
  // The session whose last push is longest ago, first.
  std::list<SessionId> by_age_;
};

}  // namespace quire
