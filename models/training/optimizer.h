#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/torch.h"

namespace vtissue::models::training {

/// AdamW with linear warm-up and linear decay to 0, and an exponential moving average of the weights.
struct OptimizerConfig {
  double lr = 3e-4;           ///< peak
  std::int64_t steps = 1000;  ///< of the whole training
  std::int64_t warmup = 50;   ///< steps to the peak
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;  ///< decoupled
  bool decay_vectors = false;  ///< weight decay on tensors of fewer than two dimensions too: biases and norms
  double clip = 1.0;           ///< on the norm of all gradients; 0: none
  double ema = 0.999;          ///< decay of the average
  bool ema_ramp = true;        ///< reached by the ramp min(ema, (1 + step) / (10 + step)); false: from the first step
};

/// The learning rate of a step, counted from 0.
double learning_rate(const OptimizerConfig& config, std::int64_t step);

/// The EMA's decay at a step, counted from 0.
double ema_decay(const OptimizerConfig& config, std::int64_t step);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Not thread-safe.
class Optimizer {
 public:
  /// Trains the module's parameters that require a gradient.
  Optimizer(torch::nn::Module& module, const OptimizerConfig& config);

  /// Clears the gradients.
  void zero_grad();

  /// One update with the gradients there are; returns their norm before clipping. Throws Error kModel, before it
  /// touches anything, if the norm is not finite.
  double update(std::int64_t step);

  /// Exchanges the weights with their averages; called twice it changes nothing.
  void swap_average();

  /// Weights, averages and moments by name ("weight/…", "average/…", "moment1/…", "moment2/…"), sharing memory:
  /// what a checkpoint holds.
  NamedTensors state() const;

 private:
  struct Slot {
    std::string name;
    at::Tensor weight;
    at::Tensor average;
    at::Tensor moment1;
    at::Tensor moment2;
    bool decays = true;
  };

  OptimizerConfig config_;
  std::vector<Slot> slots_;
};

}  // namespace vtissue::models::training
