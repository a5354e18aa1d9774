#pragma once

#include <initializer_list>
#include <utility>

#include "models/samplers/sampler.h"

/// What the files of the samplers share.
namespace vtissue::models {

/// Fills in a Sampler evaluation by evaluation.
class SamplerBuilder {
 public:
  explicit SamplerBuilder(const SamplerOptions& options) {
    sampler_.name_ = options.name;
    sampler_.half_state_ = options.half_state;
  }

  void velocity() { sampler_.velocity_ = true; }
  void learned_variance() { sampler_.needs_variance_ = true; }
  void history(int planes) { sampler_.history_planes_ = planes; }
  void sigmas(std::vector<double> sigmas) { sampler_.sigmas_ = std::move(sigmas); }
  void add(const Evaluation& evaluation, const Sampler::Update& update) {
    sampler_.evaluations_.push_back(evaluation);
    sampler_.updates_.push_back(update);
  }
  Sampler build() { return std::move(sampler_); }

 private:
  Sampler sampler_;
};

/// Throws Error kUsage unless 1 <= options.steps <= most.
void check_steps(const SamplerOptions& options, int most);

/// The spacing asked for, the first of `known` for kAuto. Throws Error kUsage unless it is known.
Spacing resolve_spacing(const SamplerOptions& options, std::initializer_list<Spacing> known);

Sampler make_dpmpp(const SamplerOptions& options, bool heun);
Sampler make_dpmpp_pixcell(const SamplerOptions& options);
Sampler make_ddim(const SamplerOptions& options);
Sampler make_respaced(const SamplerOptions& options, bool ancestral);
Sampler make_flow(const SamplerOptions& options, bool heun);

}  // namespace vtissue::models
