#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "models/torch.h"

namespace vtissue::models {

/// Sizes of a DeepSpot spot model (models.md 6.2). Defaults are the paper's.
struct DeepSpotConfig {
  int feature_dim = 1024;
  int genes = 5000;
  int width = 512;    ///< of each part of the context
  int ensemble = 10;  ///< networks whose median (phi) and mean (rho) is taken
  bool subtiles = true;
  bool neighbors = true;
  double dropout = 0.3;         ///< in training
  double output_dropout = 0.1;  ///< in training

  int parts() const { return 1 + (subtiles ? 1 : 0) + (neighbors ? 1 : 0); }
};

/// Reads feature_dim, width, ensemble, context ("spot", "spot_subspot", "spot_neighbors" or
/// "spot_subspot_neighbors") and the number of "genes". Throws Error kModel for a value out of range.
DeepSpotConfig parse_deepspot_config(const nlohmann::json& config);

/// [..., ensemble * width] → [..., width], the lower median over the ensemble.
at::Tensor lower_median(const at::Tensor& values, std::int64_t ensemble);

/// Linear, dropout and ReLU: "phi_spot.<j>".
class DeepSpotPhiImpl : public torch::nn::Module {
 public:
  explicit DeepSpotPhiImpl(const DeepSpotConfig& config);
  torch::nn::Linear linear() const;

 private:
  torch::nn::Sequential model_;
};
TORCH_MODULE(DeepSpotPhi);

/// Dropout, ReLU, linear and dropout: "rho.<j>".
class DeepSpotRhoImpl : public torch::nn::Module {
 public:
  explicit DeepSpotRhoImpl(const DeepSpotConfig& config);
  at::Tensor forward(const at::Tensor& context) { return model_->forward(context); }
  torch::nn::Linear linear() const;

 private:
  torch::nn::Sequential model_;
};
TORCH_MODULE(DeepSpotRho);

/// The lower-median ensemble of a spot's, its sub-tiles' and its neighbours' embeddings → expression in the scale
/// it was trained in.
class DeepSpotImpl : public torch::nn::Module {
 public:
  explicit DeepSpotImpl(const DeepSpotConfig& config);

  const DeepSpotConfig& config() const { return config_; }

  /// features [..., F] → [..., width], >= 0: the median over the ensemble.
  at::Tensor phi(const at::Tensor& features);

  /// spot [B, F]; sub [B, s, F] and neighbors [B, n, F] where the configuration has them, else undefined;
  /// neighbor_mask [B, n] bool, true for rows that take part in the maximum, or undefined for all → [B, parts * width].
  at::Tensor context(const at::Tensor& spot, const at::Tensor& sub, const at::Tensor& neighbors,
                     const at::Tensor& neighbor_mask = {});

  /// The mean over the ensemble: [B, parts * width] → [B, genes].
  at::Tensor rho(const at::Tensor& context);

  /// rho(context(...)): [B, genes].
  at::Tensor forward(const at::Tensor& spot, const at::Tensor& sub, const at::Tensor& neighbors,
                     const at::Tensor& neighbor_mask = {}) {
    return rho(context(spot, sub, neighbors, neighbor_mask));
  }

  /// Several layers as one, for inference.
  struct Folded {
    at::Tensor weight;
    at::Tensor bias;
  };
  Folded folded_rho() const;  ///< the mean of all rho: [genes, parts * width], [genes]
  Folded joined_phi() const;  ///< all phi one after another: [ensemble * width, F], [ensemble * width]

 private:
  DeepSpotConfig config_;
  torch::nn::ModuleList phi_spot_;
  torch::nn::ModuleList rho_;
};
TORCH_MODULE(DeepSpot);

}  // namespace vtissue::models
