#include "models/autoencoder_kl/autoencoder_kl.h"

#include "models/json_value.h"

namespace vtissue::models {
namespace {

namespace nn = torch::nn;

constexpr double kKlGroupNormEps = 1e-6;
constexpr double kLowestLogVariance = -30;
constexpr double kHighestLogVariance = 20;

nn::GroupNorm kl_group_norm(int groups, int channels) {
  return nn::GroupNorm(nn::GroupNormOptions(groups, channels).eps(kKlGroupNormEps));
}

nn::Conv2d kl_conv3x3(int in, int out) { return nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1)); }

nn::Conv2d kl_conv1x1(int in, int out) { return nn::Conv2d(nn::Conv2dOptions(in, out, 1)); }

/// `module` under parent.name.0.leaf, as diffusers keeps its samplers.
template <typename Module>
Module register_kl_sampler(nn::Module& parent, const std::string& name, Module module) {
  const auto list = parent.register_module(name, std::make_shared<nn::Module>());
  list->register_module("0", std::make_shared<nn::Module>())->register_module("conv", module);
  return module;
}

template <typename Block>
at::Tensor run_kl_blocks(const nn::ModuleList& blocks, at::Tensor x) {
  for (const auto& block : *blocks) x = block->as<Block>()->forward(x);
  return x;
}

}  // namespace

AutoencoderKlConfig parse_autoencoder_kl_config(const nlohmann::json& config) {
  AutoencoderKlConfig c;
  c.channels = json_value<std::vector<int>>(config, "block_out_channels", c.channels);
  if (c.channels.empty() || c.channels.size() > 8) {
    throw Error(ErrorCode::kModel, "config: \"block_out_channels\" has {} entries; expected 1 to 8", c.channels.size());
  }
  c.layers_per_block = json_int(config, "layers_per_block", 1, 16, c.layers_per_block);
  c.latent_channels = json_int(config, "latent_channels", 1, 1024, c.latent_channels);
  c.norm_groups = json_int(config, "norm_num_groups", 1, 4096, c.norm_groups);
  for (const int channels : c.channels) {
    if (channels < 1 || channels > 65536 || channels % c.norm_groups != 0) {
      throw Error(ErrorCode::kModel, "config: \"block_out_channels\" holds {}; expected multiples of {} groups",
                  channels, c.norm_groups);
    }
  }
  c.mid_attention = json_value<bool>(config, "mid_block_add_attention", true);
  c.quant_conv = json_value<bool>(config, "use_quant_conv", true);
  c.post_quant_conv = json_value<bool>(config, "use_post_quant_conv", true);
  c.scaling_factor = json_double(config, "scaling_factor", 1e-6, 1e6);
  const bool shifted = config.contains("shift_factor") && !config["shift_factor"].is_null();
  c.shift_factor = shifted ? json_double(config, "shift_factor", -1e6, 1e6) : 0;
  const auto blocks = [&](const char* name) { return std::vector<std::string>(c.channels.size(), name); };
  json_require(config, "in_channels", 3);
  json_require(config, "out_channels", 3);
  json_require(config, "act_fn", "silu");
  json_require(config, "down_block_types", blocks("DownEncoderBlock2D"));
  json_require(config, "up_block_types", blocks("UpDecoderBlock2D"));
  json_require(config, "latents_mean", nullptr);
  json_require(config, "latents_std", nullptr);
  return c;
}

KlResnetImpl::KlResnetImpl(int in, int out, int groups)
    : norm1_(register_module("norm1", kl_group_norm(groups, in))),
      conv1_(register_module("conv1", kl_conv3x3(in, out))),
      norm2_(register_module("norm2", kl_group_norm(groups, out))),
      conv2_(register_module("conv2", kl_conv3x3(out, out))) {
  if (in != out) conv_shortcut_ = register_module("conv_shortcut", kl_conv1x1(in, out));
}

at::Tensor KlResnetImpl::forward(const at::Tensor& x) {
  const at::Tensor h = conv2_(at::silu(norm2_(conv1_(at::silu(norm1_(x))))));
  return (conv_shortcut_ ? conv_shortcut_(x) : x) + h;
}

KlAttentionImpl::KlAttentionImpl(int dim, int groups)
    : group_norm_(register_module("group_norm", kl_group_norm(groups, dim))),
      to_q_(register_module("to_q", nn::Linear(dim, dim))),
      to_k_(register_module("to_k", nn::Linear(dim, dim))),
      to_v_(register_module("to_v", nn::Linear(dim, dim))),
      to_out_(register_module("to_out", std::make_shared<nn::Module>())->register_module("0", nn::Linear(dim, dim))) {}

at::Tensor KlAttentionImpl::forward(const at::Tensor& x) {
  const at::Tensor tokens = group_norm_(x).flatten(2).transpose(1, 2);
  const at::Tensor mixed = at::scaled_dot_product_attention(to_q_(tokens).unsqueeze(1), to_k_(tokens).unsqueeze(1),
                                                            to_v_(tokens).unsqueeze(1));
  return x + to_out_(mixed.squeeze(1)).transpose(1, 2).reshape(x.sizes());
}

KlMidBlockImpl::KlMidBlockImpl(const AutoencoderKlConfig& config) {
  const int dim = config.channels.back();
  register_module("resnets", resnets_);
  resnets_->push_back(KlResnet(dim, dim, config.norm_groups));
  resnets_->push_back(KlResnet(dim, dim, config.norm_groups));
  if (!config.mid_attention) return;
  register_module("attentions", attentions_);
  attentions_->push_back(KlAttention(dim, config.norm_groups));
}

