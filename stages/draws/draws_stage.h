#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/engines.h"
#include "pipeline/stage.h"
#include "stages/perturb/region.h"

namespace vtissue::stages {

/// How several draws of one tile differ.
struct DrawFigures {
  std::array<double, 3> mean{};   ///< colour, over pixels and draws, 0..255
  double pixel_variance = 0;      ///< over the draws (denominator n - 1), mean over pixels and channels, levels²
  double embedding_variance = 0;  ///< over the draws (denominator n - 1), mean over the dimensions
  double embedding_distance = 0;  ///< mean of 1 - cosine between a draw's embedding and the mean one
};

/// `rgb` [draws, pixels, 3], `embeddings` [draws, dim]; mean and variance [dim] of the embeddings are appended to the
/// vectors. At least 2 draws. Pure.
DrawFigures compare_draws(std::span<const std::uint8_t> rgb, std::span<const float> embeddings, std::size_t draws,
                          std::vector<float>& mean, std::vector<float>& variance);

struct DrawsOptions {
  std::vector<std::uint64_t> seeds;  ///< of the draws, in the order of their ports; at least 2
  RegionOptions region;
  std::array<std::uint8_t, 3> glass = {244, 243, 245};
  std::string generator = "vtissue";
  std::string numerics_class;  ///< Device::numerics_class()
};

/// tiles, region (optional), draw_00 … (stores of latents that differ in the noise alone) → how much the noise decides:
/// table (uncertainty.tsv, a row a tile), embeddings (features store, sets "mean" and "variance"), pixel_map and
/// embedding_map (PNG: standard deviation of the pixels; 1 - cosine to the mean embedding).
class DrawsStage : public pipeline::Stage {
 public:
  DrawsStage(DrawsOptions options, std::shared_ptr<const models::Autoencoder> autoencoder,
             std::shared_ptr<const models::MorphologyEncoder> encoder);

  static std::string draw_port(std::size_t draw);  ///< "draw_00"

  std::string_view name() const override { return "draws"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  DrawsOptions options_;
  std::shared_ptr<const models::Autoencoder> autoencoder_;
  std::shared_ptr<const models::MorphologyEncoder> encoder_;
};

}  // namespace vtissue::stages
