#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/tile_store.h"
#include "models/engines.h"
#include "pipeline/stage.h"

namespace vtissue::io {
class TileReader;
struct FeatureSetInfo;
}  // namespace vtissue::io

namespace vtissue::stages {

class GivenFeatures;

enum class OnBadTile { kFail, kSkip };

struct EmbedOptions {
  OnBadTile on_bad_tile = OnBadTile::kFail;
  bool predictor_subtiles = false;  ///< ExpressionPredictor::uses_subtiles()
  int chunk_tiles = 64;             ///< tiles committed at once; rounded up to whole micro-batches
  std::string numerics_class;       ///< Device::numerics_class()
};

/// slide, tiles → features.h5: set "morphology" (the tile through the denoiser's encoder), and set
/// "predictor" (the tile, or tile and 3x3 sub-tiles, through the predictor's encoder) unless it would
/// equal "morphology": a reader that finds no "predictor" takes "morphology". Sub-tiles have side
/// tile_px / 3, row-major; the remainder is left out (models.md 6.1). With the optional input "patch_features" (a file
/// of CLAM or TRIDENT) the set "morphology" is taken from there, after some of its rows are compared with computed
/// ones; the store's settings say so.
class EmbedStage : public pipeline::Stage {
 public:
  /// `predictor_encoder` may be null: no predictor.
  EmbedStage(EmbedOptions options, std::shared_ptr<const models::MorphologyEncoder> encoder,
             std::shared_ptr<const models::MorphologyEncoder> predictor_encoder = nullptr);

  std::string_view name() const override { return "embed"; }
  int format_version() const override { return 3; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void preflight(const pipeline::Bindings& available_inputs) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  bool divisible(const pipeline::Bindings&) const override { return true; }
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  nlohmann::json settings() const;  ///< what the store says of them
  struct Chunk;

  bool stores_predictor() const;
  int predictor_vectors() const { return options_.predictor_subtiles ? 10 : 1; }
  std::size_t values_per_tile() const;
  std::size_t rows_per_chunk() const;
  /// `has_morphology`: that part is there already.
  void compute(Chunk& chunk, int tile_px, bool has_morphology) const;
  /// What is said in the store of features that were given: whose they are and how well they agree.
  nlohmann::json compare_given(const GivenFeatures& given, const io::TileReader& reader,
                               const io::TileSet& tiles) const;
  void write_features(const std::filesystem::path& path, const io::TileSet& tiles, const nlohmann::json& stated,
                      pipeline::RunContext& ctx) const;

  EmbedOptions options_;
  std::shared_ptr<const models::MorphologyEncoder> encoder_;
  std::shared_ptr<const models::MorphologyEncoder> predictor_encoder_;
};

}  // namespace vtissue::stages
