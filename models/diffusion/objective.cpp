#include "models/diffusion/objective.h"

#include <cmath>
#include <numbers>
#include <vector>

namespace vtissue::models {
namespace {

constexpr double kLeastProbability = 1e-12;

/// values[t] as [B, 1, 1, 1] in x's dtype; looked up in double, as the reference does.
at::Tensor at_steps(const std::vector<double>& values, const at::Tensor& t, const at::Tensor& x) {
  const at::Tensor table = at::tensor(values, at::TensorOptions().dtype(at::kDouble)).to(x.device());
  return table.index_select(0, t.to(at::kLong)).to(x.scalar_type()).view({-1, 1, 1, 1});
}

template <typename Function>
std::vector<double> map(const std::vector<double>& values, Function&& function) {
  std::vector<double> result;
  for (const double value : values) result.push_back(function(value));
  return result;
}

at::Tensor mean_of_sample(const at::Tensor& x) { return x.flatten(1).mean(1); }

at::Tensor normal_cdf(const at::Tensor& x) {
  return 0.5 * (1 + at::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x.pow(3))));
}

at::Tensor as_time(const at::Tensor& t) { return t.view({-1, 1, 1, 1}); }

}  // namespace

at::Tensor q_sample(const DiffusionSchedule& schedule, const at::Tensor& x0, const at::Tensor& t,
                    const at::Tensor& noise) {
  const auto signal = map(schedule.alpha_bar, [](double ab) { return std::sqrt(ab); });
  const auto sigma = map(schedule.alpha_bar, [](double ab) { return std::sqrt(1 - ab); });
  return at_steps(signal, t, x0) * x0 + at_steps(sigma, t, x0) * noise;
}

DiagonalGaussian posterior(const DiffusionSchedule& schedule, const at::Tensor& x0, const at::Tensor& x_t,
                           const at::Tensor& t) {
  return {at_steps(schedule.posterior_mean_x0, t, x_t) * x0 + at_steps(schedule.posterior_mean_xt, t, x_t) * x_t,
          at_steps(schedule.posterior_log_variance, t, x_t)};
}

at::Tensor estimate_x0(const DiffusionSchedule& schedule, const at::Tensor& x_t, const at::Tensor& t,
                       const at::Tensor& epsilon) {
  const auto scale = map(schedule.alpha_bar, [](double ab) { return std::sqrt(1 / ab); });
  const auto noise = map(schedule.alpha_bar, [](double ab) { return std::sqrt(1 / ab - 1); });
  return at_steps(scale, t, x_t) * x_t - at_steps(noise, t, x_t) * epsilon;
}

DiagonalGaussian learned_range(const DiffusionSchedule& schedule, const at::Tensor& output, const at::Tensor& x_t,
                               const at::Tensor& t) {
  const auto halves = output.chunk(2, 1);
  const at::Tensor share = (halves[1] + 1) / 2;
  const at::Tensor low = at_steps(schedule.posterior_log_variance, t, x_t);
  const at::Tensor high = at_steps(map(schedule.betas, [](double beta) { return std::log(beta); }), t, x_t);
  return {posterior(schedule, estimate_x0(schedule, x_t, t, halves[0]), x_t, t).mean, share * high + (1 - share) * low};
}

at::Tensor posterior_kl_bits(const DiagonalGaussian& truth, const DiagonalGaussian& predicted) {
  const at::Tensor difference = truth.mean - predicted.mean;
  const at::Tensor kl =
      0.5 * (predicted.log_variance - truth.log_variance - 1 + at::exp(truth.log_variance - predicted.log_variance) +
             difference.square() * at::exp(-predicted.log_variance));
  return mean_of_sample(kl) / std::numbers::ln2;
}

at::Tensor decoder_nll_bits(const at::Tensor& x0, const DiagonalGaussian& predicted) {
  const at::Tensor centered = x0 - predicted.mean;
  const at::Tensor inverse = at::exp(-0.5 * predicted.log_variance);
  const at::Tensor above = normal_cdf(inverse * (centered + 1.0 / 255));
  const at::Tensor below = normal_cdf(inverse * (centered - 1.0 / 255));
  const auto log = [](const at::Tensor& p) { return at::log(p.clamp_min(kLeastProbability)); };
  // The outermost bins are open; latents lie beyond them, and the reference applies the rule all the same.
  const at::Tensor log_probability =
      at::where(x0 < -0.999, log(above), at::where(x0 > 0.999, log(1 - below), log(above - below)));
  return mean_of_sample(-log_probability) / std::numbers::ln2;
}

DiffusionLoss diffusion_loss(const DiffusionSchedule& schedule, const at::Tensor& output, const at::Tensor& x0,
                             const at::Tensor& x_t, const at::Tensor& t, const at::Tensor& noise,
                             const DiffusionLossOptions& options) {
  const auto halves = output.chunk(2, 1);
  const DiagonalGaussian predicted = learned_range(schedule, at::cat({halves[0].detach(), halves[1]}, 1), x_t, t);
  const at::Tensor kl = posterior_kl_bits(posterior(schedule, x0, x_t, t), predicted);
  DiffusionLoss loss;
  loss.mse = mean_of_sample((noise - halves[0]).square());
  loss.vb = at::where(t == 0, decoder_nll_bits(x0, predicted), kl);
  if (options.rescale_variance_bound) loss.vb = loss.vb * (static_cast<double>(schedule.steps()) / kTrainTimesteps);
  loss.total = loss.mse + loss.vb;
  return loss;
}

at::Tensor flow_sample(const at::Tensor& x0, const at::Tensor& t, const at::Tensor& noise) {
  return (1 - as_time(t)) * x0 + as_time(t) * noise;
}

at::Tensor flow_target(const at::Tensor& x0, const at::Tensor& noise) { return noise - x0; }

at::Tensor flow_estimate_x0(const at::Tensor& x_t, const at::Tensor& t, const at::Tensor& velocity) {
  return x_t - as_time(t) * velocity;
}

at::Tensor logit_normal_times(const at::Tensor& normal) { return at::sigmoid(normal); }

}  // namespace vtissue::models
