#include "models/diffusion/schedule.h"

#include <cmath>

#include "core/error.h"

namespace vtissue::models {
namespace {

constexpr double kBetaStart = 1e-4;
constexpr double kBetaEnd = 2e-2;

DiffusionSchedule from_betas(std::vector<double> betas, std::vector<int> timestep_map) {
  DiffusionSchedule s;
  s.timestep_map = std::move(timestep_map);
  s.betas = std::move(betas);
  double product = 1;
  for (const double beta : s.betas) {
    s.alpha_bar_previous.push_back(product);
    product *= 1 - beta;
    s.alpha_bar.push_back(product);
    const double previous = s.alpha_bar_previous.back();
    s.posterior_variance.push_back(beta * (1 - previous) / (1 - product));
    s.posterior_mean_x0.push_back(beta * std::sqrt(previous) / (1 - product));
    s.posterior_mean_xt.push_back((1 - previous) * std::sqrt(1 - beta) / (1 - product));
  }
  for (std::size_t i = 0; i < s.betas.size(); ++i) {
    const double variance = i > 0 ? s.posterior_variance[i] : s.steps() > 1 ? s.posterior_variance[1] : s.betas[0];
    s.posterior_log_variance.push_back(std::log(variance));
  }
  return s;
}

}  // namespace

DiffusionSchedule diffusion_schedule() {
  std::vector<double> betas;
  std::vector<int> timestep_map;
  for (int t = 0; t < kTrainTimesteps; ++t) {
    betas.push_back(kBetaStart + (kBetaEnd - kBetaStart) * t / (kTrainTimesteps - 1));
    timestep_map.push_back(t);
  }
  return from_betas(std::move(betas), std::move(timestep_map));
}

DiffusionSchedule respaced_schedule(int steps) {
  if (steps < 1 || steps > kTrainTimesteps) {
    throw Error(ErrorCode::kUsage, "{} of {} diffusion steps: expected 1 to {}", steps, kTrainTimesteps,
                kTrainTimesteps);
  }
  const DiffusionSchedule all = diffusion_schedule();
  const double stride = steps > 1 ? static_cast<double>(kTrainTimesteps - 1) / (steps - 1) : 1.0;
  std::vector<double> betas;
  std::vector<int> timestep_map;
  // The position is summed up, not multiplied: for 278 numbers of steps that rounds to other timesteps.
  double position = 0;
  double previous = 1;
  for (int i = 0; i < steps; ++i) {
    const int t = static_cast<int>(std::nearbyint(position));
    const double alpha_bar = all.alpha_bar[static_cast<std::size_t>(t)];
    betas.push_back(1 - alpha_bar / previous);
    timestep_map.push_back(t);
    previous = alpha_bar;
    position += stride;
  }
  return from_betas(std::move(betas), std::move(timestep_map));
}

std::vector<float> scheduler_alpha_bar() {
  // PyTorch's linspace counts from both ends with fused multiply-adds, and its cumprod keeps the running product in
  // double, but rounds every entry.
  const auto first = static_cast<float>(kBetaStart);
  const auto last = static_cast<float>(kBetaEnd);
  const float step = (last - first) / (kTrainTimesteps - 1);
  std::vector<float> alpha_bar;
  double product = 1;
  for (int t = 0; t < kTrainTimesteps; ++t) {
    const float beta = t < kTrainTimesteps / 2 ? std::fma(step, static_cast<float>(t), first)
                                               : std::fma(-step, static_cast<float>(kTrainTimesteps - 1 - t), last);
    product *= 1.0f - beta;
    alpha_bar.push_back(static_cast<float>(product));
  }
  return alpha_bar;
}

}  // namespace vtissue::models
