#pragma once

#include <span>

#include "models/samplers/sampler.h"

/// Checks shared by the samplers.
namespace vtissue::models {

/// Throws Error kUsage unless 1 <= steps <= most.
void check_step_count(int steps, int most);

/// Throws Error kUsage unless i is a step of `sampler` and the arrays are equally long.
void check_step(const Sampler& sampler, int i, std::span<const float> x, std::span<const float> prediction,
                std::span<const float> history);

}  // namespace vtissue::models
