#include "models/training/neighbourhood.h"

#include <map>
#include <tuple>

#include "models/training/trainer.h"

namespace vtissue::models::training {

Neighbourhood encode_neighbourhoods(const TrainingSet& set, FrozenEncoder& encoder, std::span<const Crop> centres,
                                    double min_tissue, const TrainOptions& options) {
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
  constexpr std::size_t kPart = 64;
  for (std::size_t begin = 0; begin < crops.size(); begin += kPart) {
    check_stop(options);
    const auto part = std::span(crops).subspan(begin, std::min(kPart, crops.size() - begin));
    parts.push_back(encoder.encode(read_crops(set, part, px)));
  }
  const at::Tensor features = at::cat(parts).index_select(0, at::tensor(rows)).view({-1, 9, encoder.dim});
  return {features.select(1, 0).contiguous(), features.narrow(1, 1, 8).contiguous(), mask};
}

}  // namespace vtissue::models::training
