#include "stages/evaluate/evaluate_config.h"

namespace vtissue::stages {

std::vector<pipeline::ConfigKey> evaluate_config_keys() {
  using pipeline::ValueType;
  const EvaluateOptions defaults;
  return {
      {.name = "evaluate.max_tiles",
       .type = ValueType::kInteger,
       .default_value = defaults.max_tiles,
       .description = "of a slide with more tiles so many, evenly spread, are compared",
       .minimum = 2,
       .maximum = 100000},
      {.name = "evaluate.seam_boxes",
       .type = ValueType::kInteger,
       .default_value = defaults.seam_boxes,
       .description = "squares of 1024 px, evenly spread over the tissue, in which seams are looked for",
       .minimum = 1,
       .maximum = 100000},
      {.name = "evaluate.chunk_tiles",
       .type = ValueType::kInteger,
       .default_value = defaults.chunk_tiles,
       .description = "tiles committed at once; rounded up to whole micro-batches of the encoder",
       .minimum = 1,
       .maximum = 65536},
  };
}

EvaluateOptions evaluate_options(const pipeline::Config& config) {
  EvaluateOptions options;
  options.max_tiles = config.get<int>("evaluate.max_tiles");
  options.chunk_tiles = config.get<int>("evaluate.chunk_tiles");
  options.seam_boxes = config.get<int>("evaluate.seam_boxes");
  return options;
}

}  // namespace vtissue::stages
