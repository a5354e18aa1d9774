#include "cli/region_arguments.h"

#include <CLI/CLI.hpp>

namespace vtissue::cli {

void RegionArguments::add_to(CLI::App& command) {
  command
      .add_option(
          "--region", region,
          "only here: a GeoJSON file of polygons, or x,y,width,height, in level-0 pixels; by default all of the slide")
      ->type_name("FILE|BOX");
  command.add_option("--region-of", region_of, "the picture whose level-0 pixels the region is given in")
      ->check(CLI::IsMember({"slide", "virtual"}))
      ->capture_default_str();
  command.add_option("--tile", tiles, "only this tile: column,row in half tiles; may be repeated")->type_name("C,R");
}

stages::RegionOptions RegionArguments::options() const {
  stages::RegionOptions options;
  options.of_virtual = region_of == "virtual";
  for (const std::string& tile : tiles) options.cells.push_back(stages::parse_tile(tile));
  if (!region.empty()) options.box = stages::parse_region_box(region);
  return options;
}

std::filesystem::path RegionArguments::file() const {
  return region.empty() || stages::parse_region_box(region) ? std::filesystem::path() : std::filesystem::path(region);
}

}  // namespace vtissue::cli
