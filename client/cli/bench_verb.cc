#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <random>

#include "base/limits.h"
#include "base/status.h"
#include "client/cli/bench_report.h"
#include "client/cli/bench_target.h"
#include "client/cli/failure.h"
#include "client/cli/help.h"
#include "client/cli/interrupt.h"
#include "client/cli/optimizer_options.h"
#include "client/cli/sweep.h"
#include "client/cli/verbs.h"
#include "client/formats/input_error.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using formats::InputError;
using enum OutputFormat;

constexpr int kConcurrencyMax = 1024;

// Memory for the replies that an open loop waits for.
constexpr int64_t kSlotBytesMax = int64_t{512} << 20;
constexpr int64_t kSlotsMax = 4096;

// Of an open loop: a request in 17 minutes; one a nanosecond.
constexpr double kRateMin = 0.001;
constexpr double kRateMax = 1e9;

constexpr int kHistogramRows = 12;

struct BenchOptions {
  std::optional<std::string> table;
  std::string concurrency = "1";
  std::optional<double> rate;
  int64_t table_count = 1;
  int64_t row_count = 1'000'000;
  int64_t dim = 64;
  int64_t batch = 4096;
  std::optional<double> zipf;
  double push_share = 0;
  std::string optimizer = "rowwise_adagrad";
  bool is_logged = false;
  Travel travel;
  double warmup_seconds = 1;
  double duration_seconds = 5;
  std::optional<uint64_t> seed;
  OutputFormat output = kTable;
};

std::chrono::nanoseconds Seconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

BenchPlan PlanOf(const BenchOptions& options) {
  return {.workload = {.row_count = options.row_count,
                       .table_count = options.table_count,
                       .batch = options.batch,
                       .zipf = options.zipf,
                       .push_share = options.push_share,
                       .seed = options.seed.value_or(std::random_device()())},
          .dim = options.dim,
          .times = {.warmup = Seconds(options.warmup_seconds),
                    .duration = Seconds(options.duration_seconds)},
          .travel = options.travel};
}

absl::StatusOr<v1::TableSpec> SpecOf(const BenchOptions& options) {
  v1::TableSpec spec;
  spec.set_num_embeddings(options.row_count);
  spec.set_embedding_dim(options.dim);
  spec.set_persistence(options.is_logged ? v1::PERSISTENCE_LOGGED
                                         : v1::PERSISTENCE_MEMORY);
  QUIRE_ASSIGN_OR_RETURN(*spec.mutable_optimizer(),
                         ParseOptimizer(options.optimizer, {}));
  return spec;
}

// Runs one step after the other.
class Bench {
 public:
  Bench(Client& client, const BenchPlan& plan, std::vector<std::string> tables)
      : client_(client),
        plan_(plan),
        tables_(std::move(tables)),
        workload_(plan.workload) {}

  BenchStep RunClosed(int concurrency) const {
    ClientTarget target = MakeTarget(concurrency);
    return {.concurrency = concurrency,
            .rate = std::nullopt,
            .result = load::RunClosedLoop(target, workload_, concurrency,
                                          plan_.times, interrupted())};
  }

  BenchStep RunOpen(double rate) const {
    const int64_t bytes = plan_.workload.table_count * plan_.workload.batch *
                          plan_.dim * static_cast<int64_t>(sizeof(float));
    ClientTarget target = MakeTarget(static_cast<int>(
        std::clamp<int64_t>(kSlotBytesMax / bytes, 1, kSlotsMax)));
    return {.concurrency = 0,
            .rate = rate,
            .result = load::RunOpenLoop(target, workload_, rate, plan_.times,
                                        interrupted(), load::RealClock())};
  }

 private:
  ClientTarget MakeTarget(int slots) const {
    return {client_, tables_,     plan_.dim, plan_.workload.batch,
            slots,   plan_.travel};
  }

  Client& client_;
  const BenchPlan& plan_;
  const std::vector<std::string> tables_;
  const load::Workload workload_;
};

