#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "models/deepspot/deepspot.h"
#include "models/engine_support.h"
#include "models/engines.h"
#include "models/json_value.h"
#include "models/kernels/packed_linear.h"
#include "models/model_folder.h"
#include "models/null_engines.h"

namespace vtissue::models {
namespace {

constexpr std::string_view kScalerMean = "scaler.mean";
constexpr std::string_view kScalerScale = "scaler.scale";
constexpr int kSubtiles = 9;
constexpr int kNeighbors = 8;

/// Per-gene scaling of the training targets; empty if the weights have none.
std::vector<float> read_scaler(const StateDict& weights, std::string_view name, int genes) {
  if (!weights.contains(name)) return {};
  const at::Tensor tensor = weights.get(name).to(at::kFloat).contiguous();
  if (tensor.dim() != 1 || tensor.size(0) != genes) {
    throw Error(ErrorCode::kModel, "{}: {} does not have one value for each of {} genes", weights.path().string(), name,
                genes);
  }
  if (!at::isfinite(tensor).all().item<bool>()) {
    throw Error(ErrorCode::kModel, "{}: {} has values that are not finite", weights.path().string(), name);
  }
  return {tensor.const_data_ptr<float>(), tensor.const_data_ptr<float>() + genes};
}

class DeepSpotPredictor final : public ExpressionPredictor {
 public:
  DeepSpotPredictor(const ModelFolder& folder, std::shared_ptr<Device> device)
      : info_(folder.info()), config_(folder.read_config(parse_deepspot_config)), device_(std::move(device)) {
    folder.read_config([&](const nlohmann::json& config) {
      genes_ = json_value<std::vector<std::string>>(config, "genes");
      encoder_sha256_ = json_value<std::string>(config, "encoder_sha256", std::string());
    });
    device_->run([&] {
      DeepSpot network(config_);
      const StateDict weights = folder.weights();
      LoadRules rules;
      rules.may_ignore = [](const std::string& name) { return name == kScalerMean || name == kScalerScale; };
      models::load(*network, weights, rules);
      mean_ = read_scaler(weights, kScalerMean, config_.genes);
      scale_ = read_scaler(weights, kScalerScale, config_.genes);
      if (mean_.empty() != scale_.empty()) {
        throw Error(ErrorCode::kModel, "{}: has only one of {} and {}", weights.path().string(), kScalerMean,
                    kScalerScale);
      }
      const torch::Device at(device_->name());
      const DeepSpotImpl::Folded phi = network->joined_phi(), rho = network->folded_rho();
      phi_ = kernels::PackedLinear(phi.weight, phi.bias, scalar_type(*device_), at, info_.micro_batch);
      rho_ = kernels::PackedLinear(rho.weight, rho.bias, scalar_type(*device_), at, info_.micro_batch);
    });
  }

  const ModelInfo& info() const override { return info_; }
  const std::vector<std::string>& genes() const override { return genes_; }
  int feature_dim() const override { return config_.feature_dim; }
  bool uses_subtiles() const override { return config_.subtiles; }
  bool uses_neighbors() const override { return config_.neighbors; }
  const std::string& encoder_sha256() const override { return encoder_sha256_; }

