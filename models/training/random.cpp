#include "models/training/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "models/noise.h"
#include "models/parallel.h"

namespace vtissue::models::training {
namespace {

constexpr double kUnit32 = 1.0 / 4294967296.0;
/// The index of normal_tensor's stream; crops and rows never reach it.
constexpr std::uint32_t kTensorIndex = 0xFFFFFFFFu;

std::array<std::uint32_t, 2> key_of(std::uint64_t seed) {
  return {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
}

/// Box-Muller; the first uniform is in (0, 1].
std::array<double, 2> normal_pair(std::uint32_t a, std::uint32_t b) {
  const double radius = std::sqrt(-2.0 * std::log((a + 1.0) * kUnit32));
  const double angle = 2.0 * std::numbers::pi * (b * kUnit32);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, Purpose purpose, std::uint32_t step, std::uint32_t index)
    : key_(key_of(seed)), counter_{0, index, step, static_cast<std::uint32_t>(purpose)} {}

std::uint32_t RandomStream::bits() {
  if (used_ == 4) {
    block_ = philox4x32_10(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return block_[static_cast<std::size_t>(used_++)];
}

double RandomStream::uniform() { return bits() * kUnit32; }

std::uint32_t RandomStream::below(std::uint32_t n) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(bits()) * n) >> 32);
}

double RandomStream::normal() {
  const std::uint32_t a = bits();
  return normal_pair(a, bits())[0];
}

std::uint32_t RandomStream::binomial(std::uint32_t trials, double probability) {
  // Counts of a gene in a spot are mostly below a hundred; above, the normal approximation is as good.
  if (trials > 256) {
    const double mean = trials * probability;
    const double value = std::round(mean + normal() * std::sqrt(mean * (1.0 - probability)));
    return static_cast<std::uint32_t>(std::clamp(value, 0.0, static_cast<double>(trials)));
  }
  std::uint32_t successes = 0;
  for (std::uint32_t i = 0; i < trials; ++i) successes += uniform() < probability ? 1 : 0;
  return successes;
}

at::Tensor normal_tensor(std::uint64_t seed, Purpose purpose, std::uint32_t step, at::IntArrayRef shape) {
  at::Tensor result = at::empty(shape, at::kFloat);
  float* out = result.data_ptr<float>();
  const std::int64_t n = result.numel();
  const auto key = key_of(seed);
  parallel_for(0, (n + 3) / 4, 2048, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto bits =
          philox4x32_10({static_cast<std::uint32_t>(i), kTensorIndex, step, static_cast<std::uint32_t>(purpose)}, key);
      const auto first = normal_pair(bits[0], bits[1]);
      const auto second = normal_pair(bits[2], bits[3]);
      const double values[4] = {first[0], first[1], second[0], second[1]};
      for (std::int64_t k = 0; k < 4 && 4 * i + k < n; ++k) out[4 * i + k] = static_cast<float>(values[k]);
    }
  });
  return result;
}

std::uint64_t derived_seed(std::uint64_t seed, Purpose purpose, std::uint32_t step) {
  RandomStream stream(seed, purpose, step, kTensorIndex);
  const std::uint64_t high = stream.bits();
  return (high << 32) | stream.bits();
}

}  // namespace vtissue::models::training
