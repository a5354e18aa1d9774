#include "stages/tile/tile_config.h"

#include <cmath>
#include <string>

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
      {.name = "tile.overlap_px",
       .type = ValueType::kInteger,
       .default_value = defaults.overlap_px,
       .description =
           "pixels at tile.mpp that neighbouring tiles share; even, below tile.size_px. Synthesis takes 0 alone",
       .minimum = 0,
       .maximum = 4094},
      {.name = "tile.shift",
       .type = ValueType::kString,
       .default_value = "none",
       .description = "where the grid begins: none (the slide's corner), or half a tile before it in both axes (half; "
                      "synthesis takes it in mode independent alone)",
       .choices = {"none", "half"}},
      {.name = "tile.icc",
       .type = ValueType::kString,
       .default_value = "ignore",
       .description = "the slide's colour profile: ignore (its numbers as they are), or srgb (converted to sRGB by it, "
                      "relative colorimetric, in all stages)",
       .choices = {"ignore", "srgb"}},
      {.name = "tile.min_inside",
       .type = ValueType::kNumber,
       .default_value = defaults.min_inside,
       .description = "tiles at the edge with a smaller share of their area on the slide are left out; 1: none reaches "
                      "over the edge",
       .minimum = 0,
       .maximum = 1},
      {.name = "tile.coordinates",
       .type = ValueType::kPath,
       .default_value = nullptr,
       .description = "file of coordinates by CLAM or TRIDENT: its patches are the tiles, instead of a grid's "
                      "(--coordinates)"},
  };
}

TileOptions tile_options(const pipeline::Config& config) {
  TileOptions options;
  options.size_px = config.get<int>("tile.size_px");
  options.mpp = config.get<double>("tile.mpp");
  options.min_tissue = config.get<double>("tile.min_tissue");
  options.slide_mpp = config.get_optional<double>("tile.slide_mpp");
  options.overlap_px = config.get<int>("tile.overlap_px");
  options.to_srgb = config.get<std::string>("tile.icc") == "srgb";
  options.half_shift = config.get<std::string>("tile.shift") == "half";
  options.min_inside = config.get<double>("tile.min_inside");
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
