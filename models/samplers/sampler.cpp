#include "models/samplers/sampler.h"

#include "core/error.h"
#include "models/samplers/steps.h"

namespace vtissue::models {

void check_step_count(int steps, int most) {
  if (steps < 1 || steps > most) throw Error(ErrorCode::kUsage, "sampler steps {}: expected 1 to {}", steps, most);
}

void check_step(const Sampler& sampler, int i, std::span<const float> x, std::span<const float> prediction,
                std::span<const float> history) {
  if (i < 0 || i >= static_cast<int>(sampler.timesteps().size())) {
    throw Error(ErrorCode::kUsage, "step {} of a sampler of {} steps", i, sampler.timesteps().size());
  }
  if (prediction.size() != x.size() || history.size() != x.size()) {
    throw Error(ErrorCode::kUsage, "a step over {} values was given {} predictions and {} of history", x.size(),
                prediction.size(), history.size());
  }
}

std::unique_ptr<Sampler> make_sampler(std::string_view name, int steps) {
  if (name == "dpmpp") return make_dpmpp_2m(steps);
  if (name == "flow") return make_flow_euler(steps);
  throw Error(ErrorCode::kUsage, "sampler \"{}\": known are \"dpmpp\" and \"flow\"", name);
}

}  // namespace vtissue::models
