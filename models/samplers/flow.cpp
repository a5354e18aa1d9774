#include "models/samplers/sampler.h"
#include "models/samplers/steps.h"

namespace vtissue::models {
namespace {

constexpr int kMaxSteps = 100000;

class FlowEuler final : public Sampler {
 public:
  explicit FlowEuler(int steps) {
    for (int k = 0; k < steps; ++k) timesteps_.push_back(1.0 - static_cast<double>(k) / steps);
  }

  std::string_view name() const override { return "flow"; }
  std::span<const double> timesteps() const override { return timesteps_; }

  void step(int i, std::span<float> x, std::span<const float> prediction, std::span<float> history) const override {
    check_step(*this, i, x, prediction, history);
    const auto t = static_cast<float>(timesteps_[static_cast<std::size_t>(i)]);
    const float dt = 1.0f / static_cast<float>(timesteps_.size());
    for (std::size_t k = 0; k < x.size(); ++k) {
      history[k] = x[k] - t * prediction[k];
      x[k] -= dt * prediction[k];
    }
  }

 private:
  std::vector<double> timesteps_;
};

}  // namespace

std::unique_ptr<Sampler> make_flow_euler(int steps) {
  check_step_count(steps, kMaxSteps);
  return std::make_unique<FlowEuler>(steps);
}

}  // namespace vtissue::models
