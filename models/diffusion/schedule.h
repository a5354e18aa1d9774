#pragma once

#include <vector>

/// The noise process of the epsilon models: 1,000 steps of linear betas from 1e-4 to 0.02 (models.md 2.8).
namespace vtissue::models {

constexpr int kTrainTimesteps = 1000;

/// All [steps], in double as the training code has it; index 0 is the least noisy step.
struct DiffusionSchedule {
  std::vector<int> timestep_map;  ///< what the network is told at a step: 0..999
  std::vector<double> betas;
  std::vector<double> alpha_bar;
  std::vector<double> alpha_bar_previous;  ///< 1 at step 0
  std::vector<double> posterior_variance;
  /// Entry 0, whose variance is 0, is replaced by entry 1; of a single step by that of beta.
  std::vector<double> posterior_log_variance;
  std::vector<double> posterior_mean_x0;  ///< coefficient of x0
  std::vector<double> posterior_mean_xt;  ///< coefficient of x_t

  int steps() const { return static_cast<int>(betas.size()); }
};

/// All 1,000 steps.
DiffusionSchedule diffusion_schedule();

/// `steps` of the 1,000, spread evenly with both ends kept, with betas that give the same alpha_bar at those (models.md
/// 7.3). Throws Error kUsage unless 1 <= steps <= 1000.
DiffusionSchedule respaced_schedule(int steps);

/// alpha_bar [1000] rounded to float32 the way the diffusers schedulers hold it: betas in float32.
std::vector<float> scheduler_alpha_bar();

}  // namespace vtissue::models
