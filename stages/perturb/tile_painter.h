#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "core/units.h"
#include "io/latent_store.h"
#include "io/pyramid_writer.h"
#include "io/tile_store.h"
#include "models/engines.h"
#include "stages/stitch/latent_decoder.h"

namespace vtissue::stages {

/// Pictures of a store of latents, perhaps of a part of a slide: what it lacks counts as empty glass. Calls queue up on
/// the device.
class TilePainter {
 public:
  /// `autoencoder` must outlive it. Throws Error kBadInput, kModel as require_decodable().
  TilePainter(const io::TileSet& tiles, const std::filesystem::path& latents, const models::Autoencoder& autoencoder,
              std::array<std::uint8_t, 3> glass);

  const io::LatentReader& latents() const { return latents_; }
  /// The tiles of `cells`, which lie close to each other, [n, tile_px, tile_px, 3].
  std::vector<std::uint8_t> paint_tiles(std::span<const TileCell> cells) const;
  io::RgbImage paint(Box<TargetPx> box) const;

 private:
  io::LatentReader latents_;
  io::TileSet tiles_;
  std::array<std::uint8_t, 3> glass_;
  LatentDecoder decoder_;
};

/// Tiles (indices in tiles.cells, ascending) in groups that lie within one square of some 1024 px each; the groups by
/// row, then column, and within them ascending.
std::vector<std::vector<std::size_t>> nearby_groups(const io::TileSet& tiles, std::span<const std::size_t> chosen);

}  // namespace vtissue::stages
