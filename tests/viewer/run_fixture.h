#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "io/pyramid_writer.h"
#include "io/tile_store.h"

namespace vtissue::testing {

/// A small run's folder as `vtissue run` leaves it, made without networks: the virtual slide is a picture, too.
struct MadeRun {
  std::filesystem::path folder, slide;
  io::TileSet tiles;
  std::vector<std::string> genes;
  std::vector<float> expression;  ///< [tiles, genes]; tile 3 has none
};

inline constexpr std::size_t kTileWithoutExpression = 3;

/// Writes `folder`/virtual.tiff and so on, and the real slide as `slide`; `genes` of them, the first GENE0 growing from
/// left to right.
MadeRun make_run(const std::filesystem::path& folder, const std::filesystem::path& slide, std::size_t genes = 40);

}  // namespace vtissue::testing
