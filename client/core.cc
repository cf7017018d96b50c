#include "client/core.h"

#include <fmt/format.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/uid.h"

namespace quire {

Client::Core::Core(ClientOptions options)
    : pid_(getpid()),
      options_(std::move(options)),
      connection_(std::make_shared<Connection>(options_.server)),
      sessions_(*connection_) {}

absl::Time Client::Core::DeadlineOf(std::optional<absl::Time> deadline) const {
  return deadline.value_or(absl::Now() + options_.timeout);
}

absl::Status Client::Core::CheckSize(std::string_view method,
                                     size_t bytes) const {
  const int64_t bytes_max = connection_->info().limits().push_bytes();
  // Before the server's limits are known there is nothing to compare with.
  if (bytes_max == 0 || bytes <= static_cast<size_t>(bytes_max)) {
    return absl::OkStatus();
  }
  return Error(Reason::kTooLarge,
               fmt::format("{}: a request of {} bytes; this server takes {}. "
                           "Send less in one call.",
                           method, bytes, bytes_max));
}

absl::StatusOr<Client::Core::KnownTable> Client::Core::Know(
    std::string_view table, absl::Time deadline) {
  const std::string name(table);
  {
    MutexLock lock(known_mutex_);
    if (const auto known = known_.find(name); known != known_.end()) {
      return known->second;
    }
  }
  v1::GetTableRequest request;
  request.mutable_table()->set_name(name);
  QUIRE_ASSIGN_OR_RETURN(
      const v1::GetTableResponse response,
      Read("GetTable", connection_->tables(),
           &v1::TableService::Stub::PrepareAsyncGetTable, request, deadline));
  QUIRE_ASSIGN_OR_RETURN(const TableUid uid, ReadUid(response.table().uid()));
  const KnownTable known{.uid = uid,
                         .dim = response.table().spec().embedding_dim()};
  MutexLock lock(known_mutex_);
  known_.insert_or_assign(name, known);
  return known;
}

void Client::Core::Forget(std::string_view table) {
  MutexLock lock(known_mutex_);
  known_.erase(std::string(table));
}

}  // namespace quire
