#include "wire/lookup_response.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/status.h"
#include "quire/v1/embedding.pb.h"
#include "wire/checks.h"
#include "wire/read.h"

namespace quire::wire {
namespace {

// What would be the caller's fault in a request is the server's in a reply.
absl::Status BadReply(const absl::Status& error) {
  return Error(Reason::kBug,
               fmt::format("the server sent a reply that cannot be read: {}",
                           std::string(error.message())),
               FieldOf(error));
}

}  // namespace

absl::StatusOr<LookupResponse> LookupResponse::Parse(
    std::span<const Bytes> pieces) {
  Draft draft;
  if (absl::Status read = ReadMessage<v1::LookupResponse>(pieces, draft);
      !read.ok()) {
    return BadReply(read);
  }
  absl::StatusOr<LookupResponse> response =
      CheckLookupResponse(std::move(draft));
  if (!response.ok()) {
    return BadReply(response.status());
  }
  return response;
}

}  // namespace quire::wire
