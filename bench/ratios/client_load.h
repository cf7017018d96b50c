// Our client library under load: several calls in flight, as a trainer has
// them.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "bench/ratios/process.h"
#include "bench/ratios/workloads.h"
#include "client/client.h"

namespace quire::bench {

// Thread safety: one thread runs; the client's own threads work for it.
class ClientLoad {
 public:
  // `client` outlives this; `table` has the shape's dim and kRows rows.
  ClientLoad(Client& client, std::string table, BatchShape shape,
             double duplicates = 0);

  // Of pushes; unspecified: the table's.
  void set_min_durability(v1::Durability durability) {
    push_.min_durability = durability;
  }

  // Lookups, pushes per second. One in flight blocks; more are asynchronous.
  double Lookups(std::chrono::nanoseconds duration, int in_flight);
  double Pushes(std::chrono::nanoseconds duration, int in_flight);

 private:
  // Starts one call with the buffer of a slot.
  using Start = std::function<void(std::vector<float>& buffer,
                                   std::function<void(absl::Status)> done)>;
  double RunAsync(std::chrono::nanoseconds duration, int in_flight,
                  const Start& start);
  std::span<const int64_t> NextIds();

  Client& client_;
  const std::string table_;
  const BatchShape shape_;
  PushOptions push_;
  Mutex mutex_;
  Batches batches_ QUIRE_GUARDED_BY(mutex_);
  // One for each call in flight: [ids, dim].
  std::vector<std::vector<float>> buffers_;
};

// Ends this process if nobody answers there.
std::unique_ptr<Client> Connect(const Process& server);

// Creates a table of kRows rows and waits until it serves.
void MakeTable(Client& client, const std::string& name, int64_t dim,
               const std::string& optimizer,
               v1::Persistence persistence = v1::PERSISTENCE_MEMORY);

}  // namespace quire::bench