at::Tensor KlMidBlockImpl::forward(at::Tensor x) {
  x = resnets_[0]->as<KlResnet>()->forward(x);
  x = run_kl_blocks<KlAttention>(attentions_, x);
  return resnets_[1]->as<KlResnet>()->forward(x);
}

KlDownBlockImpl::KlDownBlockImpl(int in, int out, int layers, int groups, bool downsample) {
  register_module("resnets", resnets_);
  for (int i = 0; i < layers; ++i) resnets_->push_back(KlResnet(i == 0 ? in : out, out, groups));
  if (downsample) {
    downsample_ = register_kl_sampler(*this, "downsamplers", nn::Conv2d(nn::Conv2dOptions(out, out, 3).stride(2)));
  }
}

at::Tensor KlDownBlockImpl::forward(at::Tensor x) {
  x = run_kl_blocks<KlResnet>(resnets_, x);
  return downsample_ ? downsample_(at::constant_pad_nd(x, {0, 1, 0, 1})) : x;
}

KlUpBlockImpl::KlUpBlockImpl(int in, int out, int layers, int groups, bool upsample) {
  register_module("resnets", resnets_);
  for (int i = 0; i < layers; ++i) resnets_->push_back(KlResnet(i == 0 ? in : out, out, groups));
  if (upsample) upsample_ = register_kl_sampler(*this, "upsamplers", kl_conv3x3(out, out));
}

at::Tensor KlUpBlockImpl::forward(at::Tensor x) {
  x = run_kl_blocks<KlResnet>(resnets_, x);
  if (!upsample_) return x;
  return upsample_(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
}

KlEncoderImpl::KlEncoderImpl(const AutoencoderKlConfig& c) {
  conv_in_ = register_module("conv_in", kl_conv3x3(3, c.channels.front()));
  register_module("down_blocks", down_blocks_);
  int width = c.channels.front();
  for (std::size_t i = 0; i < c.channels.size(); ++i) {
    const bool last = i + 1 == c.channels.size();
    down_blocks_->push_back(KlDownBlock(width, c.channels[i], c.layers_per_block, c.norm_groups, !last));
    width = c.channels[i];
  }
  mid_block_ = register_module("mid_block", KlMidBlock(c));
  conv_norm_out_ = register_module("conv_norm_out", kl_group_norm(c.norm_groups, width));
  conv_out_ = register_module("conv_out", kl_conv3x3(width, 2 * c.latent_channels));
}

at::Tensor KlEncoderImpl::forward(const at::Tensor& image) {
  const at::Tensor x = mid_block_(run_kl_blocks<KlDownBlock>(down_blocks_, conv_in_(image)));
  return conv_out_(at::silu(conv_norm_out_(x)));
}

KlDecoderImpl::KlDecoderImpl(const AutoencoderKlConfig& c) {
  int width = c.channels.back();
  conv_in_ = register_module("conv_in", kl_conv3x3(c.latent_channels, width));
  mid_block_ = register_module("mid_block", KlMidBlock(c));
  register_module("up_blocks", up_blocks_);
  for (std::size_t i = c.channels.size(); i-- > 0;) {
    up_blocks_->push_back(KlUpBlock(width, c.channels[i], c.layers_per_block + 1, c.norm_groups, i > 0));
    width = c.channels[i];
  }
  conv_norm_out_ = register_module("conv_norm_out", kl_group_norm(c.norm_groups, width));
  conv_out_ = register_module("conv_out", kl_conv3x3(width, 3));
}

at::Tensor KlDecoderImpl::forward(const at::Tensor& latent) {
  const at::Tensor x = run_kl_blocks<KlUpBlock>(up_blocks_, mid_block_(conv_in_(latent)));
  return conv_out_(at::silu(conv_norm_out_(x)));
}

at::Tensor KlPosterior::std() const { return at::exp(log_variance * 0.5); }

AutoencoderKlImpl::AutoencoderKlImpl(const AutoencoderKlConfig& config)
    : config_(config),
      encoder_(register_module("encoder", KlEncoder(config))),
      decoder_(register_module("decoder", KlDecoder(config))) {
  const int latent = config.latent_channels;
  if (config.quant_conv) quant_conv_ = register_module("quant_conv", kl_conv1x1(2 * latent, 2 * latent));
  if (config.post_quant_conv) post_quant_conv_ = register_module("post_quant_conv", kl_conv1x1(latent, latent));
}

KlPosterior AutoencoderKlImpl::encode(const at::Tensor& image) {
  at::Tensor moments = encoder_(image);
  if (quant_conv_) moments = quant_conv_(moments);
  const auto halves = moments.chunk(2, 1);
  return {halves[0], halves[1].clamp(kLowestLogVariance, kHighestLogVariance)};
}

at::Tensor AutoencoderKlImpl::decode(const at::Tensor& latent) {
  return decoder_(post_quant_conv_ ? post_quant_conv_(latent) : latent);
}

at::Tensor AutoencoderKlConfig::to_model(const at::Tensor& latent) const {
  return (latent - shift_factor) * scaling_factor;
}

at::Tensor AutoencoderKlConfig::from_model(const at::Tensor& latent) const {
  return latent / scaling_factor + shift_factor;
}

}  // namespace vtissue::models
