#include "models/taesd/inference.h"

#include <string>
#include <utility>

#include "models/kernels/map_layout.h"

namespace vtissue::models {
namespace {

constexpr double kPoolNormEps = 1e-5;
constexpr std::int64_t kPoolGroups = 4;

using NamedWeights = torch::OrderedDict<std::string, at::Tensor>;

at::Tensor bias_or_zeros(const NamedWeights& weights, const std::string& layer, const at::Tensor& weight) {
  const at::Tensor* const bias = weights.find(layer + ".bias");
  return bias != nullptr ? *bias : at::zeros({weight.size(0)});
}

kernels::PackedConv3x3 conv3x3_of(const NamedWeights& weights, const std::string& layer, at::ScalarType dtype,
                                  bool doubled = false) {
  const at::Tensor& weight = weights[layer + ".weight"];
  return {weight, bias_or_zeros(weights, layer, weight), dtype, doubled};
}

kernels::PackedConv1x1 conv1x1_of(const NamedWeights& weights, const std::string& layer, at::ScalarType dtype) {
  const at::Tensor& weight = weights[layer + ".weight"];
  return {weight, bias_or_zeros(weights, layer, weight), dtype};
}

}  // namespace

/// Layer numbers are those of the published files: 0 bounds the latents, 1 and 2 are the first convolution and its
/// rectifier.
TaesdDecoder::TaesdDecoder(TaesdImpl& network, at::ScalarType dtype) {
  const NamedWeights weights = network.decoder->named_parameters();
  int layer = 1;
  const auto name_of_next = [&] { return std::to_string(layer++); };
  conv_in_ = conv3x3_of(weights, name_of_next(), dtype);
  ++layer;
  for (std::size_t i = 0; i < network.config().decoder_blocks.size(); ++i) {
    Level level;
    if (i > 0) {
      ++layer;  // the doubling has no weights
      level.doubling = conv3x3_of(weights, name_of_next(), dtype, /*doubled=*/true);
    }
    for (int k = 0; k < network.config().decoder_blocks[i]; ++k) {
      const std::string name = name_of_next();
      Block block{.convs = {conv3x3_of(weights, name + ".conv.0", dtype), conv3x3_of(weights, name + ".conv.2", dtype),
                            conv3x3_of(weights, name + ".conv.4", dtype)}};
      if (weights.contains(name + ".pool.0.weight")) {
        block.pool_in = conv1x1_of(weights, name + ".pool.0", dtype);
        block.pool_norm = {weights[name + ".pool.1.weight"], weights[name + ".pool.1.bias"], kPoolGroups, kPoolNormEps};
        block.pool_out = conv1x1_of(weights, name + ".pool.3", dtype);
      }
      level.blocks.push_back(std::move(block));
    }
    levels_.push_back(std::move(level));
  }
  conv_out_ = conv3x3_of(weights, name_of_next(), dtype);
}

at::Tensor TaesdDecoder::run(const Block& block, const at::Tensor& x) const {
  at::Tensor seen = x;
  if (block.pool_in.defined()) {
    const kernels::FeatureMap pooled = kernels::with_moments(block.pool_in(x));
    const kernels::GroupNorm::Factors factors = block.pool_norm(pooled);
    const auto per_pixel = [&](const at::Tensor& t) { return t.view({t.size(0), 1, 1, t.size(1)}); };
    seen = x + block.pool_out(at::relu(pooled.values * per_pixel(factors.scale) + per_pixel(factors.shift)));
  }
  return block.convs[2].rectified(block.convs[1].rectified(block.convs[0].rectified(seen)), seen);
}

at::Tensor TaesdDecoder::decode_map(const at::Tensor& latent) const {
  at::Tensor x = conv_in_.rectified(latent);
  for (const Level& level : levels_) {
    if (level.doubling.defined()) x = level.doubling.plain(x);
    for (const Block& block : level.blocks) x = run(block, x);
  }
  return conv_out_.plain(x);
}

at::Tensor TaesdDecoder::operator()(const at::Tensor& latent) const {
  const at::Tensor bounded = taesd_bound_latent(latent);
  return kernels::by_sample(
      bounded, [&](const at::Tensor& part) { return kernels::to_image(decode_map(kernels::to_map(part))); });
}

}  // namespace vtissue::models
