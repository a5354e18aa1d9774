#include "stages/perturb/tile_painter.h"

#include <algorithm>
#include <map>
#include <utility>

#include "stages/perturb/latent_subset.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {

TilePainter::TilePainter(const io::TileSet& tiles, const std::filesystem::path& latents,
                         const models::Autoencoder& autoencoder, std::array<std::uint8_t, 3> glass)
    : latents_(latents),
      tiles_(tiles_of_store(tiles, latents_, latents)),
      glass_(glass),
      decoder_(tiles_, latents_, autoencoder, glass) {
  require_decodable(latents, latents_, latents, tiles_, autoencoder);
}

io::RgbImage TilePainter::paint(Box<TargetPx> box) const {
  io::RgbImage picture{box.size, {}};
  picture.rgb.resize(static_cast<std::size_t>(box.size.area()) * 3);
  for (std::size_t k = 0; k < picture.rgb.size(); ++k) picture.rgb[k] = glass_[k % 3];
  LatentDecoder::Windows windows = decoder_.gather(box);
  decoder_.decode(windows);
  decoder_.compose(windows, picture.rgb);
  return picture;
}

std::vector<std::uint8_t> TilePainter::paint_tiles(std::span<const TileCell> cells) const {
  std::vector<std::uint8_t> out;
  if (cells.empty()) return out;
  Point<TargetPx> first = tiles_.origin(cells.front()), last = first;
  for (const TileCell cell : cells) {
    const Point<TargetPx> at = tiles_.origin(cell);
    first = {std::min(first.x, at.x), std::min(first.y, at.y)};
    last = {std::max(last.x, at.x), std::max(last.y, at.y)};
  }
  const std::int64_t side = tiles_.tile_px;
  const io::RgbImage picture = paint({first, {last.x - first.x + side, last.y - first.y + side}});
  for (const TileCell cell : cells) {
    const Point<TargetPx> at = tiles_.origin(cell) - first;
    for (std::int64_t y = 0; y < side; ++y) {
      const auto row = picture.rgb.begin() + ((at.y + y) * picture.size.width + at.x) * 3;
      out.insert(out.end(), row, row + side * 3);
    }
  }
  return out;
}

std::vector<std::vector<std::size_t>> nearby_groups(const io::TileSet& tiles, std::span<const std::size_t> chosen) {
  constexpr std::int64_t kGroupPx = 1024;
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::size_t>> groups;
  for (const std::size_t tile : chosen) {
    const Point<TargetPx> at = tiles.origin(tiles.cells[tile]);
    groups[{at.y / kGroupPx, at.x / kGroupPx}].push_back(tile);
  }
  std::vector<std::vector<std::size_t>> result;
  result.reserve(groups.size());
  for (auto& [place, group] : groups) result.push_back(std::move(group));
  return result;
}

}  // namespace vtissue::stages
