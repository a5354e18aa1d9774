#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/diffusion/schedule.h"
#include "models/samplers/builder.h"

namespace vtissue::models {
namespace {

using Store = Sampler::Update::Store;

double alpha_of(double sigma) { return 1.0 / std::sqrt(1.0 + sigma * sigma); }

/// A time of the solver: signal, noise and half the log of their ratio squared.
struct Level {
  double alpha;
  double sigma;
  double lambda;
};

Level level_of_ratio(double ratio) { return {alpha_of(ratio), ratio * alpha_of(ratio), -std::log(ratio)}; }

/// Level::sigma with the roundings of the reference, which computes it in float32.
float noise_in_float32(double ratio) {
  const auto s = static_cast<float>(ratio);
  return s * (1.0f / std::sqrt(s * s + 1.0f));
}

/// From `now` to `next`; `before` is the time of the estimate in the history, null for a step of first order.
Sampler::Update multistep(const Level& now, const Level& next, const Level* before, bool heun) {
  Sampler::Update u;
  u.alpha = static_cast<float>(now.alpha);
  u.sigma = static_cast<float>(now.sigma);
  u.store = Store::kEstimate;
  const double h = next.lambda - now.lambda;
  const double scale = -next.alpha * std::expm1(-h);
  double difference = 0;  // coefficient of (x0 - previous x0)
  if (before != nullptr) {
    const double r = (now.lambda - before->lambda) / h;
    const double weight = heun ? next.alpha * (std::expm1(-h) / h + 1) : 0.5 * scale;
    difference = weight / r;
    u.weight = static_cast<float>(weight);
    u.inverse_r = static_cast<float>(1 / r);
  }
  u.base = static_cast<float>(scale);
  u.x = static_cast<float>(next.sigma / now.sigma);
  u.x0 = static_cast<float>(scale + difference);
  u.history = static_cast<float>(-difference);
  return u;
}

/// Noise zero: the limit of the formula is the estimate itself.
Sampler::Update to_estimate(const Level& now) {
  Sampler::Update u;
  u.alpha = static_cast<float>(now.alpha);
  u.sigma = static_cast<float>(now.sigma);
  u.x = 0;
  u.x0 = u.base = 1;
  u.store = Store::kEstimate;
  return u;
}

/// [steps] timesteps from the noisiest, as diffusers' multistep scheduler has them.
std::vector<int> scheduler_timesteps(const SamplerOptions& options) {
  const int n = options.steps;
  std::vector<int> result;
  switch (resolve_spacing(options, {Spacing::kLinspace, Spacing::kLeading, Spacing::kTrailing})) {
    case Spacing::kLeading: {
      const int stride = kTrainTimesteps / (n + 1);
      for (int k = n; k >= 1; --k) result.push_back(k * stride + options.steps_offset);
      break;
    }
    case Spacing::kTrailing: {
      // As arange() sums up: start + k * (second - start).
      const double stride = kTrainTimesteps - static_cast<double>(kTrainTimesteps) / n - kTrainTimesteps;
      for (int k = 0; k < n; ++k) result.push_back(static_cast<int>(std::nearbyint(kTrainTimesteps + k * stride)) - 1);
      break;
    }
    default: {
      // The step is computed first: k * 999 / N gives other timesteps for 92 values of N below 1,000.
      const double stride = static_cast<double>(kTrainTimesteps - 1) / n;
      for (int k = n; k >= 1; --k) result.push_back(static_cast<int>(std::nearbyint(k * stride)));
    }
  }
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (result[i] < 0 || result[i] >= kTrainTimesteps || (i > 0 && result[i] >= result[i - 1])) {
      throw Error(ErrorCode::kUsage, "{} steps with {} spacing and offset {} reach timestep {}; use fewer steps", n,
                  to_string(options.spacing), options.steps_offset, result[i]);
    }
  }
  return result;
}

/// log(alpha) of PixCell's continuous time: piecewise linear through ((i + 1) / 1000, log alpha_i).
double continuous_log_alpha(const std::vector<double>& alpha_bar, double t) {
  const double position = t * kTrainTimesteps - 1;
  const int last = kTrainTimesteps - 2;
  const int i = std::clamp(static_cast<int>(std::floor(position)), 0, last);
  const auto log_alpha = [&](int k) { return 0.5 * std::log(alpha_bar[static_cast<std::size_t>(k)]); };
  return log_alpha(i) + (position - i) * (log_alpha(i + 1) - log_alpha(i));
}

}  // namespace

Sampler make_dpmpp(const SamplerOptions& options, bool heun) {
  check_steps(options, kTrainTimesteps - 1);
  const std::vector<int> timesteps = scheduler_timesteps(options);
  const std::vector<float> alpha_bar = scheduler_alpha_bar();
  std::vector<double> sigmas;
  std::vector<Level> levels;
  for (const int t : timesteps) {
    const float ab = alpha_bar[static_cast<std::size_t>(t)];
    sigmas.push_back(std::sqrt((1.0f - ab) / ab));
    levels.push_back(level_of_ratio(sigmas.back()));
  }
  sigmas.push_back(0);
  SamplerBuilder builder(options);
  builder.history(1);
  builder.sigmas(sigmas);
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const Evaluation evaluation{.t = static_cast<double>(timesteps[i]), .step = static_cast<int>(i)};
    const bool last = i + 1 == levels.size();
    Sampler::Update update =
        last ? to_estimate(levels[i]) : multistep(levels[i], levels[i + 1], i > 0 ? &levels[i - 1] : nullptr, heun);
    // A float16 may lie on either side of the difference.
    if (options.half_state && !last) update.x = noise_in_float32(sigmas[i + 1]) / noise_in_float32(sigmas[i]);
    builder.add(evaluation, update);
  }
  return builder.build();
}

Sampler make_dpmpp_pixcell(const SamplerOptions& options) {
  constexpr float kFirst = 1.0f;
  constexpr float kLast = 1.0f / kTrainTimesteps;
  check_steps(options, kTrainTimesteps);
  resolve_spacing(options, {Spacing::kLinspace});
  const std::vector<double> alpha_bar = diffusion_schedule().alpha_bar;
  const int n = options.steps;
  // In float32 and from both ends, as the reference's linspace.
  const float stride = (kLast - kFirst) / static_cast<float>(n);
  std::vector<float> times;
  std::vector<Level> levels;
  std::vector<double> sigmas;
  for (int i = 0; i <= n; ++i) {
    const float t =
        i < (n + 1) / 2 ? kFirst + stride * static_cast<float>(i) : kLast - stride * static_cast<float>(n - i);
    const double log_alpha = continuous_log_alpha(alpha_bar, t);
    const double sigma = std::sqrt(-std::expm1(2 * log_alpha));
    times.push_back(t);
    levels.push_back({std::exp(log_alpha), sigma, log_alpha - std::log(sigma)});
    sigmas.push_back(std::exp(-levels.back().lambda));
  }
  SamplerBuilder builder(options);
  builder.history(1);
  builder.sigmas(std::move(sigmas));
  for (int i = 0; i < n; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const double t = (times[k] - kLast) * static_cast<float>(kTrainTimesteps);
    const bool first_order = i == 0 || i + 1 == n;
    builder.add({.t = t, .step = i},
                multistep(levels[k], levels[k + 1], first_order ? nullptr : &levels[k - 1], /*heun=*/false));
  }
  return builder.build();
}

}  // namespace vtissue::models
