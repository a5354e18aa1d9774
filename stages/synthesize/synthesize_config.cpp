#include "stages/synthesize/synthesize_config.h"

#include <string>
#include <utility>

namespace vtissue::stages {
namespace {

std::vector<std::string> sampler_choices() {
  std::vector<std::string> choices{"auto"};
  for (const std::string_view name : models::sampler_names()) choices.emplace_back(name);
  return choices;
}

pipeline::ConfigKey interval_key(std::string name, double value, const std::string& what) {
  return {.name = std::move(name),
          .type = pipeline::ValueType::kNumber,
          .default_value = value,
          .description = what + " (0..1; 1 is pure noise); elsewhere its weight is 1",
          .minimum = 0,
          .maximum = 1};
}

models::Spacing spacing_of(const std::string& name) {
  using models::Spacing;
  for (const Spacing spacing :
       {Spacing::kLinspace, Spacing::kLeading, Spacing::kTrailing, Spacing::kUniform, Spacing::kDiffusers}) {
    if (name == models::to_string(spacing)) return spacing;
  }
  return Spacing::kAuto;
}

models::Guidance::Form form_of(const std::string& name) {
  using Form = models::Guidance::Form;
  if (name == "gene_first") return Form::kGeneFirst;
  if (name == "ordinary") return Form::kOrdinary;
  if (name == "expression_only") return Form::kExpressionOnly;
  return Form::kMorphologyFirst;
}

}  // namespace

std::vector<pipeline::ConfigKey> synthesize_config_keys() {
  using pipeline::ValueType;
  return {
      {.name = "synthesize.mode",
       .type = ValueType::kString,
       .default_value = "shifted",
       .description =
           "where the denoiser's windows lie: shifted (in every step at another offset, the last ones blended: no "
           "seams), overlap (half a window's stride in every step, blended: four times the cost), independent (each "
           "tile alone: the tiles' grid shows)",
       .choices = {"shifted", "overlap", "independent"}},
      {.name = "synthesize.blended_steps",
       .type = ValueType::kInteger,
       .default_value = 2,
       .description = "shifted: so many last steps overlap and are blended (0..1000); each costs four times as much",
       .minimum = 0,
       .maximum = 1000},
      {.name = "synthesize.conditions",
       .type = ValueType::kString,
       .default_value = "interpolated",
       .description =
           "conditions of windows between the tiles: interpolated (means of the tiles under a window) or exact (embed, "
           "express and encode run where each step's windows lie: some 26 times as many squares for 20 steps)",
       .choices = {"interpolated", "exact"}},
      {.name = "synthesize.canvas_mb",
       .type = ValueType::kInteger,
       .default_value = 1024,
       .description = "latents of more megabytes than this are kept in a file beside the work folder instead of memory",
       .minimum = 0,
       .maximum = 1000000},
      {.name = "synthesize.seed",
       .type = ValueType::kInteger,
       .default_value = 0,
       .description = "seed of the initial noise",
       .minimum = 0},
      {.name = "synthesize.steps",
       .type = ValueType::kInteger,
       .default_value = 20,
       .description = "sampler steps (1..1000); each costs up to three evaluations of the network",
       .minimum = 1,
       .maximum = 1000},
      {.name = "synthesize.sampler",
       .type = ValueType::kString,
       .default_value = "auto",
       .description =
           "velocity models: flow (Euler), flow_heun (two evaluations a step); epsilon models: dpmpp "
           "(DPM-Solver++(2M)), dpmpp_heun (its heun variant), dpmpp_pixcell (in continuous time, as "
           "PixCell's scripts), ddim, ddim_respaced, iddpm (ancestral, with the model's variance); auto: flow "
           "or dpmpp, by the model",
       .choices = sampler_choices()},
      {.name = "synthesize.spacing",
       .type = ValueType::kString,
       .default_value = "auto",
       .description =
           "where the steps lie: linspace, leading or trailing (dpmpp, dpmpp_heun, ddim), uniform or diffusers "
           "(flow, flow_heun: 1 - k/N, or diffusers' linspace(1, 0.001, N)); auto: linspace, leading for "
           "ddim, uniform for flow",
       .choices = {"auto", "linspace", "leading", "trailing", "uniform", "diffusers"}},
      {.name = "synthesize.shift",
       .type = ValueType::kNumber,
       .default_value = 1.0,
       .description =
           "flow samplers: t becomes shift t / (1 + (shift - 1) t) (0.01..100); above 1 spends more steps on "
           "noisy states",
       .minimum = 0.01,
       .maximum = 100},
      {.name = "synthesize.guidance_morphology",
       .type = ValueType::kNumber,
       .default_value = 2.0,
       .description = "weight w_m of the morphology condition (0..20); 1: no guidance",
       .minimum = 0,
       .maximum = 20},
      {.name = "synthesize.guidance_gene",
       .type = ValueType::kNumber,
       .default_value = 1.0,
       .description = "weight w_g of the expression condition (0..20); 0: expression is not used",
       .minimum = 0,
       .maximum = 20},
      {.name = "synthesize.guidance_form",
       .type = ValueType::kString,
       .default_value = "morphology_first",
       .description =
           "morphology_first or gene_first: the other condition is nested in it; ordinary: both at once, with "
           "the weight of the morphology; expression_only: no morphology",
       .choices = {"morphology_first", "gene_first", "ordinary", "expression_only"}},
      interval_key("synthesize.guidance_morphology_low", 0.0, "lowest noise level at which the morphology is guided"),
      interval_key("synthesize.guidance_morphology_high", 1.0, "highest noise level at which the morphology is guided"),
      interval_key("synthesize.guidance_gene_low", 0.0, "lowest noise level at which the expression is guided"),
      interval_key("synthesize.guidance_gene_high", 1.0, "highest noise level at which the expression is guided"),
      {.name = "synthesize.chunk_tiles",
       .type = ValueType::kInteger,
       .default_value = 16,
       .description = "tiles committed at once; rounded up to whole micro-batches of the denoiser",
       .minimum = 1,
       .maximum = 4096},
  };
}

SynthesizeOptions synthesize_options(const pipeline::Config& config) {
  const auto interval = [&](const std::string& key) {
    return models::Guidance::Interval{config.get<float>(key + "_low"), config.get<float>(key + "_high")};
  };
  return {.seed = config.get<std::uint64_t>("synthesize.seed"),
          .steps = config.get<int>("synthesize.steps"),
          .sampler = config.get<std::string>("synthesize.sampler"),
          .spacing = spacing_of(config.get<std::string>("synthesize.spacing")),
          .shift = config.get<double>("synthesize.shift"),
          .guidance = {.form = form_of(config.get<std::string>("synthesize.guidance_form")),
                       .morphology = config.get<float>("synthesize.guidance_morphology"),
                       .gene = config.get<float>("synthesize.guidance_gene"),
                       .morphology_interval = interval("synthesize.guidance_morphology"),
                       .gene_interval = interval("synthesize.guidance_gene")},
          .mode = parse_synthesis_mode(config.get<std::string>("synthesize.mode")),
          .exact_conditions = config.get<std::string>("synthesize.conditions") == "exact",
          .blended_steps = config.get<int>("synthesize.blended_steps"),
          .canvas_bytes = config.get<std::int64_t>("synthesize.canvas_mb") << 20,
          .chunk_tiles = config.get<int>("synthesize.chunk_tiles")};
}

}  // namespace vtissue::stages
