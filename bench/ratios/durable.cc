#include "bench/ratios/durable.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <utility>

#include "client/cli/bench_target.h"
#include "client/load/loop.h"
#include "engine/records.h"

namespace quire::bench {
namespace {

constexpr char kLoggedTable[] = "logged";
constexpr char kMemoryTable[] = "memory";
constexpr char kOtherTable[] = "other";
constexpr char kOtherNarrowTable[] = "other_w2";

// Pairs of which the slower side writes for 20 s and more, of 15.
constexpr std::chrono::milliseconds kSustained{1500};

constexpr int kSyncedClients = 4;
// Of an open loop: what is late waits its turn, and is counted as late.
constexpr int kOpenLoopSlots = 64;
constexpr double kOpenLoopLoad = 0.30;

// What one push takes in the log: nearly all of it ids and gradient.
size_t LoggedBytes(BatchShape shape) {
  return shape.ids * sizeof(int64_t) + shape.floats() * sizeof(float) + 256;
}

PairPlan Sustained(PairPlan plan) {
  plan.duration = std::max<std::chrono::nanoseconds>(plan.duration, kSustained);
  return plan;
}

Figure PushFigure(std::string name, double gate, BatchShape shape) {
  return {.name = std::move(name),
          .gate = gate,
          .unit = "Mrows/s",
          .unit_size = 1e6 / static_cast<double>(shape.ids)};
}

using Loop = std::function<double(std::chrono::nanoseconds, int in_flight)>;

// A side with the number in flight that suits it best.
Side AtItsBest(const Loop& loop, std::chrono::nanoseconds duration,
               const std::string& name) {
  int best = 1;
  double best_rate = 0;
  for (const int in_flight : {1, 2, 4}) {
    const double rate = loop(duration, in_flight);
    if (rate > best_rate) {
      best = in_flight;
      best_rate = rate;
    }
  }
  fmt::print("{}: {} in flight\n", name, best);
  return [loop, best](auto time) { return Rates{loop(time, best)}; };
}

// Snapshots one after the other, each after a change, while this exists; and
// the most memory that the server took meanwhile.
class ConstantSnapshots {
 public:
  // `client` and `server` outlive this.
  ConstantSnapshots(Client& client, const Process& server)
      : before_(server.resident_bytes()),
        maker_([this, &client] { Make(client); }),
        watcher_([this, &server] { Watch(server); }) {}
  ~ConstantSnapshots() { Stop(); }
  ConstantSnapshots(const ConstantSnapshots&) = delete;
  ConstantSnapshots& operator=(const ConstantSnapshots&) = delete;

  // Waits for the one that is being made.
  void Stop() {
    stopping_ = true;
    for (std::thread* thread : {&maker_, &watcher_}) {
      if (thread->joinable()) {
        thread->join();
      }
    }
  }

  int64_t count() const { return count_; }
  int64_t extra_bytes() const { return most_ - before_; }

