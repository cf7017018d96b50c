// Pairs: our side and its ceiling, run in turns so that whatever else the
// machine does falls on both, and the ratio of what they reached.

#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace quire::bench {

// Units of work per second; a side that does two things at once gives two.
using Rates = std::vector<double>;

// Works for about `duration` and says how fast it was.
using Side = std::function<Rates(std::chrono::nanoseconds duration)>;

// A figure that is to be held against its ceiling.
struct Figure {
  std::string name;
  // The least ratio that is asked for; 0: none, it explains another.
  double gate = 0;
  // The most, of what is better the less it is; 0: none.
  double limit = 0;
  // What a rate counts, and how many of them make the unit shown.
  std::string unit;
  double unit_size = 1;
};

struct PairPlan {
  int pair_count = 15;
  std::chrono::nanoseconds duration = std::chrono::milliseconds(500);
};

struct Spread {
  double median = 0;
  double low = 0;  // quartiles
  double high = 0;
};
Spread SpreadOf(std::vector<double> values);

struct Measured {
  Figure figure;
  Spread ratio;
  Spread ours;
  Spread ceiling;
};

// Runs both sides pair_count times, in turns; each pair begins with the other
// side than the one before. One result for each figure: figures[i] is of
// rates[i].
std::vector<Measured> MeasurePairs(const std::vector<Figure>& figures,
                                   const Side& ours, const Side& ceiling,
                                   const PairPlan& plan);

// "ratio NAME MEDIAN LOW HIGH", and what was compared.
std::string RatioLine(const Measured& measured);
std::string DetailLine(const Measured& measured);

}  // namespace quire::bench
