#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "io/pyramid_writer.h"
#include "io/tile_reader.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// Target pixels per pixel of a picture of the whole slide with no side over `longest_px`; at least 1.
double overview_ratio(const io::TileSet& tiles, int longest_px);

/// The extent of the virtual slide, from the real slide or from the virtual one: `reader` sees its slide at
/// ratio * target_mpp. Both pictures have the same size.
/// Parts that cannot be decoded are hatched grey and counted in `unreadable`; without it they are an Error kBadInput.
io::RgbImage read_overview(const io::TileReader& reader, const io::TileSet& tiles, double ratio,
                           std::size_t* unreadable = nullptr);

/// The real slide's overview with what the run made of it: outside the tissue mask paler, tiles outlined.
io::RgbImage draw_overlay(io::RgbImage real, const io::TileSet& tiles, double ratio);

/// Indices of up to `count` tiles, evenly spread over the ranks by share of tissue, most tissue first. For a tile that
/// `usable` refuses (asked at most once a tile) the next in rank that is not taken stands in, else the one before.
std::vector<std::size_t> choose_tiles(const io::TileSet& tiles, int count,
                                      const std::function<bool(std::size_t index)>& usable);

/// Two pictures of one height side by side on white, captions above, for preview.png.
io::RgbImage draw_preview(const io::RgbImage& real, const io::RgbImage& synthetic);

}  // namespace vtissue::stages
