#include "stages/synthesize/synthesize_config.h"

#include <string>

namespace vtissue::stages {

std::vector<pipeline::ConfigKey> synthesize_config_keys() {
  using pipeline::ValueType;
  return {
      {.name = "synthesize.mode",
       .type = ValueType::kString,
       .default_value = "independent",
       .description = "how tiles meet: independent (each tile alone)",
       .choices = {"independent"}},
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
       .description = "flow (Euler; velocity models), dpmpp (DPM-Solver++(2M); epsilon models), or auto: by the model",
       .choices = {"auto", "flow", "dpmpp"}},
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
       .description = "nesting of the two conditions (models.md 1.2.6)",
       .choices = {"morphology_first", "gene_first"}},
      {.name = "synthesize.chunk_tiles",
       .type = ValueType::kInteger,
       .default_value = 16,
       .description = "tiles committed at once; rounded up to whole micro-batches of the denoiser",
       .minimum = 1,
       .maximum = 4096},
  };
}

SynthesizeOptions synthesize_options(const pipeline::Config& config) {
  using Form = models::Guidance::Form;
  return {
      .seed = config.get<std::uint64_t>("synthesize.seed"),
      .steps = config.get<int>("synthesize.steps"),
      .sampler = config.get<std::string>("synthesize.sampler"),
      .guidance = {.form = config.get<std::string>("synthesize.guidance_form") == "gene_first" ? Form::kGeneFirst
                                                                                               : Form::kMorphologyFirst,
                   .morphology = config.get<float>("synthesize.guidance_morphology"),
                   .gene = config.get<float>("synthesize.guidance_gene")},
      .mode = SynthesisMode::kIndependent,
      .chunk_tiles = config.get<int>("synthesize.chunk_tiles")};
}

}  // namespace vtissue::stages
