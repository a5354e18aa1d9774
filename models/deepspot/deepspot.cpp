#include "models/deepspot/deepspot.h"

#include "models/json_value.h"

namespace vtissue::models {

namespace nn = torch::nn;

DeepSpotConfig parse_deepspot_config(const nlohmann::json& config) {
  DeepSpotConfig c;
  c.feature_dim = json_int(config, "feature_dim", 1, 1 << 20);
  c.genes = static_cast<int>(json_value<std::vector<std::string>>(config, "genes").size());
  if (c.genes == 0) throw Error(ErrorCode::kModel, "config: \"genes\" is empty");
  c.width = json_int(config, "width", 1, 1 << 16, c.width);
  c.ensemble = json_int(config, "ensemble", 1, 1000, c.ensemble);
  c.dropout = json_double(config, "dropout", 0, 0.99, c.dropout);
  const auto context = json_value<std::string>(config, "context", std::string("spot_subspot_neighbors"));
  if (context != "spot" && context != "spot_subspot" && context != "spot_neighbors" &&
      context != "spot_subspot_neighbors") {
    throw Error(ErrorCode::kModel,
                "config: \"context\" is \"{}\"; expected spot, spot_subspot, spot_neighbors or spot_subspot_neighbors",
                context);
  }
  c.subtiles = context.find("subspot") != std::string::npos;
  c.neighbors = context.find("neighbors") != std::string::npos;
  return c;
}

DeepSpotPhiImpl::DeepSpotPhiImpl(const DeepSpotConfig& config) {
  model_ = register_module(
      "model", nn::Sequential(nn::Linear(config.feature_dim, config.width), nn::Dropout(config.dropout), nn::ReLU()));
}

nn::Linear DeepSpotPhiImpl::linear() const { return nn::Linear(model_->ptr<nn::LinearImpl>(0)); }

DeepSpotRhoImpl::DeepSpotRhoImpl(const DeepSpotConfig& config) {
  model_ = register_module("model", nn::Sequential(nn::Dropout(config.dropout), nn::ReLU(),
                                                   nn::Linear(config.parts() * config.width, config.genes),
                                                   nn::Dropout(config.output_dropout)));
}

nn::Linear DeepSpotRhoImpl::linear() const { return nn::Linear(model_->ptr<nn::LinearImpl>(2)); }

DeepSpotImpl::DeepSpotImpl(const DeepSpotConfig& config) : config_(config) {
  register_module("phi_spot", phi_spot_);
  register_module("rho", rho_);
  for (int j = 0; j < config.ensemble; ++j) {
    phi_spot_->push_back(DeepSpotPhi(config));
    rho_->push_back(DeepSpotRho(config));
  }
}

DeepSpotImpl::Folded DeepSpotImpl::joined_phi() const {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> biases;
  for (const auto& member : *phi_spot_) {
    const nn::Linear linear = member->as<DeepSpotPhi>()->linear();
    weights.push_back(linear->weight);
    biases.push_back(linear->bias);
  }
  return {at::cat(weights), at::cat(biases)};
}

at::Tensor DeepSpotImpl::phi(const at::Tensor& features) {
  // One product for the whole ensemble; dropout and ReLU are elementwise, so the members stay independent.
  const Folded joined = joined_phi();
  at::Tensor all = at::linear(features, joined.weight, joined.bias);
  all = at::relu(at::dropout(all, config_.dropout, is_training()));
  return lower_median(all, config_.ensemble);
}

at::Tensor lower_median(const at::Tensor& values, std::int64_t ensemble) {
  // at::median takes the lower of the two middle values, which is what the published weights expect.
  return std::get<0>(at::median(values.unflatten(-1, {ensemble, values.size(-1) / ensemble}), -2));
}

at::Tensor DeepSpotImpl::context(const at::Tensor& spot, const at::Tensor& sub, const at::Tensor& neighbors,
                                 const at::Tensor& neighbor_mask) {
  std::vector<at::Tensor> parts{phi(spot)};
  if (config_.subtiles) parts.push_back(phi(sub).sum(1));
  if (config_.neighbors) {
    at::Tensor values = phi(neighbors);
    // phi is at least 0, so a row of zeros never wins the maximum.
    if (neighbor_mask.defined()) values = values.masked_fill(neighbor_mask.logical_not().unsqueeze(-1), 0.0);
    parts.push_back(values.amax(1));
  }
  return at::cat(parts, 1);
}

at::Tensor DeepSpotImpl::rho(const at::Tensor& context) {
  at::Tensor sum;
  for (const auto& member : *rho_) {
    const at::Tensor out = member->as<DeepSpotRho>()->forward(context);
    sum = sum.defined() ? sum + out : out;
  }
  return sum / config_.ensemble;
}

DeepSpotImpl::Folded DeepSpotImpl::folded_rho() const {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> biases;
  for (const auto& member : *rho_) {
    const nn::Linear linear = member->as<DeepSpotRho>()->linear();
    weights.push_back(linear->weight);
    biases.push_back(linear->bias);
  }
  return {at::stack(weights).mean(0), at::stack(biases).mean(0)};
}

}  // namespace vtissue::models
