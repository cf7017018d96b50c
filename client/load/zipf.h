// Ids as skewed as those of real traffic.

#pragma once

#include <cstdint>
#include <random>

namespace quire::load {

// Draws ranks 0 .. n-1 with probabilities proportional to 1/(rank+1)^exponent,
// in constant time and memory: rejection-inversion (W. Hörmann, G. Derflinger:
// "Rejection-inversion to generate variates from monotone discrete
// distributions", 1996). Thread safety: constant after construction.
class ZipfSampler {
 public:
  //   n         1 or more
  //   exponent  above 0
  ZipfSampler(int64_t n, double exponent);

  int64_t operator()(std::mt19937_64& random) const;

 private:
  // The hat: x^-exponent, its integral from 1 to x, and that one's inverse.
  double Hat(double x) const;
  double HatIntegral(double x) const;
  double HatIntegralInverse(double x) const;

  const double n_;
  const double exponent_;
  const double integral_first_;
  const double integral_last_;
  // Where a candidate is this close to its x, it is accepted at once.
  const double squeeze_;
};

}  // namespace quire::load
