// The one order of changes, and the last place that can refuse one.
//
// Everything about a push is checked before it comes here. Here, under one
// short mutex, it is seen whether its tables are still there and not frozen;
// then each table gives it a ticket and a step, and nothing fails any more.
// Tickets of all tables of a push are taken at once, so pushes that share
// tables pass all of them in the same order, and nobody waits in a circle.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "table/turnstile.h"

namespace quire {

class Sequencer {
 public:
  // What of a table changes with the order of changes.
  struct Settings {
    double learning_rate = 0.0;
    bool frozen = false;
  };

  // One table's part of a push.
  struct PushIntent {
    TableUid uid;
    std::string_view name;  // for the error
    std::optional<double> learning_rate;
  };

  // A part's place in its table's order.
  struct PushPlace {
    Ticket ticket;
    int64_t step;          // 1 on the first push
    double learning_rate;  // the intent's, or the table's
  };

  // A table begins. Its first step is 1; its first ticket is 0 unless some
  // have been used while it was made.
  void Add(const TableUid& uid, const Settings& settings,
           Ticket first_ticket = Ticket{0});

  // A table ends: later changes of it are refused. False if it had ended.
  bool Remove(const TableUid& uid);

  // A place for each part, no table twice; all or none. NOT_FOUND for a table
  // that has ended, FAILED_PRECONDITION for a frozen one, whose index in
  // `intents` goes to *refused.
  absl::StatusOr<std::vector<PushPlace>> SequencePush(
      std::span<const PushIntent> intents, size_t* refused);

  // A place for a change that is no step: rows written.
  absl::StatusOr<Ticket> SequenceWrite(const TableUid& uid,
                                       std::string_view name);

  // Changes what is given, from the next push on.
  absl::Status Alter(const TableUid& uid, std::string_view name,
                     std::optional<double> learning_rate,
                     std::optional<bool> frozen);

  // As of now; nullopt for a table that has ended.
  struct State {
    Settings settings;
    int64_t step = 0;
  };
  std::optional<State> StateOf(const TableUid& uid) const;

 private:
  struct TableOrder {
    Settings settings;
    int64_t step = 0;
    uint64_t next_ticket = 0;
  };
  using Orders = absl::flat_hash_map<std::array<uint8_t, 16>, TableOrder>;

  absl::StatusOr<TableOrder*> Find(const TableUid& uid, std::string_view name)
      QUIRE_REQUIRES(mutex_);

  mutable Mutex mutex_;
  // By uid.
  Orders orders_ QUIRE_GUARDED_BY(mutex_);
};

// NOT_FOUND, as everyone says it.
absl::Status NoSuchTable(std::string_view name);

}  // namespace quire
