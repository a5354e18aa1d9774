#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "io/latent_store.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "pipeline/stage.h"

namespace vtissue::stages {

/// What is bound to an optional port.
std::optional<std::filesystem::path> optional_input(const pipeline::Bindings& inputs, std::string_view port);

/// Writes a store of some tiles (indices in `cells`, ascending); `read(tile, out)` gives a tile's values, which are
/// rounded to float16. Throws Error kOutput, kInterrupted.
void write_latent_subset(const std::filesystem::path& folder, const io::LatentStoreInfo& info,
                         std::span<const TileCell> cells, std::span<const std::size_t> tiles,
                         const std::function<void(std::size_t tile, std::span<float> out)>& read,
                         const pipeline::RunContext& ctx);

/// The tile set with those tiles alone that a store has, so that it can be decoded by itself. Throws Error kBadInput
/// for one with other tiles.
io::TileSet tiles_of_store(const io::TileSet& tiles, const io::LatentReader& latents,
                           const std::filesystem::path& folder);

}  // namespace vtissue::stages
