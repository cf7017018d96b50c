// gRPC with nothing on top: a server whose method takes bytes and answers
// none, and a client that sends the same bytes again and again.

#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <memory>
#include <string>

namespace quire::bench {

// Serves an empty raw unary Lookup on a free port of the loopback, with as many
// completion queues and threads as the server under test, until it is killed.
[[noreturn]] void ServeEmptyMethod(const std::string& port_file,
                                   int thread_count);

// One connection, one thread, several calls of one request in flight.
class RawClient {
 public:
  RawClient(const std::string& address, grpc::ByteBuffer request);

  // Calls per second.
  double Run(std::chrono::nanoseconds duration, int in_flight);

 private:
  const grpc::ByteBuffer request_;
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
};

}  // namespace quire::bench