void Report(const BenchOptions& options, const BenchPlan& plan,
            const std::vector<BenchStep>& steps) {
  if (options.output == kJson) {
    Print(ToLine(ReportJson(plan, steps)));
    return;
  }
  Print(StepsText(plan, steps));
  const load::LoopResult& last = steps.back().result;
  if (last.lookups.count() > 0) {
    Print("\nlookups of the last step\n" +
          HistogramText(last.lookups, kHistogramRows));
  }
  if (last.pushes.count() > 0) {
    Print("\npushes of the last step\n" +
          HistogramText(last.pushes, kHistogramRows));
  }
}

// Where every request failed, its error is the bench's.
absl::Status OutcomeOf(const std::vector<BenchStep>& steps) {
  const load::LoopResult& last = steps.back().result;
  const bool all_failed =
      last.lookups.count() + last.pushes.count() == 0 && last.error_count > 0;
  return all_failed ? last.first_error : absl::OkStatus();
}

// On a terminal: which step of how many is measured, as long as it lives.
class StepLine {
 public:
  StepLine(const BenchPlan& plan, size_t count, bool is_terminal)
      : plan_(plan), count_(count), is_terminal_(is_terminal) {}

  ~StepLine() {
    if (is_terminal_) {
      fmt::print(stderr, "\r\x1b[K");
    }
  }

  void Show(size_t index) const {
    const auto left = (plan_.times.warmup + plan_.times.duration) *
                      static_cast<int64_t>(count_ - index);
    if (is_terminal_) {
      fmt::print(
          stderr, "\rmeasuring: step {} of {}, {} left\x1b[K", index + 1,
          count_,
          terminal::FormatClock(std::chrono::ceil<std::chrono::seconds>(left)));
    }
  }

 private:
  const BenchPlan& plan_;
  const size_t count_;
  const bool is_terminal_;
};

absl::StatusOr<std::vector<BenchStep>> RunSteps(const BenchOptions& options,
                                                const BenchPlan& plan,
                                                const std::vector<int>& sweep,
                                                const Bench& bench,
                                                bool is_terminal) {
  const StepLine line(plan, sweep.size(), is_terminal);
  std::vector<BenchStep> steps;
  for (const int concurrency : sweep) {
    line.Show(steps.size());
    steps.push_back(options.rate ? bench.RunOpen(*options.rate)
                                 : bench.RunClosed(concurrency));
    if (interrupted()) {
      return InterruptedError();
    }
    QUIRE_RETURN_IF_ERROR(OutcomeOf(steps));
  }
  return steps;
}

absl::Status Measure(const BenchOptions& options, const BenchPlan& plan,
                     const std::vector<int>& sweep, const Bench& bench,
                     const Session& session) {
  fmt::print(stderr, "{}", PlanText(plan));
  QUIRE_ASSIGN_OR_RETURN(const std::vector<BenchStep> steps,
                         RunSteps(options, plan, sweep, bench,
                                  session.screen().error.is_terminal));
  Report(options, plan, steps);
  return absl::OkStatus();
}

// With --table: the plan follows the table.
absl::Status UseTable(const BenchOptions& options, Client& client,
                      BenchPlan& plan) {
  if (options.push_share > 0 || options.table_count != 1) {
    return InputError(
        "--table is only looked up: without --push-share and --tables");
  }
  QUIRE_ASSIGN_OR_RETURN(const v1::Table table,
                         client.GetTable(*options.table));
  plan.workload.row_count = table.spec().num_embeddings();
  plan.dim = table.spec().embedding_dim();
  if (plan.workload.row_count == 0) {
    return InputError(fmt::format("table '{}' has no rows", *options.table));
  }
  return absl::OkStatus();
}

