#include "client/cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "client/formats/input_error.h"
#include "client/terminal/text_table.h"
#include "client/terminal/units.h"

namespace quire::cli {
namespace {

using load::LatencyHistogram;
using std::chrono::nanoseconds;
using terminal::Align;
using terminal::FormatCount;
using terminal::FormatLatency;
using terminal::FormatRate;
using terminal::TextTable;

constexpr size_t kBarColumns = 40;

struct Percentile {
  const char* title;
  double share;
};

constexpr auto kPercentiles = std::to_array<Percentile>(
    {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}});

double PerSecond(const BenchStep& step, const LatencyHistogram& latencies) {
  const std::chrono::duration<double> elapsed = step.result.elapsed;
  const int64_t answered =
      latencies.count() -
      (&latencies == &step.result.lookups ? step.result.unsent_count : 0);
  return elapsed.count() > 0 ? static_cast<double>(answered) / elapsed.count()
                             : 0;
}

double RowsPerRequest(const BenchPlan& plan) {
  return static_cast<double>(plan.workload.table_count * plan.workload.batch);
}

std::string StepName(const BenchStep& step) {
  return step.rate ? fmt::format("{}/s", FormatRate(*step.rate))
                   : fmt::format("{}", step.concurrency);
}

void AddStep(const BenchPlan& plan, const BenchStep& step, const char* kind,
             const LatencyHistogram& latencies, TextTable& table) {
  if (latencies.count() == 0) {
    return;
  }
  const double requests = PerSecond(step, latencies);
  const double rows = requests * RowsPerRequest(plan);
  std::vector<std::string> cells = {
      StepName(step), kind, FormatRate(requests), FormatRate(rows),
      FormatRate(rows * static_cast<double>(plan.dim) * sizeof(float)) + "B"};
  for (const Percentile& percentile : kPercentiles) {
    cells.push_back(FormatLatency(latencies.Quantile(percentile.share)));
  }
  cells.push_back(FormatLatency(latencies.max()));
  table.AddRow(std::move(cells));
}

// What a reader must know about a step besides its numbers.
std::string RemarksOf(const BenchStep& step) {
  std::string text;
  const load::LoopResult& result = step.result;
  if (result.unsent_count > 0) {
    text += fmt::format(
        "{}: {} due and never sent, as the server did not keep "
        "up; their latency is counted until the end\n",
        StepName(step), FormatCount(result.unsent_count, "request"));
  }
  if (result.error_count > 0) {
    text += fmt::format("{}: {} failed; the first: {}\n", StepName(step),
                        FormatCount(result.error_count, "request"),
                        formats::SentenceOf(result.first_error));
  }
  return text;
}

std::string Bar(double share) {
  constexpr auto kEighths =
      std::to_array<std::string_view>({"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"});
  const auto eighths =
      static_cast<size_t>(std::ceil(share * 8 * double{kBarColumns}));
  std::string bar;
  for (size_t i = 0; i < eighths / 8; ++i) {
    bar += "█";
  }
  return bar + std::string(kEighths[eighths % 8]);
}

Json LatencyJson(const BenchPlan& plan, const BenchStep& step,
                 const LatencyHistogram& latencies) {
  const double requests = PerSecond(step, latencies);
  Json json = {{"count", latencies.count()},
               {"requests_per_second", requests},
               {"rows_per_second", requests * RowsPerRequest(plan)},
               {"mean_ns", latencies.mean().count()}};
  for (const Percentile& percentile : kPercentiles) {
    json[std::string(percentile.title) + "_ns"] =
        latencies.Quantile(percentile.share).count();
  }
  json["max_ns"] = latencies.max().count();
  return json;
}

Json StepJson(const BenchPlan& plan, const BenchStep& step) {
  Json json = Json::object();
  if (step.rate) {
    json["rate"] = *step.rate;
  } else {
    json["concurrency"] = step.concurrency;
  }
  json["elapsed_ns"] = step.result.elapsed.count();
  if (step.result.lookups.count() > 0) {
    json["lookups"] = LatencyJson(plan, step, step.result.lookups);
  }
  if (step.result.pushes.count() > 0) {
    json["pushes"] = LatencyJson(plan, step, step.result.pushes);
  }
  json["unsent"] = step.result.unsent_count;
  json["errors"] = step.result.error_count;
  if (step.result.error_count > 0) {
    json["first_error"] = formats::SentenceOf(step.result.first_error);
  }
  return json;
}

}  // namespace

