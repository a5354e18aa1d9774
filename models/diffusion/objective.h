#pragma once

#include "models/diffusion/schedule.h"
#include "models/torch.h"

/// The training objectives of the diffusion models (models.md 1.2.7 and 2.8). x0, noise, x_t and predictions are
/// [B, C, h, w]; t is [B], int64 steps of the schedule (flow: float, 0..1). Everything is differentiable.
namespace vtissue::models {

/// sqrt(ab_t) x0 + sqrt(1 - ab_t) noise.
at::Tensor q_sample(const DiffusionSchedule& schedule, const at::Tensor& x0, const at::Tensor& t,
                    const at::Tensor& noise);

/// A Gaussian for every element; both broadcast to [B, C, h, w].
struct DiagonalGaussian {
  at::Tensor mean;
  at::Tensor log_variance;
};

/// q(x_{t-1} | x_t, x0).
DiagonalGaussian posterior(const DiffusionSchedule& schedule, const at::Tensor& x0, const at::Tensor& x_t,
                           const at::Tensor& t);

/// The image that a predicted epsilon stands for.
at::Tensor estimate_x0(const DiffusionSchedule& schedule, const at::Tensor& x_t, const at::Tensor& t,
                       const at::Tensor& epsilon);

/// p(x_{t-1} | x_t) of a network's output [B, 2C, h, w]: epsilon, then the share of the log variance between the
/// posterior's and beta's, -1..1.
DiagonalGaussian learned_range(const DiffusionSchedule& schedule, const at::Tensor& output, const at::Tensor& x_t,
                               const at::Tensor& t);

/// Terms of the loss, [B] each.
struct DiffusionLoss {
  at::Tensor mse;  ///< of epsilon
  at::Tensor vb;   ///< bits per element: KL divergence to the posterior, at t = 0 the likelihood of x0 in 1/255 bins
  at::Tensor total;
};

struct DiffusionLossOptions {
  /// vb times steps/1000, which gives a respaced schedule the weight of the full one.
  bool rescale_variance_bound = false;
};

/// mse + vb. The bound trains the variance alone: it sends no gradient into the epsilon half.
DiffusionLoss diffusion_loss(const DiffusionSchedule& schedule, const at::Tensor& output, const at::Tensor& x0,
                             const at::Tensor& x_t, const at::Tensor& t, const at::Tensor& noise,
                             const DiffusionLossOptions& options = {});

/// The two parts of vb at any t, [B], bits per element.
at::Tensor posterior_kl_bits(const DiagonalGaussian& truth, const DiagonalGaussian& predicted);
at::Tensor decoder_nll_bits(const at::Tensor& x0, const DiagonalGaussian& predicted);

/// Flow matching: x_t = (1 - t) x0 + t noise, target noise - x0, estimate x_t - t v.
at::Tensor flow_sample(const at::Tensor& x0, const at::Tensor& t, const at::Tensor& noise);
at::Tensor flow_target(const at::Tensor& x0, const at::Tensor& noise);
at::Tensor flow_estimate_x0(const at::Tensor& x_t, const at::Tensor& t, const at::Tensor& velocity);

/// Times of the logit-normal distribution from standard normals: 1 / (1 + exp(-z)).
at::Tensor logit_normal_times(const at::Tensor& normal);

}  // namespace vtissue::models
