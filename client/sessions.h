// Sessions of exactly-once pushes: who opens one, and the numbers in it.

#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "client/connection.h"
#include "client/queue.h"

namespace quire {

// The sessions of one client, of which one at a time is in use. Each push takes
// the next number, 1, 2, 3, …, and resolves it when its outcome is final:
//
//    1  2  3  4  5  6  7  8  …
//    ✓  ✓  ?  ✓  ✓  ?  ?
//          ├──────────────── kPushWindow numbers: later pushes wait
//          the oldest that is not resolved
//
// A number is used for one push only, also if that was refused. The server
// would take it for another one, but an earlier copy of the refused push may
// still be on its way, and would then be what the other one is a repeat of.
// Numbers that no push used leave gaps, which a server does not mind.
//
// Pushes take their turns in the order in which they asked. The first one opens
// the session, and the others wait for it; if it fails, the next one tries.
//
// Thread safety: all functions may be called from any thread.
class Sessions {
 public:
  // Of one opened session; all but the id is guarded by the mutex of Sessions.
  struct Session {
    const std::string id;
    uint64_t next_sequence = 1;
    std::set<uint64_t> unresolved;
  };

  // The right, and the duty, to use a number.
  struct Ticket {
    std::shared_ptr<Session> session;
    uint64_t sequence = 0;
  };

  // What a push is to do.
  enum class Turn {
    kWait,
    kOpen,  // open a session, then say Opened or NotOpened
    kSend,  // use the ticket, then say Resolve or Expire
  };

  // The place of a push. It stays where it is until its turn has come.
  class Place {
   public:
    const Ticket& ticket() const { return ticket_; }

   private:
    friend class Sessions;

    Turn turn_ = Turn::kWait;
    Ticket ticket_;
    // Set to the deadline; cancelled when the turn comes.
    std::optional<grpc::Alarm> alarm_;
  };

  // The connection outlives this.
  explicit Sessions(Connection& connection) : connection_(connection) {}
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;
  // Closes the session, if the server answers within a second: one that nobody
  // closed is forgotten by itself, later. No push is under way.
  ~Sessions();

  // Takes a place, with its turn. If that is kWait, `event` arrives on `queue`
  // when the turn has come or the deadline has passed: TurnOf says which.
  Turn Enter(Place& place, grpc::CompletionQueue& queue, absl::Time deadline,
             QueueEvent& event);

  // After that event. kWait: it was the deadline, and the place is given up.
  Turn TurnOf(Place& place);

  // A session was opened, or was not, by whose turn it was. In the first case
  // `place` has a ticket now.
  void Opened(Place& place, std::string id);
  void NotOpened();

  // The outcome of a push is as known as it will be: its number is done with.
  void Resolve(const Ticket& ticket);
  // … and the session with it: the server does not have it.
  void Expire(const Ticket& ticket);

 private:
  // The next number of the session; it has room.
  Ticket NextTicket() QUIRE_REQUIRES(mutex_);
  bool HasRoom() const QUIRE_REQUIRES(mutex_);
  // Lets those who wait have their turns, as far as there is room.
  void GiveTurns() QUIRE_REQUIRES(mutex_);

  Connection& connection_;

  Mutex mutex_;
  // Null before the first push, and after the server has forgotten it.
  std::shared_ptr<Session> session_ QUIRE_GUARDED_BY(mutex_);
  bool is_opening_ QUIRE_GUARDED_BY(mutex_) = false;
  std::list<Place*> waiting_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire
