#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "core/units.h"
#include "io/latent_store.h"
#include "io/tile_store.h"
#include "models/engines.h"

namespace vtissue::stages {

/// Throws Error kBadInput unless latents and tiles are of the same cells and slide, kModel unless the autoencoder has
/// the latents' channels and scale. The paths are for messages.
void require_decodable(const std::filesystem::path& folder, const io::LatentReader& latents,
                       const std::filesystem::path& tiles_path, const io::TileSet& tiles,
                       const models::Autoencoder& autoencoder);

/// The decoder's windows lie on one lattice over the slide's latents, whatever is asked for: a pixel depends on the
/// latents and on the model's DecodeWindow alone. Beside the tissue a window sees empty glass.
class LatentDecoder {
 public:
  /// The references must outlive it and fit each other (require_decodable()). `glass`: colour of empty glass.
  LatentDecoder(const io::TileSet& tiles, const io::LatentReader& latents, const models::Autoencoder& autoencoder,
                std::array<std::uint8_t, 3> glass);

  /// Decoder windows on their way: what is needed for a box of the slide.
  struct Windows {
    Box<TargetPx> box;
    std::vector<Point<Latent>> origins;  ///< of the windows' inner squares
    std::vector<float> latents;          ///< [windows, C, side, side]
    std::vector<std::uint8_t> rgb;       ///< [windows, side * factor, side * factor, 3]
  };

  /// The windows that show a tile within the box, with their latents. Thread-safe.
  Windows gather(Box<TargetPx> box) const;
  /// Decodes them; the latents are let go. Calls queue up on the device.
  void decode(Windows& windows) const;
  /// Puts the tiles' pixels into the picture of the box, [height, width, 3]; others stay as they are. Thread-safe.
  void compose(const Windows& windows, std::span<std::uint8_t> picture) const;

 private:
  struct Tile {
    Point<Latent> origin;
    std::size_t index;
  };
  /// Tiles that meet a box of latents.
  std::vector<Tile> tiles_in(Box<Latent> box) const;
  int side() const { return window_.inner + 2 * window_.halo; }
  std::vector<std::uint8_t> blend(const Windows& windows) const;

  const io::TileSet& tiles_;
  const io::LatentReader& latents_;
  const models::Autoencoder& autoencoder_;
  models::DecodeWindow window_;
  int size_;                  ///< side of a tile in latents
  int factor_;                ///< pixels a latent
  std::vector<float> glass_;  ///< [C]: latents of empty glass
};

/// The latents that an autoencoder gives for a plain colour, [C].
std::vector<float> latents_of_colour(const models::Autoencoder& autoencoder, std::array<std::uint8_t, 3> colour);

}  // namespace vtissue::stages
