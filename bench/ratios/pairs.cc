#include "bench/ratios/pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quire::bench {
namespace {

// The value below which `share` of the sorted values lie, between neighbours.
double Quantile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above],
                   position - static_cast<double>(below));
}

std::string SpreadText(const Spread& spread, double unit_size) {
  return fmt::format("{:.4g} ({:.4g} .. {:.4g})", spread.median / unit_size,
                     spread.low / unit_size, spread.high / unit_size);
}

}  // namespace

Spread SpreadOf(std::vector<double> values) {
  std::ranges::sort(values);
  return {.median = Quantile(values, 0.5),
          .low = Quantile(values, 0.25),
          .high = Quantile(values, 0.75)};
}

std::vector<Measured> MeasurePairs(const std::vector<Figure>& figures,
                                   const Side& ours, const Side& ceiling,
                                   const PairPlan& plan) {
  std::vector<std::vector<double>> ratios(figures.size());
  std::vector<std::vector<double>> our_rates(figures.size());
  std::vector<std::vector<double>> ceiling_rates(figures.size());
  for (int pair = 0; pair < plan.pair_count; ++pair) {
    Rates mine;
    Rates best;
    if (pair % 2 == 0) {
      mine = ours(plan.duration);
      best = ceiling(plan.duration);
    } else {
      best = ceiling(plan.duration);
      mine = ours(plan.duration);
    }
    for (size_t i = 0; i < figures.size(); ++i) {
      ratios[i].push_back(mine[i] / best[i]);
      our_rates[i].push_back(mine[i]);
      ceiling_rates[i].push_back(best[i]);
    }
  }
  std::vector<Measured> measured;
  for (size_t i = 0; i < figures.size(); ++i) {
    measured.push_back({.figure = figures[i],
                        .ratio = SpreadOf(ratios[i]),
                        .ours = SpreadOf(our_rates[i]),
                        .ceiling = SpreadOf(ceiling_rates[i])});
  }
  return measured;
}

std::string RatioLine(const Measured& measured) {
  const Spread& ratio = measured.ratio;
  return fmt::format("ratio {} {:.3f} {:.3f} {:.3f}", measured.figure.name,
                     ratio.median, ratio.low, ratio.high);
}

std::string DetailLine(const Measured& measured) {
  const Figure& figure = measured.figure;
  std::string gate;
  if (figure.gate != 0) {
    gate = fmt::format("; {:.2f} is asked for{}", figure.gate,
                       measured.ratio.median < figure.gate ? ": SHORT" : "");
  } else if (figure.limit != 0) {
    gate = fmt::format("; at most {:.2f} is asked for{}", figure.limit,
                       measured.ratio.median > figure.limit ? ": OVER" : "");
  }
  return fmt::format(
      "      {} of {} {}{}", SpreadText(measured.ours, figure.unit_size),
      SpreadText(measured.ceiling, figure.unit_size), figure.unit, gate);
}

}  // namespace quire::bench
