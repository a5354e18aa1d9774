#pragma once

#include <optional>
#include <span>
#include <string>

#include "io/bitmap_font.h"
#include "io/pyramid_writer.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// A colour for 0..1 (clamped): dark blue over violet and red to pale yellow, lightness rising throughout. Pure.
io::Rgb heat_colour(double share);

struct TileMapText {
  std::string title;
  std::string unit;          ///< of the legend: "levels", "1 - cosine"
  double low = 0, high = 1;  ///< ends of the colours
};

/// A figure of each tile as a picture of the slide: one square a tile in heat_colour() of its place between low and
/// high, grey where there is none, white beside the tissue; title above, legend and the SYNTHETIC notice below.
/// `values` [tiles]. No side of the map itself is over some 1024 px.
io::RgbImage draw_tile_map(const io::TileSet& tiles, std::span<const std::optional<double>> values,
                           const TileMapText& text);

/// The smallest and largest share of 2 % at the ends cut off: a range of colours that one odd tile does not decide. low
/// < high even if all are equal; 0 and 1 if there is none.
std::pair<double, double> colour_range(std::span<const std::optional<double>> values);

}  // namespace vtissue::stages
