#include "stages/synthesize/tile_conditions.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "stages/embed/slide_of_tiles.h"

namespace vtissue::stages {
namespace {

constexpr std::string_view kMorphologySet = "morphology";
constexpr std::string_view kClsSet = "cls";
constexpr std::string_view kTokenSet = "tokens";

void check_set(const std::filesystem::path& path, const io::FeatureSetInfo& set, const models::Denoiser& denoiser,
               int vectors, int dim, const std::string& trained_sha256) {
  if (set.vectors != vectors || set.dim != dim) {
    throw Error(ErrorCode::kModel, "{}: set \"{}\" has {} x {} values a tile, but {} takes {} x {}; it was made by {}",
                path.string(), set.name, set.vectors, set.dim, denoiser.info().name, vectors, dim, set.encoder);
  }
  if (!trained_sha256.empty() && !set.encoder_sha256.empty() && set.encoder_sha256 != trained_sha256) {
    throw Error(ErrorCode::kModel,
                "{}: set \"{}\" was made by {} ({}), but {} was trained with the encoder {}; use that "
                "encoder and run embed and encode again",
                path.string(), set.name, set.encoder, set.encoder_sha256, denoiser.info().name, trained_sha256);
  }
}

}  // namespace

ConditionSource::ConditionSource(const std::filesystem::path& features,
                                 const std::optional<std::filesystem::path>& genes,
                                 std::shared_ptr<const models::Denoiser> denoiser, const std::string& grid)
    : features_(features), denoiser_(std::move(denoiser)) {
  if (!grid.empty() && features_.grid() != grid) {
    throw Error(ErrorCode::kBadInput, "{}: of {}, not of the lattice of {}; make it from the tiles of that lattice",
                features.string(), features_.grid().empty() ? "tiles of the base grid" : features_.grid(), grid);
  }
  if (grid.empty() && !features_.grid().empty()) {
    throw Error(ErrorCode::kBadInput,
                "{}: {}; synthesis takes tiles that lie side by side from the slide's corner on: make them with "
                "tile.overlap_px = 0 and without tile.coordinates (or with coordinates that lie so)",
                features.string(), features_.grid());
  }
  check_set(features, features_.info(kMorphologySet), *denoiser_, 1, denoiser_->morphology_dim(),
            denoiser_->morphology_sha256());
  if (genes && denoiser_->gene_dim() > 0) {
    genes_.emplace(*genes);
    check_genes(features, *genes);
  }
}

void ConditionSource::check_genes(const std::filesystem::path& features, const std::filesystem::path& genes) const {
  if (genes_->cells() != features_.cells() || genes_->grid() != features_.grid()) {
    throw Error(ErrorCode::kBadInput, "{} has {} tiles and {} has {}, not the same ones; make both from the same tiles",
                genes.string(), genes_->cells().size(), features.string(), features_.cells().size());
  }
  require_same_slide(genes, genes_->slide_sha256(), features_.slide_sha256(), features, "express and encode");
  const models::Denoiser& denoiser = *denoiser_;
  check_set(genes, genes_->info(kClsSet), denoiser, 1, denoiser.gene_dim(), denoiser.gene_sha256());
  if (denoiser.gene_vectors() > 1) {
    check_set(genes, genes_->info(kTokenSet), denoiser, denoiser.gene_vectors() - 1, denoiser.gene_dim(),
              denoiser.gene_sha256());
  }
}

io::FeatureSetInfo ConditionSource::morphology_info() const { return features_.info(kMorphologySet); }

std::optional<io::FeatureSetInfo> ConditionSource::gene_info() const {
  if (!genes_) return std::nullopt;
  return genes_->info(kClsSet);
}

nlohmann::json ConditionSource::settings() const {
  nlohmann::json all = {{"embed", nlohmann::json::parse(features_.settings())}};
  if (genes_) all["encode"] = nlohmann::json::parse(genes_->settings());
  return all;
}

void ConditionSource::keep(std::vector<std::size_t> rows) {
  kept_.clear();
  for (const std::size_t row : rows) kept_.push_back(features_.cells()[row]);
  rows_ = std::move(rows);
}

ConditionRows ConditionSource::read(std::size_t first, std::size_t count) const {
  if (!rows_) return read_stored(first, count);
  ConditionRows all;
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  for (std::size_t i = first; i < first + count;) {
    std::size_t run = 1;
    while (i + run < first + count && (*rows_)[i + run] == (*rows_)[i] + run) ++run;
    const ConditionRows rows = read_stored((*rows_)[i], run);
    append(all.morphology, rows.morphology);
    append(all.has_morphology, rows.has_morphology);
    append(all.gene, rows.gene);
    append(all.has_gene, rows.has_gene);
    i += run;
  }
  return all;
}

ConditionRows ConditionSource::read_stored(std::size_t first, std::size_t count) const {
  ConditionRows rows;
  features_.read(kMorphologySet, first, count, rows.morphology, rows.has_morphology);
  const auto dim = static_cast<std::size_t>(denoiser_->gene_dim());
  const auto vectors = static_cast<std::size_t>(denoiser_->gene_vectors());
  rows.has_gene.assign(count, 0);
  if (!genes_) {
    rows.gene.assign(count * vectors * dim, 0.0f);
    return rows;
  }
  if (vectors == 1) {
    genes_->read(kClsSet, first, count, rows.gene, rows.has_gene);
    return rows;
  }
  std::vector<float> cls, tokens;
  std::vector<std::uint8_t> unused;
  genes_->read(kClsSet, first, count, cls, rows.has_gene);
  genes_->read(kTokenSet, first, count, tokens, unused);
  rows.gene.resize(count * vectors * dim);
  const std::size_t token_values = (vectors - 1) * dim;
  for (std::size_t i = 0; i < count; ++i) {
    float* const out = rows.gene.data() + i * vectors * dim;
    std::copy_n(cls.data() + i * dim, dim, out);
    std::copy_n(tokens.data() + i * token_values, token_values, out + dim);
  }
  return rows;
}

}  // namespace vtissue::stages
