#include <cmath>

#include "core/error.h"
#include "models/diffusion/schedule.h"
#include "models/samplers/builder.h"

namespace vtissue::models {
namespace {

/// Deterministic step from alpha_bar to the previous one.
Sampler::Update ddim_update(double alpha_bar, double previous) {
  Sampler::Update u;
  u.alpha = static_cast<float>(std::sqrt(alpha_bar));
  u.sigma = static_cast<float>(std::sqrt(1 - alpha_bar));
  u.x = 0;
  u.x0 = static_cast<float>(std::sqrt(previous));
  u.prediction = static_cast<float>(std::sqrt(1 - previous));
  return u;
}

double noise_ratio(double alpha_bar) { return std::sqrt((1 - alpha_bar) / alpha_bar); }

}  // namespace

Sampler make_ddim(const SamplerOptions& options) {
  check_steps(options, kTrainTimesteps);
  const int n = options.steps;
  const int stride = kTrainTimesteps / n;
  std::vector<int> timesteps;
  switch (resolve_spacing(options, {Spacing::kLeading, Spacing::kLinspace, Spacing::kTrailing})) {
    case Spacing::kLinspace: {
      const double step = n > 1 ? static_cast<double>(kTrainTimesteps - 1) / (n - 1) : 0;
      for (int k = n - 1; k >= 0; --k) timesteps.push_back(static_cast<int>(std::nearbyint(k * step)));
      break;
    }
    case Spacing::kTrailing: {
      const double step = kTrainTimesteps - static_cast<double>(kTrainTimesteps) / n - kTrainTimesteps;
      for (int k = 0; k < n; ++k) timesteps.push_back(static_cast<int>(std::nearbyint(kTrainTimesteps + k * step)) - 1);
      break;
    }
    default:
      for (int k = n - 1; k >= 0; --k) timesteps.push_back(k * stride + options.steps_offset);
  }
  const std::vector<float> alpha_bar = scheduler_alpha_bar();
  const double final_alpha = options.final_alpha_one ? 1.0 : alpha_bar[0];
  SamplerBuilder builder(options);
  std::vector<double> sigmas;
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const int t = timesteps[i];
    if (t < 0 || t >= kTrainTimesteps) {
      throw Error(ErrorCode::kUsage, "{} steps with offset {} reach timestep {}; use a smaller offset", n,
                  options.steps_offset, t);
    }
    const double now = alpha_bar[static_cast<std::size_t>(t)];
    const double previous = t >= stride ? alpha_bar[static_cast<std::size_t>(t - stride)] : final_alpha;
    sigmas.push_back(noise_ratio(now));
    builder.add({.t = static_cast<double>(t), .step = static_cast<int>(i)}, ddim_update(now, previous));
    if (i + 1 == timesteps.size()) sigmas.push_back(noise_ratio(previous));
  }
  builder.sigmas(std::move(sigmas));
  return builder.build();
}

Sampler make_respaced(const SamplerOptions& options, bool ancestral) {
  check_steps(options, kTrainTimesteps);
  resolve_spacing(options, {Spacing::kLinspace});
  const DiffusionSchedule schedule = respaced_schedule(options.steps);
  SamplerBuilder builder(options);
  if (ancestral) builder.learned_variance();
  std::vector<double> sigmas;
  for (int step = 0; step < options.steps; ++step) {
    const auto k = static_cast<std::size_t>(options.steps - 1 - step);
    sigmas.push_back(noise_ratio(schedule.alpha_bar[k]));
    Sampler::Update u = ddim_update(schedule.alpha_bar[k], schedule.alpha_bar_previous[k]);
    Evaluation evaluation{.t = static_cast<double>(schedule.timestep_map[k]), .step = step};
    if (ancestral) {
      u.prediction = 0;
      u.x0 = static_cast<float>(schedule.posterior_mean_x0[k]);
      u.x = static_cast<float>(schedule.posterior_mean_xt[k]);
      u.learned_variance = true;
      u.log_variance_low = static_cast<float>(schedule.posterior_log_variance[k]);
      u.log_variance_high = static_cast<float>(std::log(schedule.betas[k]));
      if (k > 0) {
        u.noise = 1;
        evaluation.draw = static_cast<std::uint32_t>(step) + 1;  // draw 0 is the start
      }
    }
    builder.add(evaluation, u);
  }
  sigmas.push_back(0);
  builder.sigmas(std::move(sigmas));
  return builder.build();
}

}  // namespace vtissue::models
