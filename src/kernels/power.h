// x^p for x >= 0, without libm, whose last bits differ from CPU to CPU: plain
// multiplications and additions in double, within 1e-13 of the truth.

#pragma once

#include <cstdint>

#include "kernels/box_muller.h"
#include "kernels/inline.h"

namespace quire::kernels {

// e^y, for |y| <= 700; beyond that the nearest of these.
QUIRE_KERNEL_INLINE double Exponential(double y) {
  y = y > 700.0 ? 700.0 : y < -700.0 ? -700.0 : y;
  // y = n ln(2) + r with |r| <= ln(2) / 2; the two parts of ln(2) keep r exact.
  constexpr double kLog2OfE = 1.44269504088896340736;
  constexpr double kLn2High = 6.93147180369123816490e-01;
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  const double scaled = y * kLog2OfE;
  const int64_t n = static_cast<int64_t>(scaled + (scaled < 0 ? -0.5 : 0.5));
  const double r = (y - static_cast<double>(n) * kLn2High) -
                   static_cast<double>(n) * kLn2Low;
  double series = 1.0;  // Taylor's, from the 14th term down
  for (int k = 14; k >= 1; --k) {
    series = series * r / k + 1.0;
  }
  // 2^n by its bits: n is in [-1010, 1010].
  const uint64_t bits = static_cast<uint64_t>(n + 1023) << 52;
  double power_of_two;
  __builtin_memcpy(&power_of_two, &bits, sizeof(power_of_two));
  return series * power_of_two;
}

// ln(x) for a finite x > 0.
QUIRE_KERNEL_INLINE double NaturalLog(float x) {
  constexpr double kLn2Times24 = 16.6355323334386874;
  const bool is_denormal = x < 0x1p-126f;
  return LogOfUniform(is_denormal ? x * 0x1p24f : x) -
         (is_denormal ? kLn2Times24 : 0.0);
}

// 0^0 is 1. What is not finite or below 0 gives NaN.
QUIRE_KERNEL_INLINE float PowerOf(float x, double p) {
  if (p == 0.0) {
    return 1.0f;
  }
  if (x == 0.0f) {
    return p > 0.0 ? 0.0f : __builtin_inff();
  }
  if (!(x > 0.0f && x < __builtin_inff())) {
    return __builtin_nanf("");
  }
  return static_cast<float>(Exponential(p * NaturalLog(x)));
}

}  // namespace quire::kernels
