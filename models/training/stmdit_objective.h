#pragma once

#include <cstdint>
#include <functional>

#include "models/diffusion/schedule.h"
#include "models/stmdit/config.h"
#include "models/torch.h"

namespace vtissue::models::training {

/// What STMDiT is trained to predict: the velocity at logit-normal times (models.md 1.2.7), or epsilon and, with
/// learn_sigma, its variance at uniform steps of the published schedule (models.md 2.8). Latents and noise are
/// [n, C, h, w]; a time is one number an example, of the objective's own kind.
class StmditObjective {
 public:
  /// x [n, C, h, w] and the times on the network's scale 0..999 [n] → its output.
  using Network = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& t)>;

  struct Loss {
    at::Tensor total;  ///< what is minimised
    at::Tensor error;  ///< of it the mean squared error, which figures are of
  };

  explicit StmditObjective(const StmditConfig& config);

  /// [n], a function of its arguments alone.
  at::Tensor draw_times(std::uint64_t seed, std::uint32_t step, int n) const;
  /// [n], evenly spread.
  at::Tensor spread_times(int n) const;

  Loss loss(const Network& network, const at::Tensor& latents, const at::Tensor& times, const at::Tensor& noise) const;

  /// From noise by `steps` deterministic steps: Euler (models.md 7.5), or DDIM (7.2) without noise of its own. The
  /// network's prediction is guided already and has no variance.
  at::Tensor sample(const Network& prediction, const at::Tensor& noise, int steps) const;

 private:
  at::Tensor sample_flow(const Network& prediction, at::Tensor x, int steps) const;
  at::Tensor sample_ddpm(const Network& prediction, at::Tensor x, int steps) const;

  StmditConfig::Objective kind_;
  bool learn_sigma_;
  DiffusionSchedule schedule_;
};

}  // namespace vtissue::models::training
