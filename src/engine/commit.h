// Changes that go through the log.
//
// Thread safety: see each.

#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/mutex.h"
#include "engine/push.h"
#include "engine/records.h"
#include "engine/sequencer.h"

namespace quire {

// A change that its own thread makes, once it is its turn. One thread.
class WaitingChange final : public Sequencer::Change {
 public:
  // `payload`, the array as well as the bytes, outlives it.
  WaitingChange(RecordType type, std::span<const Bytes> payload);

  // Once it is sequenced: returns when it is its turn, or with why it never is.
  absl::Status WaitForTurn();

  void Begin() override;
  void Fail(const absl::Status& status) override;

 private:
  Mutex mutex_;
  CondVar changed_;
  std::optional<absl::Status> turn_ QUIRE_GUARDED_BY(mutex_);
};

// A push of LOGGED tables. Made with new; deletes itself when it has told its
// end. Sequence on one thread at a time.
class LoggedPush final : public Sequencer::Change {
 public:
  struct End {
    uint64_t lsn = 0;
    bool is_synced = false;
    // It had been sequenced before: there are no results.
    std::optional<Sequencer::Duplicate> duplicate;
    std::vector<PushResult> results;
  };

  // `begin` is given what applies the push, when it is its turn: see
  // Sequencer::Change::Begin. What `push` views stays until `done` is called.
  LoggedPush(Sequencer& sequencer, PreparedPush push,
             std::span<const PushPart> parts, const std::optional<PushId>& id,
             v1::Durability min_durability,
             std::function<void(std::function<void()>)> begin,
             std::function<void(absl::StatusOr<End>)> done);

  // True: it is sequenced, or has ended. False: the log has no room now.
  bool Sequence();
  // It ends with this, before it is sequenced.
  void Refuse(const absl::Status& status);

  void Begin() override;
  void Fail(const absl::Status& status) override;

 private:
  void Apply();
  void Finish(absl::StatusOr<End> end);

  Sequencer& sequencer_;
  PreparedPush push_;
  const std::optional<PushId> id_;
  const v1::Durability min_durability_;
  const std::function<void(std::function<void()>)> begin_;
  std::function<void(absl::StatusOr<End>)> done_;

  PushRecordBytes record_;
  bool is_synced_ = false;
  std::vector<Sequencer::PushPlace> places_;
};

}  // namespace quire
