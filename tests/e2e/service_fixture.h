// A real server in this process, seen over loopback as a stock client sees it:
// generated stubs, and raw bytes.

#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "google/rpc/status.pb.h"
#include "quire/v1/admin.grpc.pb.h"
#include "quire/v1/embedding.grpc.pb.h"
#include "server/server.h"

namespace quire::testing {

inline constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
inline constexpr auto kOutOfRange = grpc::StatusCode::OUT_OF_RANGE;

// What a client reads from an error's details.
struct Details {
  std::string reason;
  std::string field;
  bool has_retry = false;
};
Details DetailsOf(const google::rpc::Status& status);
Details DetailsOf(const grpc::Status& status);

// How a refusal must look.
struct Refusal {
  grpc::StatusCode code;
  std::string reason;
  std::string field;
  // Each is in the sentence.
  std::vector<std::string> says;
};

// An entry of a lookup or a push; `dims` absent: no shape.
template <typename Request>
auto& Add(Request& request, const std::string& table,
          const std::vector<int64_t>& ids,
          const std::optional<std::vector<int>>& dims = {}) {
  auto& entry = *request.add_tables();
  entry.mutable_table()->set_name(table);
  entry.mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  if (dims) {
    entry.mutable_ids()->mutable_shape()->mutable_dims()->Add(dims->begin(),
                                                              dims->end());
  }
  return entry;
}

// The gradient of an entry, with its shape.
void SetGradient(const std::vector<int>& dims, const std::vector<float>& values,
                 v1::TableGradient& entry);

// A specification of plain SGD with learning rate 1.
v1::TableSpec Spec(const std::string& name, int64_t rows, int64_t dim);

// A server and stubs of a channel that receives messages of any size.
class ServiceTest : public ::testing::Test {
 protected:
  static constexpr int64_t kPushBytes = 1 << 20;
  static constexpr int64_t kTableBytes = 256 << 20;

  void SetUp() override { StartServer(""); }
  // Starts a server, and the stubs; with a data directory, or none.
  void StartServer(const std::string& data_dir);
  static ServerOptions Options(const std::string& data_dir);
  // Takes a server, and makes the stubs.
  void Use(std::unique_ptr<Server> server);

  grpc::Status Create(const v1::TableSpec& spec);
  grpc::Status Create(const std::string& name, int64_t rows, int64_t dim) {
    return Create(Spec(name, rows, dim));
  }
  grpc::Status Lookup(const v1::LookupRequest& request,
                      v1::LookupResponse* response = nullptr);
  grpc::Status Push(const v1::ApplyGradientRequest& request,
                    v1::ApplyGradientResponse* response = nullptr);
  std::vector<float> Row(const std::string& table, int64_t id);
  v1::Table Describe(const std::string& table);

  // The status of sending `bytes` as the one message of `method`
  // ("/quire.v1.EmbeddingService/Lookup"), and the answer, if there is one.
  grpc::Status SendRaw(const std::string& method, const std::string& bytes,
                       std::string* answer = nullptr);

  // All that requests can change: every table's description (with its step and
  // counters), rows, optimizer state and labels. Asking for it changes nothing,
  // and shows that the server answers.
  std::string State();

  // Makes a call that must be refused like this: nothing has changed after it,
  // and the server answers.
  void ExpectRefused(const std::function<grpc::Status()>& call,
                     const Refusal& refusal);

  // Waits until nothing is charged for requests in flight: a reply's charge
  // ends a moment after its client has it.
  void ExpectNothingInFlight();

  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::EmbeddingService::Stub> rows_;
  std::unique_ptr<v1::TableService::Stub> tables_;
  std::unique_ptr<v1::ServerService::Stub> info_;
};

}  // namespace quire::testing
