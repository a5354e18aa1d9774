// Included by the loops that are compiled once for each instruction set.

#include <cstdint>

namespace vtissue::models::kernels {
namespace {

/// exp(x) to 2 ulp for x in [-87, 88]; clamped outside.
inline float fast_exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float n = (x * 1.44269504f + kRound) - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const int power = (static_cast<int>(n) + 127) << 23;
  return p * __builtin_bit_cast(float, power);
}

}  // namespace
}  // namespace vtissue::models::kernels
