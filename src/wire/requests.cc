#include "wire/requests.h"

#include <utility>

#include "base/status.h"
#include "quire/v1/embedding.pb.h"
#include "wire/checks.h"
#include "wire/read.h"

namespace quire::wire {
namespace {

// Reads and judges a request inside of its stream's message.
template <typename Message, typename Request>
StreamRequest<Request> ParseOnStream(
    std::span<const Bytes> pieces,
    absl::StatusOr<Request> (*check)(Draft draft)) {
  Draft draft;
  absl::Status read = ReadMessage<Message>(pieces, draft);
  const std::optional<uint64_t> request_id = draft.request_id;
  if (!read.ok()) {
    return {request_id, std::move(read)};
  }
  return {request_id, check(std::move(draft))};
}

}  // namespace

absl::StatusOr<LookupRequest> LookupRequest::Parse(
    std::span<const Bytes> pieces) {
  Draft draft;
  QUIRE_RETURN_IF_ERROR(ReadMessage<v1::LookupRequest>(pieces, draft));
  return CheckLookupRequest(std::move(draft));
}

absl::StatusOr<ApplyGradientRequest> ApplyGradientRequest::Parse(
    std::span<const Bytes> pieces) {
  Draft draft;
  QUIRE_RETURN_IF_ERROR(ReadMessage<v1::ApplyGradientRequest>(pieces, draft));
  return CheckApplyGradientRequest(std::move(draft));
}

template <>
LookupStreamRequest LookupStreamRequest::Parse(std::span<const Bytes> pieces) {
  return ParseOnStream<v1::LookupStreamRequest>(pieces, CheckLookupRequest);
}

template <>
ApplyGradientStreamRequest ApplyGradientStreamRequest::Parse(
    std::span<const Bytes> pieces) {
  return ParseOnStream<v1::ApplyGradientStreamRequest>(
      pieces, CheckApplyGradientRequest);
}

}  // namespace quire::wire
