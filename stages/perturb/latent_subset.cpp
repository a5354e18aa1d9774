#include "stages/perturb/latent_subset.h"

#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "io/half.h"

namespace vtissue::stages {

std::optional<std::filesystem::path> optional_input(const pipeline::Bindings& inputs, std::string_view port) {
  const auto found = inputs.find(port);
  return found == inputs.end() ? std::nullopt : std::optional<std::filesystem::path>(found->second);
}

void write_latent_subset(const std::filesystem::path& folder, const io::LatentStoreInfo& info,
                         std::span<const TileCell> cells, std::span<const std::size_t> tiles,
                         const std::function<void(std::size_t tile, std::span<float> out)>& read,
                         const pipeline::RunContext& ctx) {
  constexpr std::size_t kAtOnce = 256;
  std::vector<TileCell> own;
  for (const std::size_t tile : tiles) own.push_back(cells[tile]);
  io::LatentWriter writer(folder, info, own);
  std::vector<float> values(static_cast<std::size_t>(info.channels) * static_cast<std::size_t>(info.size) *
                            static_cast<std::size_t>(info.size));
  for (std::size_t first = 0; first < tiles.size(); first += kAtOnce) {
    ctx.throw_if_stopped();
    std::vector<std::uint16_t> halves;
    for (const std::size_t tile : tiles.subspan(first, std::min(kAtOnce, tiles.size() - first))) {
      read(tile, values);
      for (const float value : values) halves.push_back(io::float_to_half(value));
    }
    writer.append(halves);
  }
  writer.finish();
}

io::TileSet tiles_of_store(const io::TileSet& tiles, const io::LatentReader& latents,
                           const std::filesystem::path& folder) {
  io::TileSet subset = tiles;
  subset.cells = latents.cells();
  subset.tissue_fraction.clear();
  for (const TileCell cell : subset.cells) {
    const auto found = std::ranges::lower_bound(tiles.cells, cell);
    if (found == tiles.cells.end() || *found != cell) {
      throw Error(ErrorCode::kBadInput, "{}: tile ({}, {}) is none of the slide's; both must come from one run",
                  folder.string(), cell.column, cell.row);
    }
    subset.tissue_fraction.push_back(tiles.tissue_fraction[static_cast<std::size_t>(found - tiles.cells.begin())]);
  }
  return subset;
}

}  // namespace vtissue::stages
