#include "models/deepspot/losses.h"

#include "core/error.h"

namespace vtissue::models {
namespace {

constexpr double kTargetSum = 1e4;
constexpr double kLeastTotal = 1e-12;
constexpr double kMseShare = 0.2;

at::Tensor mean_similarity(const at::Tensor& a, const at::Tensor& b, std::int64_t dim) {
  return at::cosine_similarity(a, b, dim, /*eps=*/1e-8).mean();
}

at::Tensor centered(const at::Tensor& x) { return x - x.mean(1, /*keepdim=*/true); }

}  // namespace

DeepSpotLoss parse_deepspot_loss(std::string_view name) {
  if (name == "mse") return DeepSpotLoss::kMse;
  if (name == "cosine") return DeepSpotLoss::kCosine;
  if (name == "mse_cosine") return DeepSpotLoss::kMseCosine;
  if (name == "pearson") return DeepSpotLoss::kPearson;
  if (name == "mse_pearson") return DeepSpotLoss::kMsePearson;
  throw Error(ErrorCode::kUsage, "loss \"{}\": known are mse, cosine, mse_cosine, pearson, mse_pearson", name);
}

at::Tensor deepspot_loss(DeepSpotLoss kind, const at::Tensor& prediction, const at::Tensor& target) {
  const auto mse = [&] { return at::mse_loss(prediction, target); };
  const auto cosine = [&] { return 1 - mean_similarity(prediction, target, 0); };
  switch (kind) {
    case DeepSpotLoss::kMse:
      return mse();
    case DeepSpotLoss::kCosine:
      return cosine();
    case DeepSpotLoss::kMseCosine:
      return mse() + cosine();
    case DeepSpotLoss::kPearson:
      return 1 - mean_similarity(centered(prediction), centered(target), 1);
    case DeepSpotLoss::kMsePearson:
      return cosine() + kMseShare * mse();
  }
  return mse();
}

GeneScaler GeneScaler::fit(const at::Tensor& values) {
  const at::Tensor x = values.to(at::kDouble);
  const at::Tensor scale = x.std(0, /*unbiased=*/false);
  const at::Tensor constant = std::get<0>(x.max(0)) == std::get<0>(x.min(0));
  return {x.mean(0), at::where(constant, at::ones_like(scale), scale)};
}

at::Tensor GeneScaler::transform(const at::Tensor& values) const {
  return ((values - mean) / scale).to(values.scalar_type());
}

at::Tensor GeneScaler::inverse_transform(const at::Tensor& values) const {
  return (values * scale + mean).to(values.scalar_type());
}

at::Tensor log1p_per_ten_thousand(const at::Tensor& counts) {
  const at::Tensor x = counts.to(at::kDouble);
  return at::log1p(x / (x.sum(1, /*keepdim=*/true) + kLeastTotal) * kTargetSum);
}

}  // namespace vtissue::models
