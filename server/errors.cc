#include "server/errors.h"

#include <fmt/format.h>

#include <string>

#include "base/status.h"
#include "google/rpc/error_details.pb.h"

namespace quire {
namespace {

std::string ToString(absl::string_view text) {
  return std::string(text.data(), text.size());
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status rpc;
  rpc.set_code(static_cast<int>(status.code()));
  rpc.set_message(ToString(status.message()));
  if (status.ok()) {
    return rpc;
  }
  google::rpc::ErrorInfo info;
  info.set_reason(
      std::string(ReasonName(ReasonOf(status).value_or(Reason::kBug))));
  info.set_domain("quire");
  rpc.add_details()->PackFrom(info);
  if (const std::string field = FieldOf(status); !field.empty()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(field);
    violation->set_description(ToString(status.message()));
    rpc.add_details()->PackFrom(bad);
  }
  if (const auto retry_ms = RetryAfterMsOf(status)) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(*retry_ms / 1000);
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(*retry_ms % 1000 * 1'000'000));
    rpc.add_details()->PackFrom(retry);
  }
  return rpc;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) {
    return grpc::Status::OK;
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      ToString(status.message()),
                      ToRpcStatus(status).SerializeAsString());
}

std::string Shown(std::string_view name) {
  constexpr size_t kShown = 40;
  return name.size() <= kShown
             ? fmt::format("{:?}", name)
             : fmt::format("{:?}… ({} bytes)", name.substr(0, kShown),
                           name.size());
}

}  // namespace quire
