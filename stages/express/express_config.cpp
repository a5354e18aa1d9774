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
           "weighted by distance, interpolate also between spots, or pool the counts of all in it; auto: pool where "
           "the "
           "spots are bins of at most half a tile's side, else nearest",
       .choices = {"auto", "nearest", "distance", "interpolate", "pool"}},
      {.name = "express.max_distance_um",
       .type = ValueType::kNumber,
       .default_value = nullptr,
       .description = "farthest spot from a tile's centre, µm; unset: spot radius and half a tile (nearest), half its "
                      "diagonal (distance), 1.5 times the spots' pitch (interpolate), the tile itself (pool)",
       .minimum = 1,
       .maximum = 10000},
      {.name = "express.min_matched_genes",
       .type = ValueType::kNumber,
       .default_value = defaults.measured.min_matched_genes,
       .description = "share of the gene encoder's genes that a measurement must have",
       .minimum = 0,
       .maximum = 1},
      {.name = "express.bin_um",
       .type = ValueType::kInteger,
       .default_value = defaults.measured.bin_um,
       .description = "side of the bins that are taken of a Visium HD folder with several, µm",
       .minimum = 1,
       .maximum = 1000},
      {.name = "express.on_misalignment",
       .type = ValueType::kString,
       .default_value = std::string("fail"),
       .description =
           "what happens if the spots fit the slide's tissue clearly better with x and y swapped, mirrored or "
           "at another scale: fail, or warn and go on with them as they are",
       .choices = {"fail", "warn"}},
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
  options.measured.bin_um = config.get<int>("express.bin_um");
  options.measured.refuse_misaligned = config.get<std::string>("express.on_misalignment") == "fail";
  options.chunk_tiles = config.get<int>("express.chunk_tiles");
  return options;
}

}  // namespace vtissue::stages
