#include "cli/export_tissue.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/slide_reader.h"
#include "io/tile_store.h"
#include "stages/tile/tissue_geojson.h"

namespace vtissue::cli {

void add_export_tissue(CLI::App& command, Action& action) {
  CLI::App* tissue = command.add_subcommand("tissue", "The tissue's outlines as GeoJSON, for QuPath");
  struct Arguments {
    std::filesystem::path tiles, out, slide;
  };
  const auto arguments = std::make_shared<Arguments>();
  tissue->add_option("tiles", arguments->tiles, "tiles.h5")->required();
  tissue->add_option("--out", arguments->out, "GeoJSON file to write")->required();
  tissue->add_option("--slide", arguments->slide,
                     "the slide: coordinates then count from its non-empty area, as QuPath shows MIRAX, Leica and "
                     "Ventana; without it from level 0's corner");
  tissue->callback([&action, arguments] {
    action = [arguments] {
      const io::TileSet tiles = io::read_tiles(arguments->tiles);
      if (tiles.pixel_aspect != 1) {
        throw Error(ErrorCode::kBadInput, "{}: the slide's pixels are not square, and outlines are not scaled",
                    arguments->tiles.string());
      }
      Point<Level0Px> origin;
      if (!arguments->slide.empty()) {
        const auto slide = io::SlideReader::open(arguments->slide);
        const Size<LevelPx> size = slide->info().levels.front().size;
        if (size.width != tiles.slide_size.width || size.height != tiles.slide_size.height) {
          throw Error(ErrorCode::kUsage, "{} is {} x {}, but the slide of {} is {} x {}: not the same slide",
                      arguments->slide.string(), size.width, size.height, arguments->tiles.string(),
                      tiles.slide_size.width, tiles.slide_size.height);
        }
        if (const auto& bounds = slide->info().bounds) origin = bounds->origin;
      }
      write_file_atomically(arguments->out, stages::tissue_geojson(tiles, origin));
      std::cout << arguments->out.string() << '\n';
      return 0;
    };
  });
}

}  // namespace vtissue::cli
