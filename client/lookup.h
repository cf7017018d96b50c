// A lookup: cut into parts that each fit a message, several of them in flight,
// their rows copied straight to where they belong.

#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "client/call.h"
#include "client/client.h"
#include "client/connection.h"
#include "client/unique.h"
#include "routing/split.h"
#include "wire/lookup_response.h"

namespace quire {

// One call of Client::Lookup, on a queue: whoever polls the queue drives it.
//
// The error of a lookup is that of its first part that failed, as if it had
// been one request: when a part fails, those after it are cancelled, and those
// before it may still come up with an earlier error.
//
// Thread safety: created on one thread, its events arrive on one other; the
// mutex is between these two.
class LookupOperation : public std::enable_shared_from_this<LookupOperation> {
 public:
  using Done = std::function<void(absl::Status)>;

  // The dim of each item, as it lies in its output; INVALID_ARGUMENT if one
  // does not, or its bags are none.
  static absl::StatusOr<std::vector<int64_t>> DimsOf(
      std::span<const LookupItem> items);

  // Starts a lookup. It lives until it has called `done`, once, on the thread
  // that polls `queue`; `connection`, `queue` and all that items point to live
  // as long.
  //   dims     of items, as DimsOf gives them
  //   options  with a deadline
  static void Start(Connection& connection, grpc::CompletionQueue& queue,
                    std::vector<LookupItem> items, std::vector<int64_t> dims,
                    const LookupOptions& options, int parts_in_flight,
                    Done done);

 private:
  using RawCall = Call<grpc::ByteBuffer>;

  LookupOperation(Connection& connection, grpc::CompletionQueue& queue,
                  std::vector<LookupItem> items, std::vector<int64_t> dims,
                  const LookupOptions& options, Done done);

  // The next part that is wanted, if any, goes out.
  void StartNextPart() QUIRE_REQUIRES(mutex_);
  grpc::ByteBuffer EncodePart(const Part& part) const;

  // A part's call has ended. The lookup's status, if it was the last one.
  std::optional<absl::Status> Finish(size_t part_index, absl::Status status,
                                     const grpc::ByteBuffer& response);
  // The rows are no newer than this: it is that of a part.
  void JoinPosition(const std::optional<Position>& position)
      QUIRE_REQUIRES(mutex_);
  absl::Status Join(const Part& part, const grpc::ByteBuffer& response)
      QUIRE_REQUIRES(mutex_);
  absl::Status JoinRange(const ItemRange& range, const wire::TableRows& rows)
      QUIRE_REQUIRES(mutex_);
  // To where they belong.
  void PlaceRows(const ItemRange& range, const wire::TableRows& rows) const;
  // From the first of equal ids to the others, when all rows are there.
  void CopyToDuplicates() const;
  void Fail(size_t part_index, const absl::Status& error)
      QUIRE_REQUIRES(mutex_);

  // Constant after construction.
  Connection& connection_;
  grpc::CompletionQueue& queue_;
  // Of items whose equal ids are looked up once.
  const std::vector<std::optional<UniqueIds>> unique_;
  // As they travel: with ids of `unique_`.
  const std::vector<LookupItem> items_;
  const std::vector<int64_t> dims_;
  const LookupOptions options_;
  const CallSite site_;
  const std::vector<Part> parts_;

  // Called by the last event.
  Done done_;

  Mutex mutex_;
  // Of parts; null before and after the call.
  std::vector<std::unique_ptr<RawCall>> calls_ QUIRE_GUARDED_BY(mutex_);
  size_t next_part_ QUIRE_GUARDED_BY(mutex_) = 0;
  // Parts from here on are not wanted any more: the first that failed.
  size_t end_part_ QUIRE_GUARDED_BY(mutex_);
  size_t in_flight_ QUIRE_GUARDED_BY(mutex_) = 0;
  absl::Status error_ QUIRE_GUARDED_BY(mutex_);
  // The earliest of those of the parts that came.
  std::optional<Position> position_ QUIRE_GUARDED_BY(mutex_);
  // Of items, from their first part that came.
  std::vector<std::optional<TableUid>> uids_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire
