#include "models/samplers/sampler.h"

#include <c10/util/Half.h>
#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "models/samplers/builder.h"

namespace vtissue::models {
namespace {

constexpr std::array<std::string_view, 8> kSamplerNames = {"dpmpp",         "dpmpp_heun", "dpmpp_pixcell", "ddim",
                                                           "ddim_respaced", "iddpm",      "flow",          "flow_heun"};

void check_length(std::string_view what, std::size_t size, std::size_t expected) {
  if (size != expected) {
    throw Error(ErrorCode::kUsage, "a sampler's update over {} values was given {} of {}", expected, size, what);
  }
}

float to_half(float value) { return static_cast<float>(c10::Half(value)); }

}  // namespace

std::string_view to_string(Spacing spacing) {
  switch (spacing) {
    case Spacing::kAuto:
      return "auto";
    case Spacing::kLinspace:
      return "linspace";
    case Spacing::kLeading:
      return "leading";
    case Spacing::kTrailing:
      return "trailing";
    case Spacing::kUniform:
      return "uniform";
    case Spacing::kDiffusers:
      return "diffusers";
  }
  return "?";
}

void check_steps(const SamplerOptions& options, int most) {
  if (options.steps < 1 || options.steps > most) {
    throw Error(ErrorCode::kUsage, "sampler steps {}: {} takes 1 to {}", options.steps, options.name, most);
  }
}

Spacing resolve_spacing(const SamplerOptions& options, std::initializer_list<Spacing> known) {
  if (options.spacing == Spacing::kAuto) return *known.begin();
  if (std::find(known.begin(), known.end(), options.spacing) != known.end()) return options.spacing;
  std::vector<std::string_view> names{to_string(Spacing::kAuto)};
  for (const Spacing spacing : known) names.push_back(to_string(spacing));
  throw Error(ErrorCode::kUsage, "spacing \"{}\" of sampler {}: it knows {}", to_string(options.spacing), options.name,
              fmt::join(names, ", "));
}

NoiseLevel Sampler::level(int i) const {
  if (i < 0 || i >= static_cast<int>(evaluations_.size())) {
    throw Error(ErrorCode::kUsage, "evaluation {} of a sampler of {}", i, evaluations_.size());
  }
  const Evaluation& evaluation = evaluations_[static_cast<std::size_t>(i)];
  if (velocity_) return {static_cast<float>(1 - evaluation.t), static_cast<float>(evaluation.t)};
  const double ratio = sigmas_[static_cast<std::size_t>(evaluation.step)];
  const double signal = 1 / std::sqrt(1 + ratio * ratio);
  return {static_cast<float>(signal), static_cast<float>(ratio * signal)};
}

void Sampler::update(int i, const StepBlock& block) const {
  if (i < 0 || i >= static_cast<int>(updates_.size())) {
    throw Error(ErrorCode::kUsage, "evaluation {} of a sampler of {}", i, updates_.size());
  }
  const Update& u = updates_[static_cast<std::size_t>(i)];
  const std::size_t n = block.x.size();
  const bool noisy = u.noise != 0;
  check_length("predictions", block.prediction.size(), n);
  if (history_planes_ >= 1) check_length("history", block.history.size(), n);
  if (history_planes_ >= 2) check_length("second history", block.history2.size(), n);
  if (noisy) check_length("noise", block.noise.size(), n);
  if (noisy && u.learned_variance) check_length("variance", block.variance.size(), n);
  if (half_state_) {
    update_half(u, block);
    return;
  }
  for (std::size_t k = 0; k < n; ++k) {
    const float x = block.x[k];
    const float prediction = block.prediction[k];
    const float x0 = (x - u.sigma * prediction) / u.alpha;
    float next = u.x * x + u.x0 * x0;
    if (u.prediction != 0) next += u.prediction * prediction;
    if (u.history != 0) next += u.history * block.history[k];
    if (u.history2 != 0) next += u.history2 * block.history2[k];
    if (noisy) {
      float scale = u.noise;
      if (u.learned_variance) {
        const float share = (block.variance[k] + 1) / 2;
        scale *= std::exp(0.5f * (share * u.log_variance_high + (1 - share) * u.log_variance_low));
      }
      next += scale * block.noise[k];
    }
    if (u.store == Update::Store::kEstimate) block.history[k] = x0;
    if (u.store == Update::Store::kStart) {
      block.history[k] = x;
      block.history2[k] = prediction;
    }
    block.x[k] = next;
  }
}

/// Roundings where a float16 pipeline has them: each operation on float16 tensors rounds its result, the update adds up
/// in float32. PyTorch keeps a scalar in float32 only where it stands to the right of the tensor (x0's division); one
/// to the left, sigma * prediction and all factors of the update, is rounded to the tensor's type first.
void Sampler::update_half(const Update& u, const StepBlock& block) const {
  const float sigma = to_half(u.sigma);
  const float base = to_half(u.base);
  const float weight = to_half(u.weight);
  const float inverse_r = to_half(u.inverse_r);
  for (std::size_t k = 0; k < block.x.size(); ++k) {
    const float x = block.x[k];
    const float x0 = to_half(to_half(x - to_half(sigma * block.prediction[k])) / u.alpha);
    float next = u.x * x + to_half(base * x0);
    if (weight != 0) next += to_half(weight * to_half(inverse_r * to_half(x0 - block.history[k])));
    block.history[k] = x0;
    block.x[k] = to_half(next);
  }
}

std::span<const std::string_view> sampler_names() { return kSamplerNames; }

Sampler make_sampler(const SamplerOptions& options) {
  if (!(options.shift > 0) || !std::isfinite(options.shift)) {
    throw Error(ErrorCode::kUsage, "sampler shift {}: expected a positive number", options.shift);
  }
  const bool flow = options.name == "flow" || options.name == "flow_heun";
  if (options.shift != 1 && !flow) {
    throw Error(ErrorCode::kUsage, "sampler shift {} with {}: only the flow samplers have one", options.shift,
                options.name);
  }
  if (options.half_state && options.name != "dpmpp" && options.name != "dpmpp_heun") {
    throw Error(ErrorCode::kUsage, "a float16 state with {}: only dpmpp and dpmpp_heun have one", options.name);
  }
  if (options.name == "dpmpp") return make_dpmpp(options, /*heun=*/false);
  if (options.name == "dpmpp_heun") return make_dpmpp(options, /*heun=*/true);
  if (options.name == "dpmpp_pixcell") return make_dpmpp_pixcell(options);
  if (options.name == "ddim") return make_ddim(options);
  if (options.name == "ddim_respaced") return make_respaced(options, /*ancestral=*/false);
  if (options.name == "iddpm") return make_respaced(options, /*ancestral=*/true);
  if (flow) return make_flow(options, options.name == "flow_heun");
  throw Error(ErrorCode::kUsage, "sampler \"{}\": known are {}", options.name, fmt::join(kSamplerNames, ", "));
}

}  // namespace vtissue::models
