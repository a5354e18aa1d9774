#include <cmath>

#include "models/samplers/builder.h"

namespace vtissue::models {
namespace {

constexpr int kMaxSteps = 100000;
constexpr double kDiffusersLast = 1e-3;

double shifted(double t, double shift) { return shift * t / (1 + (shift - 1) * t); }

/// [steps + 1] shares of noise, from 1 to 0.
std::vector<double> noise_shares(const SamplerOptions& options) {
  const int n = options.steps;
  const bool diffusers = resolve_spacing(options, {Spacing::kUniform, Spacing::kDiffusers}) == Spacing::kDiffusers;
  // diffusers shifts its schedule when it is made, and what it takes from that once more.
  const double last = shifted(kDiffusersLast, options.shift);
  std::vector<double> result;
  for (int k = 0; k < n; ++k) {
    double t = 1.0 - static_cast<double>(k) / n;
    if (diffusers && n > 1) t = 1.0 - k * (1.0 - last) / (n - 1);
    result.push_back(shifted(t, options.shift));
  }
  result.push_back(0);
  return result;
}

}  // namespace

Sampler make_flow(const SamplerOptions& options, bool heun) {
  using Store = Sampler::Update::Store;
  check_steps(options, kMaxSteps);
  const std::vector<double> shares = noise_shares(options);
  SamplerBuilder builder(options);
  builder.velocity();
  if (heun) builder.history(2);
  for (int i = 0; i < options.steps; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const double dt = shares[k + 1] - shares[k];
    Sampler::Update euler;
    euler.sigma = static_cast<float>(shares[k]);
    euler.prediction = static_cast<float>(dt);
    // No network is trained at t = 0, so the last step has nothing to correct it by.
    const bool corrected = heun && i + 1 < options.steps;
    if (corrected) euler.store = Store::kStart;
    builder.add({.t = shares[k], .step = i}, euler);
    if (!corrected) continue;
    Sampler::Update trapezoid;
    trapezoid.sigma = static_cast<float>(shares[k + 1]);
    trapezoid.x = 0;
    trapezoid.history = 1;
    trapezoid.prediction = trapezoid.history2 = static_cast<float>(dt / 2);
    builder.add({.t = shares[k + 1], .step = i}, trapezoid);
  }
  builder.sigmas(shares);
  return builder.build();
}

}  // namespace vtissue::models
