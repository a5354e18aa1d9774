#include "models/training/stmdit_objective.h"

#include <cmath>
#include <vector>

#include "models/diffusion/objective.h"
#include "models/training/random.h"

namespace vtissue::models::training {

StmditObjective::StmditObjective(const StmditConfig& config)
    : kind_(config.objective), learn_sigma_(config.learn_sigma), schedule_(diffusion_schedule()) {}

at::Tensor StmditObjective::draw_times(std::uint64_t seed, std::uint32_t step, int n) const {
  std::vector<float> flow;
  std::vector<std::int64_t> steps;
  for (int i = 0; i < n; ++i) {
    RandomStream random(seed, Purpose::kTime, step, static_cast<std::uint32_t>(i));
    if (kind_ == StmditConfig::Objective::kFlow) {
      flow.push_back(static_cast<float>(1.0 / (1.0 + std::exp(-random.normal()))));
    } else {
      steps.push_back(random.below(static_cast<std::uint32_t>(schedule_.steps())));
    }
  }
  return kind_ == StmditConfig::Objective::kFlow ? at::tensor(flow) : at::tensor(steps);
}

at::Tensor StmditObjective::spread_times(int n) const {
  const at::Tensor middles = (at::arange(n, at::kFloat) + 0.5) / n;
  return kind_ == StmditConfig::Objective::kFlow ? middles : (middles * schedule_.steps()).to(at::kLong);
}

StmditObjective::Loss StmditObjective::loss(const Network& network, const at::Tensor& latents, const at::Tensor& times,
                                            const at::Tensor& noise) const {
  if (kind_ == StmditConfig::Objective::kFlow) {
    const at::Tensor x = flow_sample(latents, times, noise);
    const at::Tensor error = at::mse_loss(network(x, times * 1000.0), flow_target(latents, noise));
    return {error, error};
  }
  const at::Tensor x = q_sample(schedule_, latents, times, noise);
  const at::Tensor output = network(x, times);
  if (!learn_sigma_) {
    const at::Tensor error = at::mse_loss(output, noise);
    return {error, error};
  }
  const DiffusionLoss terms = diffusion_loss(schedule_, output, latents, x, times, noise);
  return {terms.total.mean(), terms.mse.mean()};
}

at::Tensor StmditObjective::sample(const Network& prediction, const at::Tensor& noise, int steps) const {
  return kind_ == StmditConfig::Objective::kFlow ? sample_flow(prediction, noise, steps)
                                                 : sample_ddpm(prediction, noise, steps);
}

at::Tensor StmditObjective::sample_flow(const Network& prediction, at::Tensor x, int steps) const {
  for (int k = 0; k < steps; ++k) {
    const at::Tensor t = at::full({x.size(0)}, 1.0 - static_cast<double>(k) / steps);
    x = x - prediction(x, t * 1000.0) / steps;
  }
  return x;
}

at::Tensor StmditObjective::sample_ddpm(const Network& prediction, at::Tensor x, int steps) const {
  for (int k = steps; k > 0; --k) {
    const std::int64_t step = std::int64_t{k} * schedule_.steps() / steps - 1;
    const at::Tensor t = at::full({x.size(0)}, step, at::kLong);
    const at::Tensor epsilon = prediction(x, t);
    const at::Tensor x0 = estimate_x0(schedule_, x, t, epsilon);
    if (k == 1) return x0;
    x = q_sample(schedule_, x0, at::full({x.size(0)}, std::int64_t{k - 1} * schedule_.steps() / steps - 1, at::kLong),
                 epsilon);
  }
  return x;
}

}  // namespace vtissue::models::training
