#include "client/load/zipf.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace quire::load {
namespace {

// log1p(x)/x and expm1(x)/x, which at 0 are 1.
double Log1pOverX(double x) {
  return std::fabs(x) > 1e-8 ? std::log1p(x) / x : 1 - x / 2;
}

double Expm1OverX(double x) {
  return std::fabs(x) > 1e-8 ? std::expm1(x) / x : 1 + x / 2;
}

}  // namespace

ZipfSampler::ZipfSampler(int64_t n, double exponent)
    : n_(static_cast<double>(n)),
      exponent_(exponent),
      integral_first_(HatIntegral(1.5) - 1),
      integral_last_(HatIntegral(n_ + 0.5)),
      squeeze_(2 - HatIntegralInverse(HatIntegral(2.5) - Hat(2))) {
  QUIRE_CHECK(n >= 1 && exponent > 0, "a Zipf distribution");
}

int64_t ZipfSampler::operator()(std::mt19937_64& random) const {
  std::uniform_real_distribution<double> uniform(0, 1);
  for (;;) {
    const double u =
        integral_last_ + uniform(random) * (integral_first_ - integral_last_);
    const double x = HatIntegralInverse(u);
    const double k = std::clamp(std::floor(x + 0.5), 1.0, n_);
    if (k - x <= squeeze_ || u >= HatIntegral(k + 0.5) - Hat(k)) {
      return static_cast<int64_t>(k) - 1;
    }
  }
}

double ZipfSampler::Hat(double x) const { return std::pow(x, -exponent_); }

double ZipfSampler::HatIntegral(double x) const {
  const double log_x = std::log(x);
  return Expm1OverX((1 - exponent_) * log_x) * log_x;
}

double ZipfSampler::HatIntegralInverse(double x) const {
  // Rounding may carry the argument of log1p below its domain.
  const double t = std::max(x * (1 - exponent_), -1.0);
  return std::exp(Log1pOverX(t) * x);
}

}  // namespace quire::load