 private:
  void Make(Client& client) {
    const std::vector<int64_t> ids = {0};
    const std::vector<float> gradient(kW4.dim, 1e-3f);
    const GradientItem change = {.table = kLoggedTable,
                                 .uid = {},
                                 .ids = ids,
                                 .gradient = gradient,
                                 .learning_rate = {}};
    while (!stopping_) {
      const auto pushed = client.ApplyGradient({&change, 1});
      const auto made = client.CreateSnapshot();
      if (!pushed.ok() || !made.ok()) {
        Die(fmt::format("no snapshot: {}", made.status().ToString()));
      }
      ++count_;
    }
  }
  void Watch(const Process& server) {
    while (!stopping_) {
      most_ = std::max<int64_t>(most_, server.resident_bytes());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  const int64_t before_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int64_t> count_ = 0;
  std::atomic<int64_t> most_ = 0;
  std::thread maker_;
  std::thread watcher_;
};

// So that a snapshot has every row: those never changed are left out.
void PushEveryRow(Client& client) {
  const std::vector<float> gradient(kW4.floats(), 1e-3f);
  std::vector<int64_t> ids(kW4.ids);
  for (int64_t first = 0; first < kRows; first += std::ssize(ids)) {
    ids.resize(std::min(ids.size(), static_cast<size_t>(kRows - first)));
    std::iota(ids.begin(), ids.end(), first);
    const GradientItem push = {
        .table = kLoggedTable,
        .uid = {},
        .ids = ids,
        .gradient = std::span(gradient).first(ids.size() * kW4.dim),
        .learning_rate = {}};
    if (const auto pushed = client.ApplyGradient({&push, 1}); !pushed.ok()) {
      Die(fmt::format("a push failed: {}", pushed.status().ToString()));
    }
  }
}

// The 99th percentile of one kind of request, in seconds.
double P99(Client& client, const load::Workload& workload, double rate,
           std::chrono::nanoseconds duration) {
  cli::ClientTarget target(client, {kLoggedTable}, kW1.dim,
                           static_cast<int64_t>(kW1.ids), kOpenLoopSlots);
  const std::atomic<bool> stop = false;
  load::LoopResult result = load::RunOpenLoop(
      target, workload, rate,
      {.warmup = std::chrono::milliseconds(200), .duration = duration}, stop,
      load::RealClock());
  if (result.error_count > 0) {
    Die(fmt::format("a call failed: {}", result.first_error.ToString()));
  }
  result.lookups.Merge(result.pushes);
  return std::chrono::duration<double>(result.lookups.Quantile(0.99)).count();
}

}  // namespace

Durable::Durable(const std::string& self, const std::filesystem::path& disk)
    : scratch_(disk),
      server_({std::filesystem::path(self).replace_filename("quire-server"),
               "--listen", "127.0.0.1:0", "--port-file", "PORT_FILE",
               "--threads", "1", "--data-dir", scratch_.path() / "data"}),
      client_(Connect(server_)),
      logged_(*client_, kLoggedTable, kW4) {
  fmt::print("disk: {}, {}\n", disk.string(), FileSystemOf(disk));
  for (const auto& [name, shape, persistence] :
       {std::tuple(kLoggedTable, kW4, v1::PERSISTENCE_LOGGED),
        std::tuple(kMemoryTable, kW4, v1::PERSISTENCE_MEMORY),
        std::tuple(kOtherTable, kW4, v1::PERSISTENCE_LOGGED),
        std::tuple(kOtherNarrowTable, kW2, v1::PERSISTENCE_LOGGED)}) {
    MakeTable(*client_, name, static_cast<int64_t>(shape.dim),
              "rowwise_adagrad", persistence);
  }
}

std::vector<Measured> Durable::WrittenPushes(const PairPlan& plan) {
  const PairPlan sustained = Sustained(plan);
  ClientLoad in_memory(*client_, kMemoryTable, kW4);
  const Side written =
      AtItsBest([&](auto time, int n) { return logged_.Pushes(time, n); },
                plan.duration, "push_w4_written");
  const Side memory =
      AtItsBest([&](auto time, int n) { return in_memory.Pushes(time, n); },
                plan.duration, "the same of a MEMORY table");
  std::vector<Measured> measured;
  for (const auto& [name, gate, files] :
       {std::tuple("push_w4_written", 0.60, PlainLog::Files::kFresh),
        std::tuple("push_w4_written_of_overwriting", 0.0,
                   PlainLog::Files::kOverwritten)}) {
    const ScratchDirectory scratch(scratch_.path());
    PlainLog disk(scratch.path(), LoggedBytes(kW4), files);
    std::vector<double> of_memory;
    std::vector<double> of_disk;
    const auto found = MeasurePairs(
        {PushFigure(name, gate, kW4)}, written,
        [&](auto time) {
          of_memory.push_back(memory(time)[0]);
          of_disk.push_back(disk.Written(time));
          return Rates{std::min(of_memory.back(), of_disk.back())};
        },
        sustained);
    const double unit = 1e6 / static_cast<double>(kW4.ids);
    fmt::print(
        "{}: of the lesser of MEMORY, {:.4g}, and the disk, {:.4g} "
        "Mrows/s\n",
        name, SpreadOf(of_memory).median / unit,
        SpreadOf(of_disk).median / unit);
    measured.insert(measured.end(), found.begin(), found.end());
  }
  return measured;
}

std::vector<Measured> Durable::SyncedPushes(const PairPlan& plan) {
  struct One {
    std::unique_ptr<Client> client;
    std::unique_ptr<ClientLoad> load;
  };
  std::vector<One> all;
  for (int i = 0; i < kSyncedClients; ++i) {
    One one = {.client = Connect(server_), .load = nullptr};
    one.load = std::make_unique<ClientLoad>(*one.client, kLoggedTable, kW4);
    one.load->set_min_durability(v1::DURABILITY_SYNCED);
    all.push_back(std::move(one));
  }
  const auto at_once = [&](std::chrono::nanoseconds time, int in_flight) {
    std::atomic<double> rate = 0;
    std::vector<std::thread> threads;
    for (One& one : all) {
      threads.emplace_back([&rate, &one, time, in_flight] {
        rate += one.load->Pushes(time, in_flight);
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    return rate.load();
  };
  const Side ours = AtItsBest(at_once, plan.duration, "push_w4_synced");
  std::vector<Measured> measured;
  for (const auto& [name, gate, files] :
       {std::tuple("push_w4_synced", 0.80, PlainLog::Files::kFresh),
        std::tuple("push_w4_synced_of_overwriting", 0.0,
                   PlainLog::Files::kOverwritten)}) {
    const ScratchDirectory scratch(scratch_.path());
    PlainLog disk(scratch.path(), LoggedBytes(kW4), files);
    const Side ceiling = AtItsBest(
        [&](auto time, int in_flight) {
          return disk.Synced(time, kSyncedClients * in_flight);
        },
        plan.duration, fmt::format("{}: group commits of the disk", name));
    const auto found = MeasurePairs({PushFigure(name, gate, kW4)}, ours,
                                    ceiling, Sustained(plan));
    measured.insert(measured.end(), found.begin(), found.end());
  }
  return measured;
}

std::vector<Measured> Durable::Beside(const std::string& name, double gate,
                                      BatchShape shape,
                                      v1::Durability durability,
                                      const PairPlan& plan) {
  const std::unique_ptr<Client> client = Connect(server_);
  ClientLoad other(
      *client, shape.dim == kW4.dim ? kOtherTable : kOtherNarrowTable, shape);
  other.set_min_durability(durability);
  double other_rate = 0;
  const Side alone = [&](auto time) { return Rates{logged_.Pushes(time, 2)}; };
  const Side beside = [&](auto time) {
    std::thread thread([&] { other_rate = other.Pushes(time, 1); });
    const Rates rates = alone(time);
    thread.join();
    return rates;
  };
  auto measured =
      MeasurePairs({PushFigure(name, gate, kW4)}, beside, alone, plan);
  fmt::print("{}: the other pushes {:.0f} times a second\n", name, other_rate);
  return measured;
}

std::vector<Measured> Durable::WrittenBesideSynced(const PairPlan& plan) {
  std::vector<Measured> measured;
  for (const auto& [name, gate, shape, durability] :
       {std::tuple("written_beside_synced_w2", 0.8, kW2, v1::DURABILITY_SYNCED),
        std::tuple("written_beside_synced_w4", 0.0, kW4, v1::DURABILITY_SYNCED),
        std::tuple("written_beside_written_w4", 0.0, kW4,
                   v1::DURABILITY_WRITTEN)}) {
    const auto found = Beside(name, gate, shape, durability, plan);
    measured.insert(measured.end(), found.begin(), found.end());
  }
  return measured;
}

std::vector<Measured> Durable::LatencyDuringSnapshots(const PairPlan& plan) {
  // Two tables' rows more would only make snapshots longer.
  client_->DropTable(kOtherTable).IgnoreError();
  client_->DropTable(kOtherNarrowTable).IgnoreError();
  PushEveryRow(*client_);
  std::vector<Measured> measured;
  int64_t extra_bytes = 0;
  int64_t snapshots = 0;
  for (const auto& [name, limit, is_push] :
       {std::tuple("lookup_p99_during_snapshot", 1.2, false),
        std::tuple("push_p99_during_snapshot", 1.5, true)}) {
    const load::Workload workload({.row_count = kRows,
                                   .batch = static_cast<int64_t>(kW1.ids),
                                   .push_share = is_push ? 1.0 : 0.0});
    const double peak = is_push ? logged_.Pushes(plan.duration, 2)
                                : logged_.Lookups(plan.duration, 2);
    const double rate = kOpenLoopLoad * peak;
    const Side quiet = [&](auto time) {
      return Rates{P99(*client_, workload, rate, time)};
    };
    const Side busy = [&](auto time) {
      ConstantSnapshots made(*client_, server_);
      const Rates rates = quiet(time);
      made.Stop();
      snapshots += made.count();
      extra_bytes = std::max(extra_bytes, made.extra_bytes());
      return rates;
    };
    quiet(plan.duration);
    const auto found = MeasurePairs(
        {{.name = name, .limit = limit, .unit = "us", .unit_size = 1e-6}}, busy,
        quiet, Sustained(plan));
    fmt::print("{}: open loop, {:.0f} requests a second\n", name, rate);
    measured.insert(measured.end(), found.begin(), found.end());
  }
  fmt::print(
      "figure snapshot_extra_memory_mib {:.1f}\n      the most of {} "
      "snapshots; "
      "at most 64 is asked for\n",
      static_cast<double>(extra_bytes) / (1 << 20), snapshots);
  return measured;
}

}  // namespace quire::bench
