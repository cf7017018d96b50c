// One disk in memory, from new, and the engines that live on it one after the
// other, each to a bad end. What an engine leaves, the next one is checked
// against the ledger with, and against the order in which pushes were sent:
//
//   after a power cut  all that was answered as SYNCED is there
//   after a kill       all that was answered is there
//   after both         nothing is there behind something that is not
//
// One thread sends. What it sends, and at which of the disk's operations the
// trouble comes, follows from the seed. When the log's own threads come to
// write and sync does not: the same operation may belong to another push.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "crash/ledger.h"
#include "crash/troubled_disk.h"
#include "engine/disk_life.h"
#include "engine/engine.h"

namespace quire::crash {

enum class Trouble {
  kPower,     // the power is cut before some operation
  kFailures,  // an operation fails, or all from it on, or the disk is full
};

// Thread safety: one thread.
class DiskWorld {
 public:
  DiskWorld(uint64_t seed, Trouble trouble);

  // Pushes are sent, it ends badly, and what is left is opened and checked.
  // False: there are no receipts left, or something was violated; the world is
  // over.
  bool LiveOnce();

  Outcome outcome() const;

 private:
  struct Session {
    SessionId id;
    uint64_t last_sequence = 0;
  };
  // A push, which may be sent more than once.
  struct Sent {
    Push* push = nullptr;
    PushId id;
    v1::Durability durability = v1::DURABILITY_WRITTEN;
    // It is one of order_.
    bool is_in_order = false;
    // When it was sent: pushes of one burst are in no order but that of their
    // LSNs, of those whose answer tells it.
    int64_t burst = 0;
    uint64_t lsn = 0;
    // Among those that were ever acknowledged.
    bool is_counted = false;
    // In time: before the end of a life. Guarded by mutex_.
    bool is_acknowledged = false;
    bool is_synced = false;
  };
  struct Attempt {
    Sent* sent = nullptr;
    std::unique_ptr<Addition> addition;
    absl::StatusOr<PushOutcome> answer = absl::UnknownError("not yet");
    bool is_in_time = false;
  };
  // What came of all attempts of a burst to send one push.
  struct Verdict {
    int answered = 0;
    int answered_as_new = 0;
    int answered_in_time = 0;
    int in_doubt = 0;
  };

  // --- What is left: disk_world_checks.cc ---

  void CheckLeft();
  // Sessions that were not safe go with all that they have pushed.
  void CheckSessions();
  void CheckOrder();
  // What is known of each push from here on.
  void SettleOrder();
  // Rows of an engine that may have failed: they can still be read.
  void CheckLiving();
  void CheckRows(bool after_power_cut);
  void CheckStep();

  // --- A life ---

  void CreateTable();
  void Open();
  void Prepare();
  void Arm();
  void Live();
  bool IsOver();
  // Sends some pushes and waits for their answers.
  void Burst();
  void AwaitAnswers();
  // Null: there is none left.
  Sent* Choose();
  Sent* NewPush();
  void Send(Attempt& attempt);
  void Answer(Attempt& attempt, absl::StatusOr<PushOutcome> answer);
  void Judge(const std::deque<Attempt>& attempts);
  void JudgeAttempt(const Attempt& attempt, Verdict& verdict);
  void JudgeFailure(const Attempt& attempt, Verdict& verdict);
  void Conclude(Sent& sent, const Verdict& verdict);
  void MakeSnapshot();
  // A disk that was full has room again: pushes go on without a restart.
  void ExpectRoom();
  // Of a log that has failed.
  void ExpectNoMore();
  void Finish();
  // Starts that come to a bad end themselves.
  void FailToOpen();
  void End();

  bool IsAllowed(const absl::Status& status) const;
  // One in n.
  bool Chance(uint64_t n) { return random_() % n == 0; }

  const Trouble trouble_;
  std::mt19937_64 random_;
  journal::LogOptions log_ = SmallLog();
  Ledger ledger_;
  TroubledDisk disk_;
  std::vector<Session> sessions_;
  // They do not move.
  std::deque<Sent> sent_;
  // Pushes whose sender has no answer.
  std::vector<Sent*> unanswered_;
  int64_t kills_ = 0;
  int64_t acknowledged_ = 0;
  // Since the last check.
  bool power_was_cut_ = false;

  int64_t bursts_ = 0;

  // --- This life ---
  bool is_full_ = false;
  bool has_failed_ = false;
  bool is_used_up_ = false;
  int refused_in_a_row_ = 0;

  std::mutex mutex_;
  std::condition_variable answered_;
  // Guarded by it.
  int64_t pending_ = 0;
  // From here on answers reach nobody.
  bool is_over_ = false;
  // As they were sent: those that may be on the disk and not be safe there.
  std::vector<Sent*> order_;

  // Null if it could not be opened. They end first.
  std::unique_ptr<Engine> engine_;
  TableHandle table_;
};

}  // namespace quire::crash
