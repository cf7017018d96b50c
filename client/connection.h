// One server: the channel to it, the services that it offers, and its limits.

#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "client/errors.h"
#include "quire/v1/admin.grpc.pb.h"
#include "quire/v1/admin.pb.h"
#include "quire/v1/embedding.grpc.pb.h"
#include "quire/v1/embedding.pb.h"

namespace quire {

// Thread safety: constant once Learn has returned; the stubs may then be used
// from any thread.
class Connection {
 public:
  // Opens a channel, which connects with the first call.
  explicit Connection(std::string server);

  // What the server says of itself, and whose limits hold from now on. A limit
  // that it leaves out is that of base/limits.h.
  void Learn(v1::GetServerInfoResponse info);
  const v1::GetServerInfoResponse& info() const { return info_; }
  // The server has sessions: pushes are applied once, however often sent.
  bool has_sessions() const { return has_sessions_; }

  // A call that starts now. `method` outlives it.
  CallSite Site(std::string_view method, absl::Time deadline) const;

  v1::EmbeddingService::Stub& embedding() { return embedding_; }
  v1::TableService::Stub& tables() { return tables_; }
  v1::ServerService::Stub& server() { return server_service_; }

  // Methods whose requests we write ourselves, by path.
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>& raw() {
    return raw_;
  }
  grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::ApplyGradientResponse>&
  pushes() {
    return pushes_;
  }

 private:
  const std::string address_;
  const std::shared_ptr<grpc::Channel> channel_;
  v1::EmbeddingService::Stub embedding_;
  v1::TableService::Stub tables_;
  v1::ServerService::Stub server_service_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> raw_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::ApplyGradientResponse>
      pushes_;
  v1::GetServerInfoResponse info_;
  bool has_sessions_ = false;
};

}  // namespace quire
