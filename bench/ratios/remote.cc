#include "bench/ratios/remote.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <filesystem>
#include <tuple>

#include "bench/ratios/raw_calls.h"
#include "bench/ratios/tcp.h"
#include "bench/ratios/workloads.h"
#include "wire/encode.h"

namespace quire::bench {
namespace {

// One core serves, the others ask: with as many polling threads as there are
// cores, the client's threads and the server's take turns on them.
constexpr int kServerThreads = 1;

constexpr char kSgdTable[] = "w1";
constexpr char kAdagradTable[] = "w4";
constexpr char kNarrowTable[] = "w2";

int64_t FaultsHere() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// --- Bytes of the messages, as our codec writes them ---

wire::MessageLayout LookupLayout(const std::vector<int64_t>& ids,
                                 const char* table) {
  const wire::LookupEntry entry = {.table_name = table, .ids = ids};
  return wire::LayOutLookupRequest({&entry, 1}, int64_t{64} << 20);
}

size_t LookupRequestBytes(BatchShape shape, const char* table) {
  return static_cast<size_t>(
      LookupLayout(std::vector<int64_t>(shape.ids), table).size());
}

size_t LookupReplyBytes(BatchShape shape) {
  const wire::RowsEntry entry = {
      .table_uid = {},
      .shape = Shape{static_cast<int64_t>(shape.ids),
                     static_cast<int64_t>(shape.dim)}};
  return static_cast<size_t>(wire::LookupResponseBytes({&entry, 1}, {}));
}

size_t PushRequestBytes(BatchShape shape, const char* table) {
  const std::vector<int64_t> ids(shape.ids);
  const std::vector<float> gradient(shape.floats());
  const wire::GradientEntry entry = {
      .table_name = table,
      .ids = ids,
      .gradient_shape = Shape{static_cast<int64_t>(shape.ids),
                              static_cast<int64_t>(shape.dim)},
      .gradient = gradient};
  return static_cast<size_t>(
      wire::LayOutApplyGradientRequest({&entry, 1}).size());
}

// uid, step, counts.
constexpr size_t kPushReplyBytes = 32;

grpc::ByteBuffer LookupRequest(BatchShape shape, const char* table) {
  Batches batches(shape, 0);
  const std::span<const int64_t> batch = batches.Next();
  const std::vector<int64_t> ids(batch.begin(), batch.end());
  const wire::LookupEntry entry = {.table_name = table, .ids = ids};
  const wire::MessageLayout layout = LookupLayout(ids, table);
  std::vector<std::byte> bytes(static_cast<size_t>(layout.size()));
  wire::Encode(std::span<const wire::LookupEntry>(&entry, 1), layout,
               bytes.data());
  const grpc::Slice slice(bytes.data(), bytes.size());
  return grpc::ByteBuffer(&slice, 1);
}

// The number in flight that suits a loop best.
int BestInFlight(
    const std::function<double(std::chrono::nanoseconds, int)>& loop,
    std::chrono::nanoseconds duration) {
  int best = 1;
  double best_rate = 0;
  for (const int in_flight : {1, 2, 4}) {
    const double rate =
        SpreadOf({loop(duration, in_flight), loop(duration, in_flight),
                  loop(duration, in_flight)})
            .median;
    if (rate > best_rate) {
      best = in_flight;
      best_rate = rate;
    }
  }
  return best;
}

}  // namespace

Remote::Remote(const std::string& self)
    : server_({std::filesystem::path(self).replace_filename("quire-server"),
               "--listen", "127.0.0.1:0", "--port-file", "PORT_FILE",
               "--threads", std::to_string(kServerThreads)}),
      tcp_({self, "--serve", "tcp", "--port-file", "PORT_FILE"}),
      empty_({self, "--serve", "empty", "--port-file", "PORT_FILE", "--threads",
              std::to_string(kServerThreads)}),
      client_(Connect(server_)) {}

void Remote::ShowBytesPerRow() {
  const int64_t before = server_.resident_bytes();
  MakeTable(*client_, "memory", kW1.dim, "sgd");
  const double bytes =
      static_cast<double>(server_.resident_bytes() - before) / kRows;
  fmt::print(
      "figure bytes_per_row {:.1f}\n      {:.3f} of {} floats; at most 1.02 is "
      "asked for\n",
      bytes, bytes / (kW1.dim * 4), kW1.dim);
  client_->DropTable("memory").IgnoreError();
}

std::vector<Measured> Remote::AgainstTcp(const Figure& figure, const Loop& ours,
                                         const Exchange& exchange,
                                         const PairPlan& plan) {
  TcpClient tcp(tcp_.port(), exchange);
  const Loop ceiling = [&](auto duration, int in_flight) {
    return tcp.Run(duration, in_flight);
  };
  const int ours_in_flight = BestInFlight(ours, plan.duration);
  const int tcp_in_flight = BestInFlight(ceiling, plan.duration);
  double calls = 0;
  int64_t server_faults = 0;
  int64_t client_faults = 0;
  const std::vector<Measured> measured = MeasurePairs(
      {figure},
      [&](auto duration) {
        const int64_t server_before = server_.minor_faults();
        const int64_t client_before = FaultsHere();
        const auto start = std::chrono::steady_clock::now();
        const double rate = ours(duration, ours_in_flight);
        calls += rate * std::chrono::duration<double>(
                            std::chrono::steady_clock::now() - start)
                            .count();
        server_faults += server_.minor_faults() - server_before;
        client_faults += FaultsHere() - client_before;
        return Rates{rate};
      },
      [&](auto duration) { return Rates{ceiling(duration, tcp_in_flight)}; },
      plan);
  fmt::print("{}: {} in flight, raw TCP {}\n", figure.name, ours_in_flight,
             tcp_in_flight);
  fmt::print("figure {}_page_faults_server {:.3f}\n", figure.name,
             static_cast<double>(server_faults) / calls);
  fmt::print("figure {}_page_faults_client {:.3f}\n", figure.name,
             static_cast<double>(client_faults) / calls);
  return measured;
}

std::vector<Measured> Remote::LookupsOfTcp(const PairPlan& plan) {
  MakeTable(*client_, kSgdTable, kW1.dim, "sgd");
  ClientLoad load(*client_, kSgdTable, kW1);
  std::vector<Measured> measured;
  for (const auto& [name, gate, work] :
       {std::tuple("lookup_w1_tcp", 0.80, Work::kNone),
        std::tuple("lookup_w1_tcp_gather", 0.0, Work::kGather)}) {
    const auto found = AgainstTcp(
        {.name = name,
         .gate = gate,
         .unit = "Mrows/s",
         .unit_size = 1e6 / static_cast<double>(kW1.ids)},
        [&](auto duration, int in_flight) {
          return load.Lookups(duration, in_flight);
        },
        {.request_bytes = LookupRequestBytes(kW1, kSgdTable),
         .reply_bytes = LookupReplyBytes(kW1),
         .work = work},
        plan);
    measured.insert(measured.end(), found.begin(), found.end());
  }
  return measured;
}

std::vector<Measured> Remote::LookupsOfEmptyMethod(const PairPlan& plan) {
  MakeTable(*client_, kNarrowTable, kW2.dim, "sgd");
  const grpc::Slice nothing;
  RawClient empty(empty_.address(), grpc::ByteBuffer(&nothing, 1));
  RawClient bare(server_.address(), LookupRequest(kW2, kNarrowTable));
  ClientLoad load(*client_, kNarrowTable, kW2);
  std::vector<Measured> measured;
  for (const int in_flight : {1, 64}) {
    const auto show = [&](std::string name, double gate, const Side& ours,
                          const Side& ceiling) {
      const Figure figure = {.name = fmt::format("{}_c{}", name, in_flight),
                             .gate = gate,
                             .unit = "k calls/s",
                             .unit_size = 1e3};
      const auto found = MeasurePairs({figure}, ours, ceiling, plan);
      measured.insert(measured.end(), found.begin(), found.end());
    };
    const Side bare_side = [&](auto duration) {
      return Rates{bare.Run(duration, in_flight)};
    };
    show("lookup_w2", 0.90, bare_side,
         [&](auto duration) { return Rates{empty.Run(duration, in_flight)}; });
    show(
        "client_w2", 0,
        [&](auto duration) { return Rates{load.Lookups(duration, in_flight)}; },
        bare_side);
  }
  return measured;
}

std::vector<Measured> Remote::PushesOfTcp(const PairPlan& plan) {
  MakeTable(*client_, kAdagradTable, kW4.dim, "rowwise_adagrad");
  std::vector<Measured> measured;
  for (const auto& [name, gate, duplicates, work] :
       {std::tuple("push_w4_tcp", 0.85, 0.0, Work::kNone),
        std::tuple("push_w4_dup10_tcp", 0.85, 0.1, Work::kNone),
        std::tuple("push_w4_tcp_apply", 0.0, 0.0, Work::kApply)}) {
    ClientLoad load(*client_, kAdagradTable, kW4, duplicates);
    const auto found = AgainstTcp(
        {.name = name,
         .gate = gate,
         .unit = "Mrows/s",
         .unit_size = 1e6 / static_cast<double>(kW4.ids)},
        [&](auto duration, int in_flight) {
          return load.Pushes(duration, in_flight);
        },
        {.request_bytes = PushRequestBytes(kW4, kAdagradTable),
         .reply_bytes = kPushReplyBytes,
         .work = work},
        plan);
    measured.insert(measured.end(), found.begin(), found.end());
  }
  return measured;
}

}  // namespace quire::bench
