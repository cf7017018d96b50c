#include "client/client.h"

#include <fmt/format.h>

#include <utility>

#include "base/status.h"
#include "client/bags.h"
#include "client/core.h"
#include "client/lookup.h"
#include "client/push.h"

namespace quire {
namespace {

constexpr char kApplyGradientPath[] =
    "/quire.v1.EmbeddingService/ApplyGradient";

CallSite PushSite(const Connection& connection, absl::Time deadline) {
  CallSite site = connection.Site("ApplyGradient", deadline);
  site.is_push = true;
  return site;
}

Call<v1::ApplyGradientResponse>::Prepare PreparePush(Connection& connection,
                                                     grpc::ByteBuffer request) {
  return [&stub = connection.pushes(), request = std::move(request)](
             grpc::ClientContext* context, grpc::CompletionQueue* queue) {
    return stub.PrepareUnaryCall(context, kApplyGradientPath, request, queue);
  };
}

}  // namespace

Client::Client(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Client::~Client() = default;

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
  return core_->connection().info();
}

absl::Status Client::Lookup(std::span<const LookupItem> items,
                            CallOptions call) {
  QUIRE_ASSIGN_OR_RETURN(std::vector<int64_t> dims,
                         LookupOperation::DimsOf(items));
  QueuePool::Lease lease = core_->queues().Take();
  std::optional<absl::Status> result;
  LookupOperation::Start(
      core_->connection(), lease.queue(), {items.begin(), items.end()},
      std::move(dims), core_->DeadlineOf(call),
      core_->options().lookup_parts_in_flight,
      [&result](absl::Status status) { result = std::move(status); });
  while (!result) {
    PollOnce(lease.queue());
  }
  return *std::move(result);
}

absl::StatusOr<FloatTensor> Client::Core::LookupNew(Client& client,
                                                    LookupItem item,
                                                    const Shape& shape,
                                                    CallOptions call) {
  // One deadline for all that follows.
  call.deadline = DeadlineOf(call);
  for (bool is_retry = false;; is_retry = true) {
    QUIRE_ASSIGN_OR_RETURN(const KnownTable known,
                           Know(item.table, *call.deadline));
    QUIRE_ASSIGN_OR_RETURN(const Shape rows_shape, shape.Append(known.dim));
    FloatTensor rows{.shape = rows_shape,
                     .values = std::vector<float>(
                         static_cast<size_t>(rows_shape.element_count()))};
    item.uid = known.uid;
    item.out = rows.values;
    const absl::Status status = client.Lookup({&item, 1}, call);
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
                                           CallOptions call) {
  if (shape.element_count() != std::ssize(ids)) {
    return Error(Reason::kBadShape,
                 fmt::format("table '{}': {} ids for a shape of {}", table,
                             ids.size(), shape.ToString()),
                 "shape");
  }
  return core_->LookupNew(*this, {.table = table, .ids = ids}, shape, call);
}

absl::StatusOr<FloatTensor> Client::LookupBags(std::string_view table,
                                               std::span<const int64_t> ids,
                                               const Bags& bags,
                                               CallOptions call) {
  QUIRE_RETURN_IF_ERROR(CheckBags(bags, ids.size(), "bags"));
  return core_->LookupNew(*this, {.table = table, .ids = ids, .bags = bags},
                          Shape{bags.bag_count()}, call);
}

void Client::LookupAsync(std::span<const LookupItem> items, CallOptions call,
                         std::function<void(absl::Status)> done) {
  absl::StatusOr<std::vector<int64_t>> dims = LookupOperation::DimsOf(items);
  if (!dims.ok()) {
    core_->background().Post(
        [done = std::move(done), status = dims.status()] { done(status); });
    return;
  }
  const auto lease = core_->background().Take();
  LookupOperation::Start(core_->connection(), lease->queue(),
                         {items.begin(), items.end()}, *std::move(dims),
                         core_->DeadlineOf(call),
                         core_->options().lookup_parts_in_flight,
                         [lease, done = std::move(done)](absl::Status status) {
                           done(std::move(status));
                         });
}

absl::StatusOr<std::vector<PushedTable>> Client::ApplyGradient(
    std::span<const GradientItem> items, CallOptions call) {
  QUIRE_ASSIGN_OR_RETURN(grpc::ByteBuffer request,
                         EncodePush(items, server_info().limits()));
  QUIRE_ASSIGN_OR_RETURN(
      const v1::ApplyGradientResponse response,
      core_->Wait<v1::ApplyGradientResponse>(
          PushSite(core_->connection(), core_->DeadlineOf(call)),
          PreparePush(core_->connection(), std::move(request))));
  return ReadPushReply(response, items.size());
}

void Client::ApplyGradientAsync(
    std::span<const GradientItem> items, CallOptions call,
    std::function<void(absl::StatusOr<std::vector<PushedTable>>)> done) {
  using PushCall = Call<v1::ApplyGradientResponse>;
  absl::StatusOr<grpc::ByteBuffer> request =
      EncodePush(items, server_info().limits());
  if (!request.ok()) {
    core_->background().Post(
        [done = std::move(done), status = request.status()] { done(status); });
    return;
  }
  const auto lease = core_->background().Take();
  // The call owns itself until it is done.
  auto owner = std::make_shared<std::unique_ptr<PushCall>>();
  *owner = std::make_unique<PushCall>(
      PushSite(core_->connection(), core_->DeadlineOf(call)), lease->queue(),
      PreparePush(core_->connection(), *std::move(request)),
      [owner, lease, item_count = items.size(), done = std::move(done)](
          absl::Status status, v1::ApplyGradientResponse& response) {
        const std::unique_ptr<PushCall> ended = std::move(*owner);
        if (status.ok()) {
          done(ReadPushReply(response, item_count));
        } else {
          done(std::move(status));
        }
      });
  (*owner)->Start();
}

}  // namespace quire
