#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "io/tile_store.h"
#include "models/engines.h"
#include "pipeline/run_context.h"

namespace vtissue::stages {

/// What one variant did to one tile.
struct VariantFigure {
  float magnitude = 0;           ///< mean absolute difference of the pixels, levels
  std::array<float, 3> shift{};  ///< mean signed difference by channel
  float distance = 0;            ///< 1 - cosine of the tile's embeddings before and after
};

/// A store of latents and the one that it is compared with, both by their place in a list of folders.
struct ComparedStore {
  std::size_t base = 0;
  std::size_t variant = 0;
};

/// [pairs][tiles] figures of the tiles `chosen` (indices in tiles.cells, ascending). Both stores are decoded alike, so
/// that a difference is one of the latents. Committed in ctx's chunks from 0 on by groups of neighbouring tiles.
std::vector<std::vector<VariantFigure>> variant_figures(const io::TileSet& tiles, std::span<const std::size_t> chosen,
                                                        std::span<const std::filesystem::path> stores,
                                                        std::span<const ComparedStore> pairs,
                                                        const models::Autoencoder& autoencoder,
                                                        const models::MorphologyEncoder& encoder,
                                                        std::array<std::uint8_t, 3> glass, pipeline::RunContext& ctx);

/// Means over tiles.
VariantFigure mean_figure(std::span<const VariantFigure> figures);

}  // namespace vtissue::stages
