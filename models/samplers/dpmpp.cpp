#include <cmath>

#include "models/samplers/sampler.h"
#include "models/samplers/steps.h"

namespace vtissue::models {
namespace {

constexpr int kTrainTimesteps = 1000;
constexpr float kBetaStart = 1e-4f;
constexpr float kBetaEnd = 2e-2f;

/// sigma(t) = sqrt((1 - ab_t) / ab_t) in float, as the reference has it: the running product is kept in double, but
/// every ab_t is rounded.
std::vector<float> training_sigmas() {
  // PyTorch's linspace counts from both ends.
  const float step = (kBetaEnd - kBetaStart) / (kTrainTimesteps - 1);
  std::vector<float> sigmas(kTrainTimesteps);
  double product = 1.0;
  for (int t = 0; t < kTrainTimesteps; ++t) {
    const float beta = t < kTrainTimesteps / 2 ? kBetaStart + step * static_cast<float>(t)
                                               : kBetaEnd - step * static_cast<float>(kTrainTimesteps - 1 - t);
    product *= 1.0f - beta;
    const auto alpha_bar = static_cast<float>(product);
    sigmas[static_cast<std::size_t>(t)] = std::sqrt((1.0f - alpha_bar) / alpha_bar);
  }
  return sigmas;
}

/// What a step is made of; x0 = (x - sigma * eps) / alpha, x <- a x + c0 x0 + c1 previous x0.
struct Coefficients {
  float alpha;
  float sigma;
  float a;
  float c0;
  float c1;
};

class Dpmpp2m final : public Sampler {
 public:
  explicit Dpmpp2m(int steps) {
    const std::vector<float> all = training_sigmas();
    std::vector<float> sigmas;
    // The step is computed first: k * 999 / N gives other timesteps for 92 values of N below 1,000.
    const double spacing = static_cast<double>(kTrainTimesteps - 1) / steps;
    for (int k = steps; k >= 1; --k) {
      const double t = std::nearbyint(k * spacing);
      timesteps_.push_back(t);
      sigmas.push_back(all[static_cast<std::size_t>(t)]);
    }
    coefficients_.reserve(static_cast<std::size_t>(steps));
    for (int i = 0; i < steps; ++i) coefficients_.push_back(coefficients(sigmas, i));
  }

  std::string_view name() const override { return "dpmpp"; }
  std::span<const double> timesteps() const override { return timesteps_; }

  void step(int i, std::span<float> x, std::span<const float> prediction, std::span<float> history) const override {
    check_step(*this, i, x, prediction, history);
    const Coefficients c = coefficients_[static_cast<std::size_t>(i)];
    for (std::size_t k = 0; k < x.size(); ++k) {
      const float x0 = (x[k] - c.sigma * prediction[k]) / c.alpha;
      x[k] = c.a * x[k] + c.c0 * x0 + c.c1 * history[k];
      history[k] = x0;
    }
  }

 private:
  static Coefficients coefficients(const std::vector<float>& sigmas, int i) {
    const auto at = [&](int k) { return static_cast<double>(sigmas[static_cast<std::size_t>(k)]); };
    const auto alpha = [](double sigma) { return 1.0 / std::sqrt(1.0 + sigma * sigma); };
    const double now = at(i);
    Coefficients c{};
    c.alpha = static_cast<float>(alpha(now));
    c.sigma = static_cast<float>(now * alpha(now));
    if (i + 1 == static_cast<int>(sigmas.size())) {
      // Sigma zero: the limit of the formula is the estimate itself.
      c.c0 = 1.0f;
      return c;
    }
    const double next = at(i + 1);
    const double h = std::log(now) - std::log(next);  // lambda = -log(sigma)
    const double scale = -alpha(next) * std::expm1(-h);
    c.a = static_cast<float>(next * alpha(next) / (now * alpha(now)));
    double extrapolation = 0.0;  // 0.5 / r0; the first step has no history
    if (i > 0) extrapolation = 0.5 * h / (std::log(at(i - 1)) - std::log(now));
    c.c0 = static_cast<float>(scale * (1.0 + extrapolation));
    c.c1 = static_cast<float>(-scale * extrapolation);
    return c;
  }

  std::vector<double> timesteps_;
  std::vector<Coefficients> coefficients_;
};

}  // namespace

std::unique_ptr<Sampler> make_dpmpp_2m(int steps) {
  check_step_count(steps, kTrainTimesteps);
  return std::make_unique<Dpmpp2m>(steps);
}

}  // namespace vtissue::models
