// The client library against a real server, over loopback.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "client/client.h"
#include "server/server.h"

namespace quire::testing {

// A specification of rows that all hold `value`, trained by plain SGD with
// learning rate 1.
inline v1::TableSpec FlatSpec(const std::string& name, int64_t rows,
                              int64_t dim, float value = 0) {
  v1::TableSpec spec;
  spec.set_name(name);
  spec.set_num_embeddings(rows);
  spec.set_embedding_dim(dim);
  spec.mutable_initializer()->mutable_constant()->set_value(value);
  spec.mutable_optimizer()->set_learning_rate(1.0);
  return spec;
}

inline std::string MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = StartServer();
    client_ = Connect(*server_);
  }

  static std::unique_ptr<Server> StartServer(
      const std::string& listen = "127.0.0.1:0",
      int64_t push_bytes_max = kPushBytesMax) {
    auto server = Server::Start({.listen = listen,
                                 .table_bytes_max = 256 << 20,
                                 .inflight_bytes_max = int64_t{1} << 30,
                                 .push_bytes_max = push_bytes_max});
    EXPECT_TRUE(server.ok()) << server.status();
    return server.ok() ? *std::move(server) : nullptr;
  }

  static std::unique_ptr<Client> Connect(const Server& server) {
    auto client = Client::Connect({.server = server.address()});
    EXPECT_TRUE(client.ok()) << client.status();
    return client.ok() ? *std::move(client) : nullptr;
  }

  static absl::StatusOr<v1::CreateTableResponse> Create(
      Client& client, const v1::TableSpec& spec) {
    v1::CreateTableRequest request;
    *request.mutable_spec() = spec;
    request.set_if_exists(v1::IF_EXISTS_VERIFY);
    return client.CreateTable(request);
  }

  void CreateFlat(const std::string& name, int64_t rows, int64_t dim,
                  float value = 0) {
    const auto created = Create(*client_, FlatSpec(name, rows, dim, value));
    ASSERT_TRUE(created.ok()) << created.status();
  }

  // Runs `work` on threads of its own, with the number of each.
  static void OnThreads(int count, const std::function<void(int)>& work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) {
      threads.emplace_back(work, i);
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }

  // One push of the same number for every element of rows.
  static absl::StatusOr<Pushed> PushFlat(Client& client,
                                         const std::string& table,
                                         std::vector<int64_t> ids, int64_t dim,
                                         float value,
                                         std::optional<TableUid> uid = {}) {
    const std::vector<float> gradient(ids.size() * static_cast<size_t>(dim),
                                      value);
    const GradientItem item{.table = table,
                            .uid = uid,
                            .ids = ids,
                            .gradient = gradient,
                            .learning_rate = {}};
    return client.ApplyGradient({&item, 1});
  }

  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
};

}  // namespace quire::testing
