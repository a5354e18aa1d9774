#include "stages/embed/given_features.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "stages/tile/given_tiles.h"

namespace vtissue::stages {
namespace {

constexpr std::size_t kMostCompared = 16;
constexpr double kLeastAgreement = 0.5;  // other encoders and orders give less than 0; float16 and resizing over 0.9
constexpr double kSameValues = 0.01;     // of the squares: tiles that hardly differ have no variance to share
constexpr double kSideTolerance = 0.02;

std::vector<std::size_t> evenly_spread(std::size_t of) {
  std::vector<std::size_t> chosen;
  const std::size_t count = std::min(kMostCompared, of);
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(i * of / count);
  return chosen;
}

}  // namespace

GivenFeatures::GivenFeatures(const std::filesystem::path& path, const io::TileSet& tiles, int dim)
    : path_(path), features_(path) {
  if (features_.dim() != dim) {
    throw Error(ErrorCode::kModel,
                "{}: {} values a tile{}, but models.encoder gives {}; take features of that encoder, or leave "
                "embed.patch_features out",
                path.string(), features_.dim(),
                features_.encoder().empty() ? "" : fmt::format(" (encoder {})", features_.encoder()), dim);
  }
  if (const auto side = features_.side_px();
      side && std::abs(*side - tiles.level0_side()) > std::max(1.0, kSideTolerance * tiles.level0_side())) {
    throw Error(ErrorCode::kBadInput,
                "{}: features of patches of {} level-0 pixels, but the tiles have {:.1f}; make the tiles from its "
                "coordinates (tile.coordinates)",
                path.string(), *side, tiles.level0_side());
  }
  rows_ = rows_of_tiles(features_.corners(), tiles, path);
}

void GivenFeatures::read(std::size_t first, std::size_t count, std::span<float> out) const {
  const auto dim = static_cast<std::size_t>(features_.dim());
  for (std::size_t i = 0; i < count;) {
    std::size_t run = 1;  // rows that follow each other are read at once
    while (i + run < count && rows_[first + i + run] == rows_[first + i] + run) ++run;
    features_.read(rows_[first + i], run, out.subspan(i * dim, run * dim));
    i += run;
  }
}

nlohmann::json GivenFeatures::compare(
    const std::function<std::vector<float>(std::span<const std::size_t> tiles)>& compute) const {
  const std::vector<std::size_t> chosen = evenly_spread(rows_.size());
  const std::vector<float> computed = compute(chosen);
  const auto dim = static_cast<std::size_t>(features_.dim());
  std::vector<float> given(chosen.size() * dim);
  for (std::size_t i = 0; i < chosen.size(); ++i) read(chosen[i], 1, std::span(given).subspan(i * dim, dim));

  double apart = 0, variance = 0, squares = 0;
  for (std::size_t k = 0; k < dim; ++k) {
    double mean = 0;
    for (std::size_t i = 0; i < chosen.size(); ++i) mean += computed[i * dim + k];
    mean /= static_cast<double>(std::max<std::size_t>(1, chosen.size()));
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const double value = computed[i * dim + k];
      apart += (given[i * dim + k] - value) * (given[i * dim + k] - value);
      variance += (value - mean) * (value - mean);
      squares += value * value;
    }
  }
  const double agreement = variance > 0 ? 1 - apart / variance : apart == 0 ? 1.0 : 0.0;
  if (!(agreement >= kLeastAgreement) && !(apart <= kSameValues * squares)) {
    throw Error(
        ErrorCode::kModel,
        "{}: not the features that models.encoder gives for these tiles: of {} tiles compared the share of "
        "variance that agrees is {:.3f}, at least {} is expected{}; take features of the same encoder, unscaled, "
        "or leave embed.patch_features out",
        path_.string(), chosen.size(), agreement, kLeastAgreement,
        features_.encoder().empty() ? "" : fmt::format(" (the file names the encoder {})", features_.encoder()));
  }
  return {{"encoder", features_.encoder()},
          {"tiles_compared", chosen.size()},
          {"agreement", fmt::format("{:.2f}", std::max(agreement, 0.0))}};
}

}  // namespace vtissue::stages
