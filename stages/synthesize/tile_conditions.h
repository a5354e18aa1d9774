#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/units.h"
#include "io/feature_store.h"
#include "models/engines.h"

namespace vtissue::stages {

/// Conditions of a run of tiles, owned. Genes are [n, gene_vectors, gene_dim]; for a model that takes no
/// expression they are empty.
struct ConditionRows {
  std::vector<float> morphology;
  std::vector<std::uint8_t> has_morphology;
  std::vector<float> gene;
  std::vector<std::uint8_t> has_gene;

  models::TileConditions view() const { return {morphology, has_morphology, gene, has_gene}; }
};

/// The conditions that the stores hold, for one denoiser. Thread-safe.
class ConditionSource {
 public:
  /// `genes` may be absent: every gene condition is the null. `grid` is the lattice that the rows are of, as
  /// TileSet::grid(). Throws Error kBadInput if the stores are not of that lattice or not of the same tiles of one
  /// slide, kModel if an encoder is not the one the denoiser was trained with.
  ConditionSource(const std::filesystem::path& features, const std::optional<std::filesystem::path>& genes,
                  std::shared_ptr<const models::Denoiser> denoiser, const std::string& grid = "");
  virtual ~ConditionSource() = default;

  /// From now on only these rows, ascending, are there: cells() and read() count in them. Not thread-safe.
  void keep(std::vector<std::size_t> rows);

  const std::vector<TileCell>& cells() const { return rows_ ? kept_ : features_.cells(); }
  const std::string& slide_sha256() const { return features_.slide_sha256(); }
  bool has_genes() const { return genes_.has_value(); }
  /// Where the conditions come from; no gene set where genes are absent or not taken.
  io::FeatureSetInfo morphology_info() const;
  std::optional<io::FeatureSetInfo> gene_info() const;
  /// What the stages that made the stores were set to, by stage.
  nlohmann::json settings() const;
  virtual ConditionRows read(std::size_t first, std::size_t count) const;

 private:
  ConditionRows read_stored(std::size_t first, std::size_t count) const;
  void check_genes(const std::filesystem::path& features, const std::filesystem::path& genes) const;

  io::FeatureReader features_;
  std::optional<io::FeatureReader> genes_;
  std::shared_ptr<const models::Denoiser> denoiser_;
  std::optional<std::vector<std::size_t>> rows_;  ///< of the stores, where only some are there
  std::vector<TileCell> kept_;
};

}  // namespace vtissue::stages
