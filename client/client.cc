#include "client/client.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "base/status.h"
#include "client/bags.h"
#include "client/core.h"
#include "client/halves.h"
#include "client/lookup.h"
#include "client/push.h"
#include "client/push_operation.h"

namespace quire {

Client::Client(std::unique_ptr<Core> core) : core_(core.release()) {}

Client::~Client() {
  Core* const core = core_.load();
  // Of another process: its threads are not here, and its session goes on.
  if (core->pid() == getpid()) {
    delete core;
  }
}

Client::Core& Client::core() const {
  Core* const known = core_.load(std::memory_order_acquire);
  if (known->pid() == getpid()) {
    return *known;
  }
  // The parent's queues, connection and session stay as they are, for ever:
  // half of each is in the other process.
  auto own = std::make_unique<Core>(known->options());
  own->connection().Learn(known->connection().info());
  Core* current = known;
  return core_.compare_exchange_strong(current, own.get(),
                                       std::memory_order_acq_rel)
             ? *own.release()
             : *current;
}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(ClientOptions options,
                                                        CallOptions call) {
  auto core = std::make_unique<Core>(std::move(options));
  absl::StatusOr<v1::GetServerInfoResponse> info =
      core->Unary("GetServerInfo", core->connection().server(),
                  &v1::ServerService::Stub::PrepareAsyncGetServerInfo,
                  v1::GetServerInfoRequest(), core->DeadlineOf(call));
  if (ReasonOf(info.status()) == Reason::kDeadline) {
    return Error(Reason::kCannotConnect, std::string(info.status().message()));
  }
  QUIRE_RETURN_IF_ERROR(info.status());
  core->connection().Learn(*std::move(info));
  return std::unique_ptr<Client>(new Client(std::move(core)));
}

const v1::GetServerInfoResponse& Client::server_info() const {
  return core().connection().info();
}

absl::Status Client::Lookup(std::span<const LookupItem> items,
                            LookupOptions lookup) {
  QUIRE_RETURN_IF_ERROR(CheckWireTypes(items, server_info()));
  QUIRE_ASSIGN_OR_RETURN(std::vector<int64_t> dims,
                         LookupOperation::DimsOf(items));
  QueuePool::Lease lease = core().queues().Take();
  std::optional<absl::Status> result;
  LookupOperation::Start(
      core().connection(), lease.queue(), {items.begin(), items.end()},
      std::move(dims), core().WithDeadline(lookup),
      core().options().lookup_parts_in_flight,
      [&result](absl::Status status) { result = std::move(status); });
  while (!result) {
    PollOnce(lease.queue());
  }
  return *std::move(result);
}

absl::StatusOr<FloatTensor> Client::Core::LookupNew(Client& client,
                                                    LookupItem item,
                                                    const Shape& shape,
                                                    LookupOptions lookup) {
  // One deadline for all that follows.
  lookup = WithDeadline(lookup);
  for (bool is_retry = false;; is_retry = true) {
    QUIRE_ASSIGN_OR_RETURN(const KnownTable known,
                           Know(item.table, *lookup.deadline));
    QUIRE_ASSIGN_OR_RETURN(const Shape rows_shape, shape.Append(known.dim));
    FloatTensor rows{.shape = rows_shape,
                     .values = std::vector<float>(
                         static_cast<size_t>(rows_shape.element_count()))};
    item.uid = known.uid;
    item.out = rows.values;
    const absl::Status status = client.Lookup({&item, 1}, lookup);
    if (status.ok()) {
      return rows;
    }
    Forget(item.table);
    if (ReasonOf(status) != Reason::kTableReplaced || is_retry) {
      return status;
    }
  }
}

absl::StatusOr<FloatTensor> Client::Lookup(std::string_view table,
                                           std::span<const int64_t> ids,
                                           const Shape& shape,
                                           LookupOptions lookup) {
  if (shape.element_count() != std::ssize(ids)) {
    return Error(Reason::kBadShape,
                 fmt::format("table '{}': {} ids for a shape of {}", table,
                             ids.size(), shape.ToString()),
                 "shape");
  }
  return core().LookupNew(*this, {.table = table, .ids = ids}, shape, lookup);
}

absl::StatusOr<FloatTensor> Client::LookupBags(std::string_view table,
                                               std::span<const int64_t> ids,
                                               const Bags& bags,
                                               LookupOptions lookup) {
  QUIRE_RETURN_IF_ERROR(CheckBags(bags, ids.size(), "bags"));
  return core().LookupNew(*this, {.table = table, .ids = ids, .bags = bags},
                          Shape{bags.bag_count()}, lookup);
}

void Client::LookupAsync(std::span<const LookupItem> items,
                         LookupOptions lookup,
                         std::function<void(absl::Status)> done) {
  absl::StatusOr<std::vector<int64_t>> dims = LookupOperation::DimsOf(items);
  if (absl::Status types = CheckWireTypes(items, server_info()); !types.ok()) {
    dims = std::move(types);
  }
  if (!dims.ok()) {
    core().background().Post(
        [done = std::move(done), status = dims.status()] { done(status); });
    return;
  }
  // Given away before the call can end: while it is held, the thread polls.
  auto lease = core().background().Take();
  grpc::CompletionQueue& queue = lease->queue();
  LookupOperation::Start(
      core().connection(), queue, {items.begin(), items.end()},
      *std::move(dims), core().WithDeadline(lookup),
      core().options().lookup_parts_in_flight,
      [lease = std::move(lease), done = std::move(done)](absl::Status status) {
        done(std::move(status));
      });
}

absl::StatusOr<Pushed> Client::ApplyGradient(
    std::span<const GradientItem> items, PushOptions push) {
  Core& core = this->core();
  QUIRE_ASSIGN_OR_RETURN(grpc::ByteBuffer request,
                         EncodePush(items, push, server_info()));
  QueuePool::Lease lease = core.queues().Take();
  std::optional<absl::StatusOr<Pushed>> result;
  PushOperation::Start(
      core.connection(), core.sessions(), lease.queue(), std::move(request),
      items.size(), core.DeadlineOf(push.deadline),
      [&result](absl::StatusOr<Pushed> pushed) { result = std::move(pushed); });
  while (!result) {
    PollOnce(lease.queue());
  }
  return *std::move(result);
}

void Client::ApplyGradientAsync(
    std::span<const GradientItem> items, PushOptions push,
    std::function<void(absl::StatusOr<Pushed>)> done) {
  Core& core = this->core();
  absl::StatusOr<grpc::ByteBuffer> request =
      EncodePush(items, push, server_info());
  if (!request.ok()) {
    core.background().Post(
        [done = std::move(done), status = request.status()] { done(status); });
    return;
  }
  auto lease = core.background().Take();
  grpc::CompletionQueue& queue = lease->queue();
  PushOperation::Start(
      core.connection(), core.sessions(), queue, *std::move(request),
      items.size(), core.DeadlineOf(push.deadline),
      [lease = std::move(lease), done = std::move(done)](
          absl::StatusOr<Pushed> pushed) { done(std::move(pushed)); });
}

}  // namespace quire
