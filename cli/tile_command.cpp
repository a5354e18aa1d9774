#include "cli/line.h"
#include "cli/stage_command.h"

namespace vtissue::cli {

void add_tile_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(app, "tile", "Find the tissue and lay the tile grid: slide → tiles.h5");
  command->input("slide", "whole-slide image, or a plain TIFF, PNG or JPEG").output("tiles", "tiles.h5 to write");
  command->input_or_key("annotations", "tissue.annotations", "GeoJSON of QuPath or others: tissue is only within")
      .input_or_key("tissue_mask", "tissue.mask", "picture of the whole slide, not black where there is tissue")
      .input_or_key("coordinates", "tile.coordinates",
                    "coordinates by CLAM or TRIDENT (.h5): its patches are the tiles");
  command->with_slide_options();
  command->with_shards();
  command->runs(action, [](const pipeline::Config& config, Engines&) { return make_tile_stage(config); });
}

}  // namespace vtissue::cli
