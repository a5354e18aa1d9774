#pragma once

#include <string_view>

#include "models/torch.h"

/// DeepSpot's training targets and losses (models.md 6.3).
namespace vtissue::models {

enum class DeepSpotLoss {
  kMse,
  kCosine,     ///< 1 - cosine of each gene over the batch
  kMseCosine,  ///< the sum of the two
  kPearson,    ///< 1 - correlation of each spot over its genes
  kMsePearson  ///< what the original calls so: cosine + 0.2 mse
};

/// By the name of the configuration: "mse", "cosine", "mse_cosine", "pearson" or "mse_pearson". Throws Error kUsage.
DeepSpotLoss parse_deepspot_loss(std::string_view name);

/// prediction, target [spots, genes] → a scalar.
at::Tensor deepspot_loss(DeepSpotLoss kind, const at::Tensor& prediction, const at::Tensor& target);

/// Per-gene standardisation: (x - mean) / scale, scale the deviation with denominator n, 1 for a constant gene.
struct GeneScaler {
  at::Tensor mean;                                       ///< [genes] double
  at::Tensor scale;                                      ///< [genes] double
  static GeneScaler fit(const at::Tensor& values);       ///< [spots, genes]
  at::Tensor transform(const at::Tensor& values) const;  ///< dtype kept
  at::Tensor inverse_transform(const at::Tensor& values) const;
};

/// counts [spots, genes], all genes of the table → log1p of counts per 10,000, in double.
at::Tensor log1p_per_ten_thousand(const at::Tensor& counts);

}  // namespace vtissue::models
