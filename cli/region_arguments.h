#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "stages/perturb/region.h"

namespace CLI {
class App;
}

namespace vtissue::cli {

/// The part of a run that a command is about: --region, --region-of and --tile.
struct RegionArguments {
  std::string region, region_of = "slide";
  std::vector<std::string> tiles;

  void add_to(CLI::App& command);

  /// What is said in the command line alone. Throws Error kUsage.
  stages::RegionOptions options() const;
  /// The GeoJSON file that --region names; empty if it names a box or nothing.
  std::filesystem::path file() const;
};

}  // namespace vtissue::cli