  void predict(std::span<const float> spot, std::span<const float> sub, std::span<const float> neighbors,
               std::span<const std::int32_t> n_neighbors, int n, std::span<float> out) const override {
    const auto rows = static_cast<std::size_t>(n);
    const auto features = static_cast<std::size_t>(config_.feature_dim);
    check_size("spot embeddings", spot.size(), rows * features);
    check_size("predicted expression", out.size(), rows * genes_.size());
    if (config_.subtiles) check_size("sub-tile embeddings", sub.size(), rows * kSubtiles * features);
    if (config_.neighbors) {
      check_size("neighbour embeddings", neighbors.size(), rows * kNeighbors * features);
      check_size("numbers of neighbours", n_neighbors.size(), rows);
      for (const std::int32_t count : n_neighbors) {
        if (count < 0 || count > kNeighbors) {
          throw Error(ErrorCode::kUsage, "a spot with {} neighbours; expected 0 to {}", count, kNeighbors);
        }
      }
    }
    for_micro_batches(n, info_.micro_batch, [&](int first, int count) {
      device_->run([&] {
        const at::Tensor x_spot = batch(spot, first, count, 1).squeeze(1);
        const at::Tensor x_sub = config_.subtiles ? batch(sub, first, count, kSubtiles) : at::Tensor();
        at::Tensor x_neighbors;
        at::Tensor mask;
        if (config_.neighbors) {
          x_neighbors = batch(neighbors, first, count, kNeighbors);
          mask = neighbor_mask(n_neighbors, first, count);
          // Whatever lies in the unused rows; a spot without neighbours has one of zeros instead.
          x_neighbors = at::where(mask.unsqueeze(-1), x_neighbors, at::zeros_like(x_neighbors));
          mask.select(1, 0).fill_(true);
        }
        std::vector<at::Tensor> parts{phi(x_spot)};
        if (config_.subtiles) parts.push_back(phi(x_sub).sum(1));
        // phi is at least 0, so a row of zeros never wins the maximum.
        if (config_.neighbors) parts.push_back(phi(x_neighbors).masked_fill(~mask.unsqueeze(-1), 0.0).amax(1));
        const at::Tensor scaled = rho_(at::cat(parts, 1).to(scalar_type(*device_)));
        require_finite(scaled, info_.name, "predicted values");
        copy_to_host(scaled, out.subspan(static_cast<std::size_t>(first) * genes_.size(),
                                         static_cast<std::size_t>(count) * genes_.size()));
      });
    });
    unscale(out);
  }

 private:
  /// Rows first..first+count of an array [n, inner, F], filled up with zeros: [micro_batch, inner, F].
  at::Tensor batch(std::span<const float> values, int first, int count, int inner) const {
    const std::size_t row = static_cast<std::size_t>(inner) * static_cast<std::size_t>(config_.feature_dim);
    std::vector<float> padded(static_cast<std::size_t>(info_.micro_batch) * row);
    const auto part = values.subspan(static_cast<std::size_t>(first) * row, static_cast<std::size_t>(count) * row);
    std::copy(part.begin(), part.end(), padded.begin());
    return to_device(padded.data(), {info_.micro_batch, inner, config_.feature_dim}, *device_);
  }

  /// [..., F] float32 → [..., width] float32: the median over the ensemble.
  at::Tensor phi(const at::Tensor& features) const {
    const at::Tensor all = phi_(features.to(scalar_type(*device_)), kernels::Activation::kRelu);
    return lower_median(all.to(at::kFloat), config_.ensemble);
  }

  /// [micro_batch, 8], true for rows in use.
  at::Tensor neighbor_mask(std::span<const std::int32_t> counts, int first, int count) const {
    at::Tensor valid = at::zeros({info_.micro_batch, 1}, at::kInt);
    const auto part = counts.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    std::copy(part.begin(), part.end(), valid.data_ptr<std::int32_t>());
    return at::arange(kNeighbors, at::kInt).lt(valid).to(torch::Device(device_->name()));
  }

  void unscale(std::span<float> out) const {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t gene = i % genes_.size();
      const float value = mean_.empty() ? out[i] : out[i] * scale_[gene] + mean_[gene];
      if (!std::isfinite(value)) {
        throw Error(ErrorCode::kModel, "{}: {} predicted for {}; is the scaling of the weights sound?", info_.name,
                    value, genes_[gene]);
      }
      out[i] = std::max(value, 0.0f);
    }
  }

  ModelInfo info_;
  DeepSpotConfig config_;
  std::vector<std::string> genes_;
  std::string encoder_sha256_;
  std::shared_ptr<Device> device_;
  kernels::PackedLinear phi_;  ///< of the whole ensemble
  kernels::PackedLinear rho_;
  std::vector<float> mean_;
  std::vector<float> scale_;
};

}  // namespace

std::shared_ptr<ExpressionPredictor> ExpressionPredictor::load(const std::filesystem::path& folder,
                                                               std::shared_ptr<Device> device,
                                                               const LoadOptions& options) {
  if (ModelFolder::is_null(folder)) return make_null_expression_predictor();
  return std::make_shared<DeepSpotPredictor>(ModelFolder::open(folder, {"deepspot"}, {}, options), std::move(device));
}

}  // namespace vtissue::models
