#include "stages/perturb/changed_conditions.h"

#include <algorithm>

#include "core/error.h"

namespace vtissue::stages {

ChangedConditions::ChangedConditions(const std::filesystem::path& features, const std::filesystem::path& genes,
                                     const std::filesystem::path& changed,
                                     std::shared_ptr<const models::Denoiser> denoiser)
    : ConditionSource(features, genes, denoiser),
      changed_(changed),
      dim_(static_cast<std::size_t>(denoiser->gene_dim())),
      vectors_(static_cast<std::size_t>(denoiser->gene_vectors())) {
  if (!has_genes()) {
    throw Error(ErrorCode::kModel, "{} takes no expression: changing it would change nothing", denoiser->info().name);
  }
  const io::FeatureSetInfo set = changed_.info("cls"), base = *gene_info();
  if (set.encoder_sha256 != base.encoder_sha256 || set.dim != base.dim) {
    throw Error(ErrorCode::kModel, "{} was made by {} ({}), {} by {} ({}); both must come from one encoder",
                changed.string(), set.encoder, set.encoder_sha256, genes.string(), base.encoder, base.encoder_sha256);
  }
  for (const TileCell cell : changed_.cells()) {
    if (std::ranges::binary_search(cells(), cell)) continue;
    throw Error(ErrorCode::kBadInput, "{}: tile ({}, {}) is none of those of {}", changed.string(), cell.column,
                cell.row, genes.string());
  }
}

ConditionRows ChangedConditions::read(std::size_t first, std::size_t count) const {
  ConditionRows rows = ConditionSource::read(first, count);
  const std::vector<TileCell>& changed = changed_.cells();
  for (std::size_t i = 0; i < count; ++i) {
    const auto found = std::ranges::lower_bound(changed, cells()[first + i]);
    if (found == changed.end() || *found != cells()[first + i]) continue;
    const auto index = static_cast<std::size_t>(found - changed.begin());
    std::vector<float> cls, tokens;
    std::vector<std::uint8_t> valid;
    changed_.read("cls", index, 1, cls, valid);
    const auto to = rows.gene.begin() + static_cast<std::ptrdiff_t>(i * vectors_ * dim_);
    std::ranges::copy(cls, to);
    if (vectors_ > 1) {
      changed_.read("tokens", index, 1, tokens, valid);
      std::ranges::copy(tokens, to + static_cast<std::ptrdiff_t>(dim_));
    }
  }
  return rows;
}

std::vector<std::size_t> ChangedConditions::changed_tiles() const {
  std::vector<std::size_t> tiles;
  for (const TileCell cell : changed_.cells()) {
    tiles.push_back(static_cast<std::size_t>(std::ranges::lower_bound(cells(), cell) - cells().begin()));
  }
  return tiles;
}

}  // namespace vtissue::stages
