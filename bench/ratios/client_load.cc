#include "bench/ratios/client_load.h"

#include <fmt/format.h>

#include <utility>

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Each element of what is pushed.
constexpr float kGradient = 1e-3f;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void DieUnlessOk(const absl::Status& status) {
  if (!status.ok()) {
    Die(fmt::format("a call failed: {}", status.ToString()));
  }
}

// `call` again and again, on this thread; calls per second.
template <typename BlockingCall>
double RunBlocking(std::chrono::nanoseconds duration, BlockingCall call) {
  const Clock::time_point begin = Clock::now();
  double count = 0;
  do {
    DieUnlessOk(call());
    ++count;
  } while (Clock::now() - begin < duration);
  return count / SecondsSince(begin);
}

// Calls that run on from one to the next until time is up.
struct Loop {
  Mutex mutex;
  CondVar changed;
  int running QUIRE_GUARDED_BY(mutex) = 0;
  double count QUIRE_GUARDED_BY(mutex) = 0;
};

}  // namespace

ClientLoad::ClientLoad(Client& client, std::string table, BatchShape shape,
                       double duplicates)
    : client_(client),
      table_(std::move(table)),
      shape_(shape),
      batches_(shape, duplicates) {}

double ClientLoad::RunAsync(std::chrono::nanoseconds duration, int in_flight,
                            const Start& start) {
  while (std::ssize(buffers_) < in_flight) {
    buffers_.emplace_back(shape_.floats(), kGradient);
  }
  const Clock::time_point begin = Clock::now();
  Loop loop;
  // Each call's end starts the next, on the client's thread.
  std::function<void(size_t)> next = [&](size_t slot) {
    start(buffers_[slot], [&, slot](absl::Status status) {
      DieUnlessOk(status);
      const bool goes_on = Clock::now() - begin < duration;
      {
        MutexLock lock(loop.mutex);
        ++loop.count;
        loop.running -= goes_on ? 0 : 1;
        if (!goes_on) {
          loop.changed.NotifyAll();
          return;
        }
      }
      next(slot);
    });
  };
  {
    MutexLock lock(loop.mutex);
    loop.running = in_flight;
  }
  for (int slot = 0; slot < in_flight; ++slot) {
    next(static_cast<size_t>(slot));
  }
  MutexLock lock(loop.mutex);
  while (loop.running > 0) {
    loop.changed.Wait(loop.mutex);
  }
  return loop.count / SecondsSince(begin);
}

std::span<const int64_t> ClientLoad::NextIds() {
  MutexLock lock(mutex_);
  return batches_.Next();
}

double ClientLoad::Lookups(std::chrono::nanoseconds duration, int in_flight) {
  const auto item = [this](std::vector<float>& buffer) {
    return LookupItem{
        .table = table_, .uid = {}, .ids = NextIds(), .out = buffer};
  };
  if (in_flight > 1) {
    return RunAsync(duration, in_flight,
                    [&](std::vector<float>& buffer, auto done) {
                      const LookupItem wanted = item(buffer);
                      client_.LookupAsync({&wanted, 1}, {}, std::move(done));
                    });
  }
  std::vector<float> buffer(shape_.floats());
  return RunBlocking(duration, [&] {
    const LookupItem wanted = item(buffer);
    return client_.Lookup({&wanted, 1});
  });
}

double ClientLoad::Pushes(std::chrono::nanoseconds duration, int in_flight) {
  const auto item = [this](const std::vector<float>& buffer) {
    return GradientItem{.table = table_,
                        .uid = {},
                        .ids = NextIds(),
                        .gradient = buffer,
                        .learning_rate = {}};
  };
  if (in_flight > 1) {
    return RunAsync(
        duration, in_flight, [&](std::vector<float>& buffer, auto done) {
          const GradientItem push = item(buffer);
          client_.ApplyGradientAsync(
              {&push, 1}, push_, [done = std::move(done)](const auto& pushed) {
                done(pushed.status());
              });
        });
  }
  const std::vector<float> buffer(shape_.floats(), kGradient);
  return RunBlocking(duration, [&] {
    const GradientItem push = item(buffer);
    return client_.ApplyGradient({&push, 1}, push_).status();
  });
}

std::unique_ptr<Client> Connect(const Process& server) {
  auto client = Client::Connect({.server = server.address()});
  if (!client.ok()) {
    Die(fmt::format("cannot connect to the server: {}",
                    client.status().ToString()));
  }
  return *std::move(client);
}

void MakeTable(Client& client, const std::string& name, int64_t dim,
               const std::string& optimizer, v1::Persistence persistence) {
  v1::CreateTableRequest request;
  v1::TableSpec& spec = *request.mutable_spec();
  spec.set_name(name);
  spec.set_num_embeddings(kRows);
  spec.set_embedding_dim(dim);
  spec.set_persistence(persistence);
  if (optimizer == "rowwise_adagrad") {
    spec.mutable_optimizer()->mutable_rowwise_adagrad();
  } else {
    spec.mutable_optimizer()->mutable_sgd();
  }
  DieUnlessOk(client.CreateTable(request).status());
}

}  // namespace quire::bench
