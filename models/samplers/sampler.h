#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace vtissue::models {

/// A solver whose step is elementwise with coefficients that depend on the step alone, so that a block
/// of the canvas can be stepped like the whole of it (DESIGN 6). Calls no network and draws nothing.
/// Immutable; thread-safe.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual std::string_view name() const = 0;

  /// [steps]: what the network is told at each step.
  virtual std::span<const double> timesteps() const = 0;

  /// One step in place. x, prediction: a block in any layout; history: the previous step's x0 estimate
  /// of the same elements (all zeros before step 0), replaced by this step's.
  virtual void step(int i, std::span<float> x, std::span<const float> prediction, std::span<float> history) const = 0;
};

/// DPM-Solver++(2M) as diffusers' multistep scheduler: midpoint, linspace, final sigma zero (models.md 7.1).
std::unique_ptr<Sampler> make_dpmpp_2m(int steps);

/// Euler for velocity prediction: t_k = 1 - k/N (models.md 7.5).
std::unique_ptr<Sampler> make_flow_euler(int steps);

/// By name: "dpmpp" or "flow". Throws Error kUsage for another name, or steps < 1.
std::unique_ptr<Sampler> make_sampler(std::string_view name, int steps);

}  // namespace vtissue::models
