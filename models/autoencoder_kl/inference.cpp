#include "models/autoencoder_kl/inference.h"

#include "models/kernels/fused.h"
#include "models/kernels/map_layout.h"

namespace vtissue::models {

using kernels::FeatureMap;
using kernels::GroupNorm;
using kernels::PackedConv1x1;
using kernels::PackedConv3x3;
using kernels::PackedLinear;

namespace {

constexpr double kGroupNormEps = 1e-6;
constexpr std::int64_t kPixelsAtATile = 1024;  ///< in the middle of a tile of 256 px
constexpr std::int64_t kQueryParts = 8;

}  // namespace

/// Layers of the network by name.
class AutoencoderKlInference::Reader {
 public:
  Reader(const AutoencoderKlImpl& network, at::ScalarType dtype)
      : parameters_(network.named_parameters()), groups_(network.config().norm_groups), dtype_(dtype) {}

  bool has(const std::string& name) const { return parameters_.contains(name + ".weight"); }
  at::Tensor weight(const std::string& name) const { return parameters_[name + ".weight"]; }
  at::Tensor bias(const std::string& name) const { return parameters_[name + ".bias"]; }

  GroupNorm norm(const std::string& name) const { return {weight(name), bias(name), groups_, kGroupNormEps}; }
  PackedConv3x3 conv(const std::string& name, bool doubled = false) const {
    return {weight(name), bias(name), dtype_, doubled};
  }
  PackedConv1x1 pointwise(const std::string& name) const {
    return has(name) ? PackedConv1x1(weight(name), bias(name), dtype_) : PackedConv1x1();
  }
  PackedLinear linear(const at::Tensor& weights, const at::Tensor& biases) const {
    return {weights, biases, dtype_, at::kCPU, kPixelsAtATile};
  }

  Resnet resnet(const std::string& name) const {
    return {.norm1 = norm(name + ".norm1"),
            .norm2 = norm(name + ".norm2"),
            .conv1 = conv(name + ".conv1"),
            .conv2 = conv(name + ".conv2"),
            .shortcut = pointwise(name + ".conv_shortcut")};
  }

  Attention attention(const std::string& name) const {
    const auto joined = [&](const auto& part) {
      return at::cat({part(name + ".to_q"), part(name + ".to_k"), part(name + ".to_v")});
    };
    return {.norm = norm(name + ".group_norm"),
            .qkv = linear(joined([&](const std::string& layer) { return weight(layer); }),
                          joined([&](const std::string& layer) { return bias(layer); })),
            .out = linear(weight(name + ".to_out.0"), bias(name + ".to_out.0"))};
  }

  Half half(const std::string& name, const std::string& levels, std::size_t count) const {
    const std::string middle = name + ".mid_block.";
    Half result{.conv_in = conv(name + ".conv_in"),
                .conv_out = conv(name + ".conv_out"),
                .middle = {.first = resnet(middle + "resnets.0"), .second = resnet(middle + "resnets.1")},
                .norm_out = norm(name + ".conv_norm_out")};
    if (has(middle + "attentions.0.to_q")) result.middle.attention = attention(middle + "attentions.0");
    for (std::size_t i = 0; i < count; ++i) {
      const std::string level = name + "." + levels + "." + std::to_string(i);
      Level& to = result.levels.emplace_back();
      for (int j = 0; has(level + ".resnets." + std::to_string(j) + ".conv1"); ++j) {
        to.resnets.push_back(resnet(level + ".resnets." + std::to_string(j)));
      }
      const std::string up = level + ".upsamplers.0.conv", down = level + ".downsamplers.0.conv";
      if (has(up)) to.doubling = conv(up, /*doubled=*/true);
      if (has(down)) {
        to.halving_weight = weight(down).detach().to(at::kCPU, dtype_).contiguous(at::MemoryFormat::ChannelsLast);
        to.halving_bias = bias(down).detach().to(at::kCPU, dtype_);
      }
    }
    return result;
  }

