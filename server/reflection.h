// Server reflection: what services there are, and their messages, for clients
// that have no stubs (buf curl, grpcurl, Postman).
//
// Thread safety: constant after construction.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/call.h"

namespace quire {

class ReflectionService {
 public:
  using Protocol = grpc::reflection::v1::ServerReflection;
  using Methods =
      Protocol::WithRawMethod_ServerReflectionInfo<Protocol::Service>;
  // The same under an older name: the same bytes mean the same.
  using OldProtocol = grpc::reflection::v1alpha::ServerReflection;
  using OldMethods =
      OldProtocol::WithRawMethod_ServerReflectionInfo<OldProtocol::Service>;
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;

  //   services  by full name, as they are listed
  explicit ReflectionService(std::vector<std::string> services)
      : services_(std::move(services)) {}

  Methods& methods() { return methods_; }
  OldMethods& old_methods() { return old_methods_; }

  // What is asked for; errors are part of the answer.
  Response Answer(const Request& request) const;

  // Answers each message of a stream; outlived by this.
  std::unique_ptr<StreamHandler> OpenStream() const;

 private:
  const std::vector<std::string> services_;
  Methods methods_;
  OldMethods old_methods_;
};

}  // namespace quire
