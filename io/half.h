#pragma once

#include <bit>
#include <cstdint>

namespace vtissue::io {

/// IEEE binary32 → binary16, round to nearest, ties to even; beyond 65504 + half a step: infinity. Pure.
constexpr std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x33000001u) return static_cast<std::uint16_t>(sign);  // at most half of the smallest subnormal
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  // Below 2^-14 the result is subnormal: the implicit one becomes explicit and more bits are dropped.
  const int dropped = exponent >= -14 ? 13 : 13 + (-14 - exponent);
  const std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  const std::uint32_t kept = mantissa >> dropped;
  const std::uint32_t rest = mantissa & ((1u << dropped) - 1);
  const std::uint32_t half_step = 1u << (dropped - 1);
  const std::uint32_t up = rest > half_step || (rest == half_step && (kept & 1u) != 0) ? 1 : 0;
  // The implicit one of a normal number adds one to the exponent field, as does a carry out of rounding.
  const std::uint32_t field = exponent >= -14 ? static_cast<std::uint32_t>(exponent + 14) << 10 : 0;
  return static_cast<std::uint16_t>(sign | (field + kept + up));
}

/// IEEE binary16 → binary32, exact. Pure.
constexpr float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 0x1f ? 0x7f800000u : (exponent + 112) << 23;
  return std::bit_cast<float>(sign | wide | (mantissa << 13));
}

}  // namespace vtissue::io
