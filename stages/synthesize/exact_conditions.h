#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/engines.h"
#include "models/samplers/sampler.h"
#include "pipeline/stage.h"
#include "stages/synthesize/tile_conditions.h"
#include "stages/synthesize/window_layout.h"

namespace vtissue::stages {

/// Corners, within a tile, of the lattices that the windows of a run lie on: those beside the tiles' own. A step of
/// blended windows has four, half a window apart.
std::vector<Point<Latent>> window_lattices(const WindowLayout& layout, std::span<const models::Evaluation> evaluations);

/// "06-10": what a lattice's folder and ports are called.
std::string lattice_name(Point<Latent> lattice);

/// Conditions of windows that were computed where the windows lie: a store of features, and one of genes, for each
/// lattice. Thread-safe.
class ExactConditions {
 public:
  /// Ports "features_06_10" and, where `with_genes`, "genes_06_10" of each lattice are bound in `inputs`. Throws Error
  /// kBadInput if one is not of that lattice or not of the slide, kUsage if one is missing.
  ExactConditions(const pipeline::Bindings& inputs, std::span<const Point<Latent>> lattices, bool with_genes,
                  const std::string& slide_sha256, int latent_px, std::shared_ptr<const models::Denoiser> denoiser);

  /// Of windows anywhere on the lattices; those on a tile have the tile's own, from `tiles`, bit for bit. Throws Error
  /// kBadInput for a window that a store lacks.
  ConditionRows read(const ConditionSource& tiles, std::span<const Point<Latent>> windows) const;

 private:
  std::map<std::pair<std::int64_t, std::int64_t>, std::unique_ptr<const ConditionSource>> sources_;
  int size_;
};

/// The ports' names of a lattice: features, genes.
std::pair<std::string, std::string> lattice_ports(Point<Latent> lattice);

}  // namespace vtissue::stages
