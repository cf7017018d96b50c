// How close does Quire come to what this machine can do?
//
// Each figure is measured in pairs, in turns, against its ceiling in the same
// run (RULINGS 21): in-process loops without locks, raw TCP that carries the
// same bytes, an empty raw unary method of the same gRPC. Server and client
// are processes of their own.
//
//   quire-ratios [--pairs 15] [--seconds 0.5] [--only NAME]
//
// prints, besides what was compared, lines
//   ratio NAME MEDIAN LOW HIGH      quartiles of the pairs
//   figure NAME VALUE               not a ratio: bytes, page faults

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <string>

#include "base/tuning.h"
#include "bench/ratios/durable.h"
#include "bench/ratios/in_process.h"
#include "bench/ratios/optimizers.h"
#include "bench/ratios/pairs.h"
#include "bench/ratios/process.h"
#include "bench/ratios/raw_calls.h"
#include "bench/ratios/remote.h"
#include "bench/ratios/tcp.h"

namespace {

struct Flags {
  int pair_count = 15;
  double pair_seconds = 0.5;
  std::string only;
  std::string disk = "/var/tmp";
  // This program as the other end of a ceiling.
  std::string serve;
  std::string port_file;
  int thread_count = 2;
};

void AddFlags(Flags& flags, CLI::App& app) {
  app.add_option("--pairs", flags.pair_count, "pairs of each ratio")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seconds", flags.pair_seconds, "of each side of a pair")
      ->check(CLI::Range(0.01, 60.0))
      ->capture_default_str();
  app.add_option("--only", flags.only,
                 "measure what begins so: gather, optimizers, lookup_w1, "
                 "lookup_w2, push, memory, durable, recovery");
  app.add_option("--disk", flags.disk,
                 "where the log and snapshots of measured servers are")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  app.add_option("--serve", flags.serve)->group("");
  app.add_option("--port-file", flags.port_file)->group("");
  app.add_option("--threads", flags.thread_count)->group("");
}

class Report {
 public:
  explicit Report(std::string only) : only_(std::move(only)) {}

  bool Wants(std::string_view name) const {
    return name.starts_with(only_) || only_.starts_with(name);
  }

  bool WantsAnyOf(std::initializer_list<std::string_view> names) const {
    return std::ranges::any_of(names,
                               [this](auto name) { return Wants(name); });
  }

  void Show(const std::vector<quire::bench::Measured>& results) const {
    for (const quire::bench::Measured& result : results) {
      fmt::print("{}\n{}\n", RatioLine(result), DetailLine(result));
    }
    std::fflush(stdout);
  }

 private:
  const std::string only_;
};

void MeasureRemote(const quire::bench::PairPlan& plan, const Report& report,
                   const std::string& self) {
  quire::bench::Remote remote(self);
  if (report.Wants("memory")) {
    remote.ShowBytesPerRow();
  }
  if (report.Wants("lookup_w1")) {
    report.Show(remote.LookupsOfTcp(plan));
  }
  if (report.Wants("lookup_w2")) {
    report.Show(remote.LookupsOfEmptyMethod(plan));
  }
  if (report.Wants("push")) {
    report.Show(remote.PushesOfTcp(plan));
  }
}

void Measure(const Flags& flags, const std::string& self) {
  const quire::bench::PairPlan plan = {
      .pair_count = flags.pair_count,
      .duration = std::chrono::nanoseconds(
          static_cast<int64_t>(flags.pair_seconds * 1e9))};
  const Report report(flags.only);
  fmt::print("congestion control: {}\n", quire::bench::CongestionControl());
  if (report.Wants("gather")) {
    report.Show(MeasureGather(plan));
    report.Show(MeasureGatherWithApply(plan));
  }
  if (report.Wants("optimizer")) {
    for (const auto& optimizer : quire::bench::MeasuredOptimizers()) {
      report.Show(MeasureOptimizer(optimizer, plan));
    }
  }
  if (report.WantsAnyOf({"memory", "lookup_w1", "lookup_w2", "push"})) {
    MeasureRemote(plan, report, self);
  }
  if (report.Wants("durable")) {
    quire::bench::Durable durable(self, flags.disk);
    if (report.Wants("durable_written")) {
      report.Show(durable.WrittenPushes(plan));
    }
    if (report.Wants("durable_synced")) {
      report.Show(durable.SyncedPushes(plan));
    }
    if (report.Wants("durable_beside")) {
      report.Show(durable.WrittenBesideSynced(plan));
    }
    if (report.Wants("durable_snapshots")) {
      report.Show(durable.LatencyDuringSnapshots(plan));
    }
  }
  if (report.Wants("recovery")) {
    quire::bench::ShowRecovery(flags.disk);
  }
}

}  // namespace

int main(int argc, char** argv) {
  quire::TuneProcess();
  Flags flags;
  CLI::App app("Quire beside what this machine can do.", "quire-ratios");
  AddFlags(flags, app);
  CLI11_PARSE(app, argc, argv);
  if (flags.serve == "tcp") {
    quire::bench::ServeTcp(flags.port_file);
  }
  if (flags.serve == "empty") {
    quire::bench::ServeEmptyMethod(flags.port_file, flags.thread_count);
  }
  Measure(flags, std::filesystem::canonical("/proc/self/exe").string());
  return 0;
}
