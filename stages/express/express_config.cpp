#include "stages/express/express_config.h"

#include <string>

namespace vtissue::stages {

std::vector<pipeline::ConfigKey> express_config_keys() {
  using pipeline::ValueType;
  const ExpressOptions defaults;
  return {
      {.name = "express.mapping",
       .type = ValueType::kString,
       .default_value = std::string(io::to_string(defaults.measured.mapping)),
       .description =
           "how a tile takes measured expression from the spots: the nearest that reaches it, all that reach it "
           "weighted by distance, or interpolate also between spots",
       .choices = {"nearest", "distance", "interpolate"}},
      {.name = "express.max_distance_um",
       .type = ValueType::kNumber,
       .default_value = nullptr,
       .description = "farthest spot from a tile's centre, µm; unset: spot radius and half a tile (nearest), half its "
                      "diagonal (distance), 1.5 times the spots' pitch (interpolate)",
       .minimum = 1,
       .maximum = 10000},
      {.name = "express.min_matched_genes",
       .type = ValueType::kNumber,
       .default_value = defaults.measured.min_matched_genes,
       .description = "share of the gene encoder's genes that a measurement must have",
       .minimum = 0,
       .maximum = 1},
      {.name = "express.chunk_tiles",
       .type = ValueType::kInteger,
       .default_value = defaults.chunk_tiles,
       .description = "predicted tiles committed at once; rounded up to whole micro-batches of the predictor",
       .minimum = 1,
       .maximum = 65536},
  };
}

ExpressOptions express_options(const pipeline::Config& config) {
  ExpressOptions options;
  options.measured.mapping = io::parse_spot_mapping(config.get<std::string>("express.mapping"));
  options.measured.max_distance_um = config.get_optional<double>("express.max_distance_um");
  options.measured.min_matched_genes = config.get<double>("express.min_matched_genes");
  options.chunk_tiles = config.get<int>("express.chunk_tiles");
  return options;
}

}  // namespace vtissue::stages
