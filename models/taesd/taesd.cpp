#include "models/taesd/taesd.h"

#include "models/json_value.h"

namespace vtissue::models {
namespace {

namespace nn = torch::nn;

constexpr double kLatentLimit = 3.0;

nn::Conv2d conv3x3(int in, int out) { return nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1)); }

nn::Conv2d conv3x3_no_bias(int width, int stride) {
  return nn::Conv2d(nn::Conv2dOptions(width, width, 3).padding(1).stride(stride).bias(false));
}

std::array<int, 4> block_counts(const nlohmann::json& config, const std::string& key, std::array<int, 4> fallback) {
  const auto counts = json_value<std::vector<int>>(config, key, std::vector<int>(fallback.begin(), fallback.end()));
  if (counts.size() != 4)
    throw Error(ErrorCode::kModel, "config: \"{}\" has {} entries; expected 4", key, counts.size());
  std::array<int, 4> result{};
  for (std::size_t i = 0; i < 4; ++i) {
    if (counts[i] < 0 || counts[i] > 64) {
      throw Error(ErrorCode::kModel, "config: \"{}\" holds {}; expected 0 to 64", key, counts[i]);
    }
    result[i] = counts[i];
  }
  return result;
}

void add_blocks(nn::Sequential& layers, int count, int width, bool pooled) {
  for (int i = 0; i < count; ++i) layers->push_back(TaesdBlock(width, pooled));
}

nn::Sequential make_encoder(const TaesdConfig& c) {
  nn::Sequential layers;
  layers->push_back(conv3x3(3, c.width));
  for (int stage = 0; stage < 4; ++stage) {
    if (stage > 0) layers->push_back(conv3x3_no_bias(c.width, 2));
    add_blocks(layers, c.encoder_blocks[static_cast<std::size_t>(stage)], c.width, c.pooled_mid && stage == 3);
  }
  layers->push_back(conv3x3(c.width, c.latent_channels));
  return layers;
}

nn::Sequential make_decoder(const TaesdConfig& c) {
  nn::Sequential layers;
  layers->push_back(nn::Functional(taesd_bound_latent));
  layers->push_back(conv3x3(c.latent_channels, c.width));
  layers->push_back(nn::ReLU());
  for (int stage = 0; stage < 4; ++stage) {
    if (stage > 0) {
      layers->push_back(
          nn::Upsample(nn::UpsampleOptions().scale_factor(std::vector<double>{2, 2}).mode(torch::kNearest)));
      layers->push_back(conv3x3_no_bias(c.width, 1));
    }
    add_blocks(layers, c.decoder_blocks[static_cast<std::size_t>(stage)], c.width, c.pooled_mid && stage == 0);
  }
  layers->push_back(conv3x3(c.width, 3));
  return layers;
}

/// The config.json of diffusers' AutoencoderTiny.
TaesdConfig parse_autoencoder_tiny(const nlohmann::json& config) {
  TaesdConfig c;
  c.latent_channels = json_int(config, "latent_channels", 1, 256, 4);
  const std::vector<int> usual(4, c.width);
  const auto widths = json_value<std::vector<int>>(config, "encoder_block_out_channels", usual);
  c.width = widths.empty() ? 0 : widths.front();
  if (c.width < 1 || c.width > 4096 || widths != std::vector<int>(4, c.width)) {
    throw Error(ErrorCode::kModel, "config: \"encoder_block_out_channels\" is {}; expected four times one width",
                nlohmann::json(widths).dump());
  }
  c.encoder_blocks = block_counts(config, "num_encoder_blocks", c.encoder_blocks);
  c.decoder_blocks = block_counts(config, "num_decoder_blocks", c.decoder_blocks);
  json_require(config, "decoder_block_out_channels", widths);
  json_require(config, "in_channels", 3);
  json_require(config, "out_channels", 3);
  json_require(config, "act_fn", "relu");
  json_require(config, "upsampling_scaling_factor", 2);
  json_require(config, "scaling_factor", 1.0);
  json_require(config, "shift_factor", 0.0);
  return c;
}

}  // namespace

TaesdConfig parse_taesd_config(const nlohmann::json& config) {
  if (config.contains("_class_name") && !config.contains("width")) return parse_autoencoder_tiny(config);
  TaesdConfig c;
  c.latent_channels = json_int(config, "latent_channels", 1, 256, c.latent_channels);
  c.width = json_int(config, "width", 1, 4096, c.width);
  c.encoder_blocks = block_counts(config, "encoder_blocks", c.encoder_blocks);
  c.decoder_blocks = block_counts(config, "decoder_blocks", c.decoder_blocks);
  c.pooled_mid = json_value<bool>(config, "pooled_mid", c.pooled_mid);
  return c;
}

TaesdBlockImpl::TaesdBlockImpl(int width, bool pooled) {
  conv_ = register_module("conv", nn::Sequential(conv3x3(width, width), nn::ReLU(), conv3x3(width, width), nn::ReLU(),
                                                 conv3x3(width, width)));
  if (pooled) {
    const int inner = 4 * width;
    const auto conv1x1 = [](int in, int out) { return nn::Conv2d(nn::Conv2dOptions(in, out, 1).bias(false)); };
    pool_ = register_module("pool", nn::Sequential(conv1x1(width, inner), nn::GroupNorm(nn::GroupNormOptions(4, inner)),
                                                   nn::ReLU(), conv1x1(inner, width)));
  }
}

at::Tensor TaesdBlockImpl::forward(at::Tensor x) {
  if (pool_) x = x + pool_->forward(x);
  return at::relu(conv_->forward(x) + x);
}

TaesdImpl::TaesdImpl(const TaesdConfig& config) : config_(config) {
  encoder = register_module("encoder", make_encoder(config));
  decoder = register_module("decoder", make_decoder(config));
}

at::Tensor TaesdImpl::encode(const at::Tensor& image) { return encoder->forward(image); }

at::Tensor TaesdImpl::decode(const at::Tensor& latent) { return decoder->forward(latent); }

at::Tensor taesd_bound_latent(const at::Tensor& latent) { return at::tanh(latent / kLatentLimit) * kLatentLimit; }

at::Tensor taesd_store_latent(const at::Tensor& raw) { return (raw / (2 * kLatentLimit) + 0.5).clamp(0, 1); }

at::Tensor taesd_restore_latent(const at::Tensor& stored) { return (stored - 0.5) * (2 * kLatentLimit); }

const NameMap& taesd_diffusers_names() {
  static const NameMap kNames = [] {
    constexpr int kMaxLayers = 4 * 64 + 16;  // what block_counts() allows, and the layers between
    std::vector<NameRule> rules = {{"encoder.*.", "encoder.layers.*."}};
    for (int i = 1; i <= kMaxLayers; ++i) {
      rules.push_back({fmt::format("decoder.{}.", i), fmt::format("decoder.layers.{}.", i - 1)});
    }
    return NameMap(std::move(rules));
  }();
  return kNames;
}

LoadRules taesd_load_rules(const StateDict& weights) {
  return weights.contains("encoder.layers.0.weight") ? taesd_diffusers_names().load_rules() : LoadRules();
}

}  // namespace vtissue::models
