#include "models/training/neighbourhood.h"

#include <map>
#include <tuple>

#include "models/training/trainer.h"

namespace vtissue::models::training {
namespace {

constexpr std::size_t kCropsAtOnce = 64;  // crops encoded at once
constexpr int kSubtileGrid = 3;

/// The sub-tiles of crops [n, px, px, 3], row-major: [n * 9, px/3, px/3, 3].
at::Tensor cut_subtiles(const at::Tensor& crops) {
  const std::int64_t side = crops.size(1) / kSubtileGrid;
  std::vector<at::Tensor> parts;
  for (int row = 0; row < kSubtileGrid; ++row) {
    for (int column = 0; column < kSubtileGrid; ++column) {
      parts.push_back(crops.narrow(1, row * side, side).narrow(2, column * side, side));
    }
  }
  return at::stack(parts, 1).flatten(0, 1);
}

}  // namespace

Neighbourhood Neighbourhood::select(const at::Tensor& rows) const {
  return {spot.index_select(0, rows), sub.defined() ? sub.index_select(0, rows) : at::Tensor(),
          neighbors.index_select(0, rows), mask.index_select(0, rows)};
}

Neighbourhood encode_neighbourhoods(const TrainingSet& set, FrozenEncoder& encoder, std::span<const Crop> centres,
                                    double min_tissue, bool subtiles, const TrainOptions& options) {
  const int px = encoder.px;
  // Tiles of a grid are each other's neighbours: encode every crop once, and only those that count.
  std::map<std::tuple<int, int, int, int>, std::int64_t> index_of;
  std::vector<Crop> crops;
  const auto index = [&](const Crop& crop) {
    const auto [at, added] =
        index_of.try_emplace({crop.section, crop.x, crop.y, crop.symmetry}, static_cast<std::int64_t>(crops.size()));
    if (added) crops.push_back(crop);
    return at->second;
  };
  std::vector<std::int64_t> rows;
  at::Tensor mask = at::zeros({static_cast<std::int64_t>(centres.size()), 8}, at::kBool);
  for (std::size_t i = 0; i < centres.size(); ++i) {
    const Crop& centre = centres[i];
    const std::int64_t own = index(centre);
    rows.push_back(own);
    for (int k = 0, place = 0; k < 9; ++k) {
      if (k == 4) continue;
      Crop neighbor = centre;
      neighbor.x += (k % 3 - 1) * px;
      neighbor.y += (k / 3 - 1) * px;
      const bool counts = set.tissue(neighbor.section, neighbor.x, neighbor.y, px) >= min_tissue;
      mask[static_cast<std::int64_t>(i)][place++] = counts;
      rows.push_back(counts ? index(neighbor) : own);
    }
  }
  std::vector<at::Tensor> parts;
  for (std::size_t begin = 0; begin < crops.size(); begin += kCropsAtOnce) {
    check_stop(options);
    const auto part = std::span(crops).subspan(begin, std::min(kCropsAtOnce, crops.size() - begin));
    parts.push_back(encoder.encode(read_crops(set, part, px)));
  }
  const at::Tensor features = at::cat(parts).index_select(0, at::tensor(rows)).view({-1, 9, encoder.dim});
  Neighbourhood result{features.select(1, 0).contiguous(), {}, features.narrow(1, 1, 8).contiguous(), mask};
  if (!subtiles) return result;
  parts.clear();
  for (std::size_t begin = 0; begin < centres.size(); begin += kCropsAtOnce) {
    check_stop(options);
    const auto part = centres.subspan(begin, std::min(kCropsAtOnce, centres.size() - begin));
    parts.push_back(encoder.encode_resized(cut_subtiles(read_crops(set, part, px))));
  }
  result.sub = at::cat(parts).view({-1, kSubtileGrid * kSubtileGrid, encoder.dim});
  return result;
}

}  // namespace vtissue::models::training
