#include "models/training/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/parallel.h"

namespace vtissue::models::training {

double learning_rate(const OptimizerConfig& config, std::int64_t step) {
  if (step < config.warmup) return config.lr * static_cast<double>(step + 1) / static_cast<double>(config.warmup);
  const auto left = static_cast<double>(std::max<std::int64_t>(config.steps - step, 0));
  return config.lr * left / static_cast<double>(std::max<std::int64_t>(config.steps - config.warmup, 1));
}

double ema_decay(const OptimizerConfig& config, std::int64_t step) {
  if (!config.ema_ramp) return config.ema;
  return std::min(config.ema, (1.0 + static_cast<double>(step)) / (10.0 + static_cast<double>(step)));
}

Optimizer::Optimizer(torch::nn::Module& module, const OptimizerConfig& config) : config_(config) {
  const torch::NoGradGuard no_grad;
  for (const auto& item : module.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    Slot slot;
    slot.name = item.key();
    slot.weight = item.value();
    slot.average = slot.weight.detach().clone();
    slot.moment1 = at::zeros_like(slot.weight);
    slot.moment2 = at::zeros_like(slot.weight);
    slot.decays = config.decay_vectors || slot.weight.dim() >= 2;
    slots_.push_back(std::move(slot));
  }
}

void Optimizer::zero_grad() {
  for (Slot& slot : slots_) slot.weight.mutable_grad() = at::Tensor();
}

double Optimizer::update(std::int64_t step) {
  const torch::NoGradGuard no_grad;
  double squared = 0;
  for (const Slot& slot : slots_) {
    const at::Tensor& gradient = slot.weight.grad();
    if (gradient.defined()) squared += gradient.square().sum(at::kDouble).item<double>();
  }
  const double norm = std::sqrt(squared);
  if (!std::isfinite(norm)) {
    throw Error(
        ErrorCode::kModel,
        "step {}: the gradients' norm is {}; the weights are left as they were. Lower the learning rate, or go on "
        "from the checkpoint before",
        step, norm);
  }
  const auto scale = static_cast<float>(config_.clip > 0 && norm > config_.clip ? config_.clip / norm : 1.0);

  const double rate = learning_rate(config_, step);
  const auto beta1 = static_cast<float>(config_.beta1);
  const auto beta2 = static_cast<float>(config_.beta2);
  const double correction1 = 1.0 - std::pow(config_.beta1, static_cast<double>(step + 1));
  const double correction2 = 1.0 - std::pow(config_.beta2, static_cast<double>(step + 1));
  const auto step_size = static_cast<float>(rate / correction1);
  const auto root_correction = static_cast<float>(1.0 / std::sqrt(correction2));
  const auto eps = static_cast<float>(config_.eps);
  const auto keep = static_cast<float>(ema_decay(config_, step));

  for (Slot& slot : slots_) {
    at::Tensor gradient = slot.weight.grad();
    if (!gradient.defined()) continue;
    // Weights, moments and averages share one memory layout; a gradient may have another (channels last).
    if (gradient.strides() != slot.weight.strides()) gradient = at::empty_like(slot.weight).copy_(gradient);
    const auto shrink = static_cast<float>(slot.decays ? 1.0 - rate * config_.weight_decay : 1.0);
    float* w = slot.weight.data_ptr<float>();
    float* average = slot.average.data_ptr<float>();
    float* m = slot.moment1.data_ptr<float>();
    float* v = slot.moment2.data_ptr<float>();
    const float* g = gradient.const_data_ptr<float>();
    // One pass over memory instead of a dozen.
    parallel_for(0, slot.weight.numel(), 1 << 14, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const float gi = g[i] * scale;
        m[i] = beta1 * m[i] + (1.0f - beta1) * gi;
        v[i] = beta2 * v[i] + (1.0f - beta2) * gi * gi;
        w[i] = shrink * w[i] - step_size * m[i] / (std::sqrt(v[i]) * root_correction + eps);
        average[i] = keep * average[i] + (1.0f - keep) * w[i];
      }
    });
  }
  return norm;
}

void Optimizer::swap_average() {
  const torch::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    const at::Tensor weight = slot.weight.detach().clone();
    slot.weight.copy_(slot.average);
    slot.average.copy_(weight);
  }
}

NamedTensors Optimizer::state() const {
  NamedTensors tensors;
  for (const Slot& slot : slots_) {
    tensors.emplace_back("weight/" + slot.name, slot.weight);
    tensors.emplace_back("average/" + slot.name, slot.average);
    tensors.emplace_back("moment1/" + slot.name, slot.moment1);
    tensors.emplace_back("moment2/" + slot.name, slot.moment2);
  }
  return tensors;
}

}  // namespace vtissue::models::training
