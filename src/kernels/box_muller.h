// Box-Muller: two uniform numbers of 24 bits become two normal ones.
//
// Logarithm, sine and cosine are our own. libm's differ in their last bits
// from CPU to CPU, and initial values must be the same bytes everywhere. These
// are Taylor series in double, in plain multiplications and additions: each
// is within 1e-15 of the truth on all of its 2^24 arguments, which
// tests/kernels walks, and each vectorises.

#pragma once

#include <cstdint>

#include "kernels/inline.h"

namespace quire::kernels {

// ln(u) for u = i * 2^-24, i in [1, 2^24].
QUIRE_KERNEL_INLINE double LogOfUniform(float u) {
  // u = m * 2^exponent with m in [sqrt(1/2), sqrt(2)), by its bits.
  constexpr int32_t kSqrtHalfBits = 0x3F3504F3;
  int32_t bits;
  __builtin_memcpy(&bits, &u, sizeof(bits));
  const int32_t exponent = (bits - kSqrtHalfBits) >> 23;
  bits -= exponent * (1 << 23);
  float mantissa;
  __builtin_memcpy(&mantissa, &bits, sizeof(mantissa));

  // ln(m) = 2 artanh(s) = 2 (s + s^3/3 + s^5/5 + ...), |s| < 0.172.
  const double m = mantissa;
  const double s = (m - 1.0) / (m + 1.0);
  const double ss = s * s;
  double series = 1.0 / 19;
  series = series * ss + 1.0 / 17;
  series = series * ss + 1.0 / 15;
  series = series * ss + 1.0 / 13;
  series = series * ss + 1.0 / 11;
  series = series * ss + 1.0 / 9;
  series = series * ss + 1.0 / 7;
  series = series * ss + 1.0 / 5;
  series = series * ss + 1.0 / 3;
  series = series * ss + 1.0;
  constexpr double kLn2 = 0.693147180559945309417;
  return 2.0 * s * series + exponent * kLn2;
}

struct SineCosine {
  double sine;
  double cosine;
};

// sin and cos of 2 pi * i * 2^-24, i in [0, 2^24).
QUIRE_KERNEL_INLINE SineCosine SineCosineOfTurn(int32_t i) {
  // The nearest quarter turn is taken off exactly; |x| <= pi/4 remains.
  constexpr double kTwoPi = 6.28318530717958647693;
  const int32_t quarter = (i + (1 << 21)) >> 22;
  const double x = (i - quarter * (1 << 22)) * (kTwoPi / (1 << 24));
  const double xx = x * x;

  double sine = -1.0 / 1307674368000;  // 15!, and down to 3!
  sine = sine * xx + 1.0 / 6227020800;
  sine = sine * xx - 1.0 / 39916800;
  sine = sine * xx + 1.0 / 362880;
  sine = sine * xx - 1.0 / 5040;
  sine = sine * xx + 1.0 / 120;
  sine = sine * xx - 1.0 / 6;
  sine = sine * xx * x + x;

  double cosine = 1.0 / 20922789888000;  // 16!, and down to 2!
  cosine = cosine * xx - 1.0 / 87178291200;
  cosine = cosine * xx + 1.0 / 479001600;
  cosine = cosine * xx - 1.0 / 3628800;
  cosine = cosine * xx + 1.0 / 40320;
  cosine = cosine * xx - 1.0 / 720;
  cosine = cosine * xx + 1.0 / 24;
  cosine = cosine * xx - 1.0 / 2;
  cosine = cosine * xx + 1.0;

  // sin(x + pi/2) = cos(x), and so around.
  const bool odd = (quarter & 1) != 0;
  const double up = odd ? cosine : sine;
  const double right = odd ? sine : cosine;
  return {(quarter & 2) != 0 ? -up : up,
          ((quarter + 1) & 2) != 0 ? -right : right};
}

struct NormalPair {
  double cosine_side;
  double sine_side;
};

// Two independent samples of N(0, 1), from the high 24 bits of two words.
QUIRE_KERNEL_INLINE NormalPair BoxMuller(uint32_t radius, uint32_t angle) {
  // (0, 1], so that the logarithm is finite; signed conversions vectorise.
  const float u =
      static_cast<float>(static_cast<int32_t>(radius >> 8) + 1) * 0x1p-24f;
  const double r = __builtin_sqrt(-2.0 * LogOfUniform(u));
  const SineCosine turn = SineCosineOfTurn(static_cast<int32_t>(angle >> 8));
  return {r * turn.cosine, r * turn.sine};
}

}  // namespace quire::kernels