std::string PlanText(const BenchPlan& plan) {
  const load::WorkloadSpec& workload = plan.workload;
  const auto seconds = [](nanoseconds duration) {
    return std::chrono::duration<double>(duration).count();
  };
  return fmt::format(
      "{} of {} × {}; {}, {}, for each in a request, {:.0f}% pushes{}{}; {} s "
      "after {} s of warm-up\n",
      FormatCount(workload.table_count, "table"),
      FormatCount(workload.row_count, "row"), FormatCount(plan.dim, "float"),
      FormatCount(workload.batch, "id"),
      workload.zipf ? fmt::format("Zipf {}", *workload.zipf) : "uniform",
      100 * workload.push_share,
      IsHalf(plan.travel.wire_dtype)
          ? fmt::format("; as {}", ElementTypeName(plan.travel.wire_dtype))
          : "",
      plan.travel.unique_ids ? "; each id once" : "",
      seconds(plan.times.duration), seconds(plan.times.warmup));
}

std::string StepsText(const BenchPlan& plan, std::span<const BenchStep> steps) {
  const bool is_open = !steps.empty() && steps[0].rate;
  std::vector<TextTable::Column> columns = {
      {is_open ? "rate" : "callers", Align::kRight},
      {"request", Align::kLeft},
      {"requests/s", Align::kRight},
      {"rows/s", Align::kRight},
      {"bytes/s", Align::kRight}};
  for (const Percentile& percentile : kPercentiles) {
    columns.push_back({percentile.title, Align::kRight});
  }
  columns.push_back({"max", Align::kRight});
  TextTable table(std::move(columns));
  std::string remarks;
  for (const BenchStep& step : steps) {
    AddStep(plan, step, "lookup", step.result.lookups, table);
    AddStep(plan, step, "push", step.result.pushes, table);
    remarks += RemarksOf(step);
  }
  return table.Text() + remarks;
}

std::string HistogramText(const LatencyHistogram& latencies, int rows) {
  if (latencies.count() == 0) {
    return "";
  }
  const double low = std::max<double>(1, double(latencies.min().count()));
  const double high =
      std::max<double>(low + 1, double(latencies.Quantile(0.999).count() + 1));
  std::vector<nanoseconds> edges;
  for (int i = 0; i <= rows; ++i) {
    edges.emplace_back(
        std::llround(low * std::pow(high / low, double(i) / rows)));
  }
  edges.front() = nanoseconds(0);
  std::vector<int64_t> counts;
  for (size_t i = 0; i + 1 < edges.size(); ++i) {
    counts.push_back(latencies.CountBetween(edges[i], edges[i + 1]));
  }
  const auto most = static_cast<double>(std::ranges::max(counts));
  TextTable table({{"", Align::kRight}, {"", Align::kRight}, {""}});
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto count = static_cast<double>(counts[i]);
    table.AddRow(
        {fmt::format("up to {}", FormatLatency(edges[i + 1])),
         fmt::format("{:.1f}%", 100 * count / double(latencies.count())),
         Bar(most > 0 ? count / most : 0)});
  }
  return table.Text();
}

Json ReportJson(const BenchPlan& plan, std::span<const BenchStep> steps) {
  const load::WorkloadSpec& workload = plan.workload;
  Json json = {{"tables", workload.table_count},
               {"rows", workload.row_count},
               {"dim", plan.dim},
               {"batch", workload.batch}};
  json["zipf"] = workload.zipf ? Json(*workload.zipf) : Json();
  json["push_share"] = workload.push_share;
  json["wire"] = std::string(ElementTypeName(plan.travel.wire_dtype));
  json["unique"] = plan.travel.unique_ids;
  json["seed"] = workload.seed;
  json["steps"] = Json::array();
  for (const BenchStep& step : steps) {
    json["steps"].push_back(StepJson(plan, step));
  }
  return json;
}

}  // namespace quire::cli