 private:
  torch::OrderedDict<std::string, at::Tensor> parameters_;
  std::int64_t groups_;
  at::ScalarType dtype_;
};

AutoencoderKlInference::AutoencoderKlInference(AutoencoderKlImpl& network, at::ScalarType dtype)
    : config_(network.config()), dtype_(dtype) {
  const torch::NoGradGuard no_grad;
  const Reader reader(network, dtype);
  encoder_ = reader.half("encoder", "down_blocks", config_.channels.size());
  decoder_ = reader.half("decoder", "up_blocks", config_.channels.size());
  quant_ = reader.pointwise("quant_conv");
  post_quant_ = reader.pointwise("post_quant_conv");
}

FeatureMap AutoencoderKlInference::run(const Resnet& block, const FeatureMap& x) const {
  const FeatureMap h = block.conv1(x.values, block.norm1(x));
  return block.conv2(h.values, block.norm2(h), block.shortcut.defined() ? block.shortcut(x.values) : x.values);
}

FeatureMap AutoencoderKlInference::run(const Attention& block, const FeatureMap& x) const {
  const GroupNorm::Factors factors = block.norm(x);
  const std::int64_t batch = x.values.size(0), dim = x.values.size(3);
  const at::Tensor tokens = x.values.view({batch, -1, dim});
  const std::int64_t count = tokens.size(1), parts = count % kQueryParts == 0 ? kQueryParts : 1;
  std::vector<at::Tensor> results;
  for (std::int64_t i = 0; i < batch; ++i) {  // a linear layer's last bits may depend on the number of rows
    const auto row = [&](const at::Tensor& t) { return t.narrow(0, i, 1); };
    const at::Tensor normed = at::addcmul(row(factors.shift), row(tokens), row(factors.scale)).to(dtype_);
    const at::Tensor qkv = block.qkv(normed);
    const auto all_keys = [&](std::int64_t first) { return qkv.narrow(2, first, dim).expand({parts, -1, -1}); };
    const at::Tensor queries = qkv.narrow(2, 0, dim).view({parts, count / parts, dim});  // for as many threads
    results.push_back(block.out(kernels::attention(queries, all_keys(dim), all_keys(2 * dim), 1).view({1, count, dim}))
                          .to(at::kFloat));
  }
  return kernels::with_moments(at::cat(results).view(x.values.sizes()).add_(x.values));
}

FeatureMap AutoencoderKlInference::run(const Middle& block, FeatureMap x) const {
  x = run(block.first, x);
  if (block.attention) x = run(*block.attention, x);
  return run(block.second, x);
}

FeatureMap AutoencoderKlInference::run(const Level& block, FeatureMap x) const {
  for (const Resnet& resnet : block.resnets) x = run(resnet, x);
  if (block.doubling.defined()) return block.doubling(x.values);
  if (!block.halving_weight.defined()) return x;
  std::vector<at::Tensor> halved;
  for (std::int64_t i = 0; i < x.values.size(0); ++i) {  // the last bits depend on the size of the batch
    // Right and bottom alone.
    const at::Tensor padded = at::constant_pad_nd(x.values.narrow(0, i, 1).to(dtype_), {0, 0, 0, 1, 0, 1});
    halved.push_back(
        kernels::to_map(at::conv2d(kernels::to_image(padded), block.halving_weight, block.halving_bias, 2)));
  }
  return kernels::with_moments(at::cat(halved));
}

at::Tensor AutoencoderKlInference::encode_map(const at::Tensor& image) const {
  FeatureMap x = encoder_.conv_in(image);
  for (const Level& level : encoder_.levels) x = run(level, std::move(x));
  x = run(encoder_.middle, std::move(x));
  const at::Tensor moments = encoder_.conv_out(x.values, encoder_.norm_out(x)).values;
  return quant_.defined() ? quant_(moments) : moments;
}

at::Tensor AutoencoderKlInference::decode_map(const at::Tensor& latent) const {
  FeatureMap x = decoder_.conv_in(post_quant_.defined() ? post_quant_(latent) : latent);
  x = run(decoder_.middle, std::move(x));
  for (const Level& level : decoder_.levels) x = run(level, std::move(x));
  return decoder_.conv_out(x.values, decoder_.norm_out(x)).values;
}

at::Tensor AutoencoderKlInference::encode(const at::Tensor& image) const {
  return kernels::by_sample(image, [&](const at::Tensor& part) {
    return kernels::to_image(encode_map(kernels::to_map(part)).narrow(3, 0, config_.latent_channels));
  });
}

at::Tensor AutoencoderKlInference::decode(const at::Tensor& latent) const {
  return kernels::by_sample(
      latent, [&](const at::Tensor& part) { return kernels::to_image(decode_map(kernels::to_map(part))); });
}

}  // namespace vtissue::models