absl::Status RunBench(const BenchOptions& options, Session& session) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int> sweep,
                         ParseSweep(options.concurrency, kConcurrencyMax));
  QUIRE_ASSIGN_OR_RETURN(const v1::TableSpec spec, SpecOf(options));
  BenchPlan plan = PlanOf(options);
  QUIRE_ASSIGN_OR_RETURN(Client * client, session.client());
  if (options.table) {
    QUIRE_RETURN_IF_ERROR(UseTable(options, *client, plan));
    return Measure(options, plan, sweep, Bench(*client, plan, {*options.table}),
                   session);
  }
  const OrderlyEnd orderly_end;
  QUIRE_ASSIGN_OR_RETURN(
      const TemporaryTables tables,
      TemporaryTables::Create(*client, spec, options.table_count));
  return Measure(options, plan, sweep, Bench(*client, plan, tables.names()),
                 session);
}

void AddLoadOptions(CLI::App& verb, BenchOptions& options) {
  CLI::Option* concurrency =
      verb.add_option("-c,--concurrency", options.concurrency,
                      "closed loop: callers, each with one request in flight; "
                      "4, or a sweep 1:16:1 (start:end:step)");
  concurrency->type_name("N")->capture_default_str();
  verb.add_option("--rate", options.rate,
                  "open loop: requests a second, kept up whatever happens; "
                  "latency counts from when a request was due")
      ->type_name("X")
      ->check(Between(kRateMin, kRateMax))
      ->excludes(concurrency);
  verb.add_option("--warmup", options.warmup_seconds, "first, not counted")
      ->type_name("SECONDS")
      ->check(Between(0, 3600))
      ->capture_default_str();
  verb.add_option("--duration", options.duration_seconds, "of each step")
      ->type_name("SECONDS")
      ->check(Between(0.01, 3600))
      ->capture_default_str();
}

void AddWorkloadOptions(CLI::App& verb, BenchOptions& options) {
  const auto count = [&verb](const char* name, int64_t& value, int64_t max,
                             const char* description) {
    verb.add_option(name, value, description)
        ->type_name("N")
        ->check(Between(1, static_cast<double>(max)))
        ->capture_default_str();
  };
  verb.add_option("--table", options.table,
                  "look up this one, in place of tables made for the bench")
      ->type_name("NAME");
  count("--tables", options.table_count, kTablesPerRequestMax,
        "made, all asked for in each request");
  count("--rows", options.row_count, kNumEmbeddingsMax, "of each table");
  count("--dim", options.dim, kDimMax, "floats in a row");
  count("--batch", options.batch, kIdsPerRequestMax,
        "ids for each table in a request");
  verb.add_option("--zipf", options.zipf,
                  "skewed ids, with this exponent; default: uniform")
      ->type_name("X")
      ->check(Between(0.01, 10));
  verb.add_option("--push-share", options.push_share,
                  "share of requests that are pushes")
      ->type_name("X")
      ->check(Between(0, 1))
      ->capture_default_str();
  verb.add_flag("--logged", options.is_logged,
                "the tables made are LOGGED; default: MEMORY");
  AddChoice<ElementType>(verb, "--wire", options.travel.wire_dtype,
                         {{"float32", ElementType::kFloat32},
                          {"float16", ElementType::kFloat16},
                          {"bfloat16", ElementType::kBfloat16}},
                         "in which rows and gradients travel; default: "
                         "float32");
  verb.add_flag("--unique", options.travel.unique_ids,
                "equal ids of a request travel once, their gradients summed");
  verb.add_option("--optimizer", options.optimizer, "of the tables made")
      ->type_name("NAME")
      ->capture_default_str();
  verb.add_option("--seed", options.seed,
                  "of the ids; default: another each time")
      ->type_name("N");
}

}  // namespace

void AddBench(Program& program) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App& verb = program.AddVerb(
      program.app(),
      {.name = "bench",
       .description = "Measure a server: throughput and latency under load",
       .examples = {"quire bench",
                    "quire bench --concurrency 1:16:5 --push-share 0.3 "
                    "--zipf 1.05",
                    "quire bench --rate 2000 --batch 26 --dim 16 -o json",
                    "quire bench --table glove --batch 128"}},
      [options](Session& session) { return RunBench(*options, session); });
  AddLoadOptions(verb, *options);
  AddWorkloadOptions(verb, *options);
  AddOutput(verb, options->output, {kTable, kJson});
}

}  // namespace quire::cli
