#include "stages/tile/tile_config.h"

#include <cmath>

#include "core/error.h"
#include "stages/tile/tissue_config.h"

namespace vtissue::stages {

std::vector<pipeline::ConfigKey> tile_config_keys() {
  using pipeline::ValueType;
  const TileOptions defaults;
  return {
      {.name = "tile.size_px",
       .type = ValueType::kInteger,
       .default_value = defaults.size_px,
       .description = "side of a tile in pixels at tile.mpp; even. What the denoiser makes: latents x 8",
       .minimum = 16,
       .maximum = 4096},
      {.name = "tile.mpp",
       .type = ValueType::kNumber,
       .default_value = defaults.mpp,
       .description = "µm/px of the tiles and of the virtual slide; not finer than the slide",
       .minimum = 0.05,
       .maximum = 20},
      {.name = "tile.min_tissue",
       .type = ValueType::kNumber,
       .default_value = defaults.min_tissue,
       .description = "tiles with a smaller share of tissue are left out; 0 keeps every tile with any",
       .minimum = 0,
       .maximum = 1},
      {.name = "tile.slide_mpp",
       .type = ValueType::kNumber,
       .default_value = nullptr,
       .description = "µm/px of the slide's level 0, instead of what the file says (--mpp)",
       .minimum = 0.05,
       .maximum = 20},
      {.name = "tile.region",
       .type = ValueType::kNumberList,
       .default_value = nullptr,
       .description = "x, y, width, height in level-0 pixels: only tiles with their centre inside (--region)"},
  };
}

TileOptions tile_options(const pipeline::Config& config) {
  TileOptions options;
  options.size_px = config.get<int>("tile.size_px");
  options.mpp = config.get<double>("tile.mpp");
  options.min_tissue = config.get<double>("tile.min_tissue");
  options.slide_mpp = config.get_optional<double>("tile.slide_mpp");
  options.tissue = tissue_options(config);
  if (const auto region = config.get_optional<std::vector<double>>("tile.region")) {
    if (region->size() != 4 || !((*region)[2] >= 1) || !((*region)[3] >= 1)) {
      throw Error(ErrorCode::kUsage,
                  "tile.region = [{}]: expected x, y, width, height in level-0 pixels, the last two "
                  "positive",
                  fmt::join(*region, ", "));
    }
    options.region = Box<Level0Px>{{std::llround((*region)[0]), std::llround((*region)[1])},
                                   {std::llround((*region)[2]), std::llround((*region)[3])}};
  }
  return options;
}

}  // namespace vtissue::stages
