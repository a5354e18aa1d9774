#include "models/autoencoder_kl/autoencoder_kl.h"

#include <algorithm>
#include <set>

#include "core/safetensors.h"
#include "models/autoencoder_kl/inference.h"
#include "models/device.h"
#include "models/engine_support.h"
#include "models/engines.h"
#include "models/preprocess.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

/// The float64 deviation of these goldens is 2e-6 of the largest value.
constexpr double kTolerance = 2e-5;
/// bfloat16 has 8 bits; what products of it in all layers may be off.
constexpr double kBf16Tolerance = 0.03;

class AutoencoderKlGolden : public testing::Test {
 protected:
  static AutoencoderKl load_network(bool channels_last = false) {
    AutoencoderKl network(parse_autoencoder_kl_config(golden_json("sd3_vae/config.json")));
    const StateDict weights = golden("sd3_vae/weights.safetensors");
    load(*network, weights, autoencoder_kl_load_rules(weights, network->config()));
    if (channels_last) prepare_for_inference(*network, *Device::open("cpu", 1));
    return network;
  }

  torch::NoGradGuard no_grad_;
  StateDict io_ = golden("sd3_vae/io.safetensors");
};

TEST_F(AutoencoderKlGolden, EncodesAndDecodesAsTheReference) {
  for (const bool channels_last : {false, true}) {
    AutoencoderKl network = load_network(channels_last);
    const auto layout = [&](const at::Tensor& t) {
      return channels_last ? t.contiguous(at::MemoryFormat::ChannelsLast) : t;
    };
    for (const std::string size : {"sq/", "rect/"}) {
      SCOPED_TRACE(size + (channels_last ? "channels last" : "contiguous"));
      const KlPosterior posterior = network->encode(layout(io_.get(size + "x")));
      expect_close(posterior.mean, io_.get(size + "mean"), kTolerance);
      expect_close(posterior.log_variance, io_.get(size + "logvar"), kTolerance);
      expect_close(posterior.std(), io_.get(size + "std"), kTolerance);
      const at::Tensor sample = posterior.mean + posterior.std() * io_.get(size + "noise");
      expect_close(network->to_model(sample), io_.get(size + "sample_latent"), kTolerance);
      const at::Tensor scaled = network->to_model(posterior.mean);
      expect_close(scaled, io_.get(size + "z_scaled"), kTolerance);
      expect_close(network->decode(network->from_model(layout(scaled))), io_.get(size + "decoded"), kTolerance);
    }
    expect_close(network->decode(network->from_model(layout(io_.get("decode_only/z")))), io_.get("decode_only/decoded"),
                 kTolerance);
  }
}

// The form for a processor: the reference's results in float32, and in bfloat16 to a few of its 8 bits.
TEST_F(AutoencoderKlGolden, InferenceEncodesAndDecodesAsTheReference) {
  for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, kTolerance}, {at::kBFloat16, kBf16Tolerance}}) {
    AutoencoderKl network = load_network();
    const AutoencoderKlInference fast(*network, dtype);
    network = nullptr;
    const AutoencoderKlConfig& config = fast.config();
    for (const std::string size : {"sq/", "rect/"}) {
      SCOPED_TRACE(size + c10::toString(dtype));
      expect_close(fast.encode(io_.get(size + "x")), io_.get(size + "mean"), tolerance);
      expect_close(fast.decode(config.from_model(io_.get(size + "z_scaled"))), io_.get(size + "decoded"), tolerance);
    }
    expect_close(fast.decode(config.from_model(io_.get("decode_only/z"))), io_.get("decode_only/decoded"), tolerance);
  }
}

// SD1's and SDXL's have 1x1 convolutions at the latents, a network of another shape has no attention.
TEST(AutoencoderKl, InferenceIsTheNetwork) {
  const at::NoGradGuard no_grad;
  AutoencoderKlConfig config{.channels = {16, 32, 40}, .layers_per_block = 1, .latent_channels = 4, .norm_groups = 8};
  for (const bool more : {false, true}) {
    config.quant_conv = config.post_quant_conv = config.mid_attention = more;
    AutoencoderKl network(config);
    const auto draw = [](at::IntArrayRef shape, std::uint64_t seed) {
      return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
    };
    std::uint64_t seed = 0;
    for (const at::Tensor& p : network->parameters()) p.add_(draw(p.sizes(), ++seed), 0.05);
    const at::Tensor image = draw({2, 3, 20, 36}, 100), latent = draw({2, 4, 5, 9}, 101);
    const at::Tensor mean = network->encode(image).mean, decoded = network->decode(latent);
    for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, kTolerance}, {at::kBFloat16, kBf16Tolerance}}) {
      const AutoencoderKlInference fast(*network, dtype);
      expect_close(fast.encode(image), mean, tolerance);
      expect_close(fast.decode(latent), decoded, tolerance);
    }
  }
}

// With many threads the samples of a batch run at once.
TEST_F(AutoencoderKlGolden, InferenceGivesTheSameBitsWithAnyNumberOfThreads) {
  AutoencoderKl network = load_network();
  const AutoencoderKlInference fast(*network, at::kFloat);
  const at::Tensor image = at::cat({io_.get("sq/x"), io_.get("sq/x").flip({2})});
  const at::Tensor z = at::cat({io_.get("sq/z_scaled"), io_.get("sq/z_scaled").flip({3})});
  at::Tensor latents, images;
  for (const int threads : {1, 12}) {
    Device::open("cpu", threads)->run([&] {
      const at::Tensor encoded = fast.encode(image), decoded = fast.decode(z);
      if (!latents.defined()) {
        latents = encoded.clone();
        images = decoded.clone();
      }
      EXPECT_TRUE(at::equal(encoded, latents));
      EXPECT_TRUE(at::equal(decoded, images));
    });
  }
}

TEST_F(AutoencoderKlGolden, IntermediatesAgree) {
  AutoencoderKl network = load_network();
  auto modules = network->named_modules();
  const auto resnet = [&](const std::string& name, const at::Tensor& x) {
    return modules[name]->as<KlResnet>()->forward(x);
  };
  const auto expect = [&](const std::string& name, const at::Tensor& ours) {
    expect_close(ours.slice(1, 0, io_.get("sq/i/" + name).size(1)), io_.get("sq/i/" + name), kTolerance);
  };
  at::Tensor x = modules["encoder.conv_in"]->as<torch::nn::Conv2d>()->forward(io_.get("sq/x"));
  expect("enc_conv_in[:2]", x);
  expect("enc_down0_res0[:2]", resnet("encoder.down_blocks.0.resnets.0", x));
  for (int i = 0; i < 4; ++i) {
    x = modules["encoder.down_blocks." + std::to_string(i)]->as<KlDownBlock>()->forward(x);
    if (i == 0) expect("enc_down0_down", x);
  }
  const at::Tensor after_first = resnet("encoder.mid_block.resnets.0", x);
  expect("enc_mid_attn", modules["encoder.mid_block.attentions.0"]->as<KlAttention>()->forward(after_first));
  expect("enc_mid", modules["encoder.mid_block"]->as<KlMidBlock>()->forward(x));

  x = modules["decoder.conv_in"]->as<torch::nn::Conv2d>()->forward(network->from_model(io_.get("sq/z_scaled")));
  x = modules["decoder.mid_block"]->as<KlMidBlock>()->forward(x);
  expect("dec_mid", x);
  for (int i = 0; i < 3; ++i) {
    x = modules["decoder.up_blocks." + std::to_string(i)]->as<KlUpBlock>()->forward(x);
    if (i == 0) expect("dec_up0", x);
  }
  expect("dec_up2[:2]", x);
}

TEST_F(AutoencoderKlGolden, LogVarianceIsClamped) {
  AutoencoderKl network = load_network();
  // Moments far beyond the limits, from the last convolution's bias.
  at::Tensor bias = network->named_parameters()["encoder.conv_out.bias"];
  bias.slice(0, 16, 20).fill_(1e4);
  bias.slice(0, 20, 24).fill_(-1e4);
  const KlPosterior posterior = network->encode(io_.get("sq/x"));
  EXPECT_EQ(posterior.log_variance.slice(1, 0, 4).min().item<float>(), 20.0f);
  EXPECT_EQ(posterior.log_variance.slice(1, 4, 8).max().item<float>(), -30.0f);
  expect_close(posterior.std().slice(1, 4, 8), at::full({1, 4, 8, 8}, std::exp(-15.0)), 1e-5);
}

TEST_F(AutoencoderKlGolden, PixelsAreRoundedOrTruncated) {
  for (const std::string size : {"sq/", "rect/"}) {
    const at::Tensor decoded = io_.get(size + "decoded");
    const std::vector<float> planes = to_vector(decoded * 0.5 + 0.5);
    std::vector<std::uint8_t> rgb(planes.size());
    const auto as_planes = [&](Quantization how) {
      quantize_rgb(planes, rgb, how);
      return at::tensor(at::ArrayRef<std::uint8_t>(rgb.data(), rgb.size()))
          .view({decoded.size(2), decoded.size(3), 3})
          .permute({2, 0, 1})
          .unsqueeze(0);
    };
    EXPECT_TRUE(at::equal(as_planes(Quantization::kRound), io_.get(size + "decoded_u8_rounded")));
    EXPECT_TRUE(at::equal(as_planes(Quantization::kTruncate), io_.get(size + "decoded_u8_truncated")));
  }
}

/// The golden weights under the original code's names, as 1x1 convolutions where it has them.
std::filesystem::path write_ldm_file(const std::string& name, const std::string& prefix, bool more) {
  const StateDict weights = golden("sd3_vae/weights.safetensors");
  std::vector<at::Tensor> kept;
  std::vector<SafetensorsOutput> outputs;
  const auto add = [&](const std::string& key, at::Tensor tensor) {
    kept.push_back(tensor.contiguous());
    outputs.push_back({.name = key,
                       .dtype = "F32",
                       .shape = kept.back().sizes().vec(),
                       .data = std::span(static_cast<const std::byte*>(kept.back().const_data_ptr()),
                                         static_cast<std::size_t>(kept.back().nbytes()))});
  };
  for (const TensorInfo& info : weights.tensors()) {
    at::Tensor tensor = weights.get(info.name);
    if (info.name.find(".to_") != std::string::npos && tensor.dim() == 2) tensor = tensor.unsqueeze(2).unsqueeze(3);
    add(prefix + autoencoder_kl_ldm_name(info.name, 4), tensor);
  }
  if (more) add("model.diffusion_model.x_embedder.proj.bias", at::zeros({3}));
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / name;
  write_safetensors(path, std::move(outputs));
  return path;
}

TEST_F(AutoencoderKlGolden, ReadsTheOriginalLayout) {
  for (const bool prefixed : {false, true}) {
    const auto path = write_ldm_file("ldm_vae.safetensors", prefixed ? "first_stage_model." : "", /*more=*/prefixed);
    AutoencoderKl network(parse_autoencoder_kl_config(golden_json("sd3_vae/config.json")));
    const StateDict weights = StateDict::open(path);
    load(*network, weights, autoencoder_kl_load_rules(weights, network->config()));
    std::filesystem::remove(path);
    expect_close(network->encode(io_.get("sq/x")).mean, io_.get("sq/mean"), kTolerance);
    expect_close(network->decode(network->from_model(io_.get("decode_only/z"))), io_.get("decode_only/decoded"),
                 kTolerance);
  }
}

TEST(AutoencoderKl, NamesOfTheOriginal) {
  const auto name = [](const std::string& ours) { return autoencoder_kl_ldm_name(ours, 4); };
  EXPECT_EQ(name("encoder.down_blocks.1.resnets.0.conv_shortcut.weight"), "encoder.down.1.block.0.nin_shortcut.weight");
  EXPECT_EQ(name("encoder.down_blocks.2.downsamplers.0.conv.bias"), "encoder.down.2.downsample.conv.bias");
  EXPECT_EQ(name("decoder.up_blocks.0.resnets.2.norm1.weight"), "decoder.up.3.block.2.norm1.weight");
  EXPECT_EQ(name("decoder.up_blocks.2.upsamplers.0.conv.weight"), "decoder.up.1.upsample.conv.weight");
  EXPECT_EQ(name("encoder.mid_block.resnets.1.conv2.bias"), "encoder.mid.block_2.conv2.bias");
  EXPECT_EQ(name("decoder.mid_block.attentions.0.to_out.0.weight"), "decoder.mid.attn_1.proj_out.weight");
  EXPECT_EQ(name("decoder.mid_block.attentions.0.group_norm.bias"), "decoder.mid.attn_1.norm.bias");
  EXPECT_EQ(name("encoder.conv_norm_out.bias"), "encoder.norm_out.bias");
  EXPECT_EQ(name("decoder.conv_in.weight"), "decoder.conv_in.weight");
}

TEST(AutoencoderKl, PublishedSizeHasThePublishedParameters) {
  const AutoencoderKl network{AutoencoderKlConfig{}};
  std::int64_t encoder = 0;
  std::int64_t decoder = 0;
  for (const auto& item : network->named_parameters()) {
    (item.key().starts_with("encoder.") ? encoder : decoder) += item.value().numel();
  }
  EXPECT_EQ(encoder, 34274208);
  EXPECT_EQ(decoder, 49545475);
}

TEST(AutoencoderKlConfig, RefusesWhatItDoesNotCompute) {
  const auto refused = [](const std::string& key, const nlohmann::json& value) {
    nlohmann::json config = golden_json("sd3_vae/config.json");
    config[key] = value;
    const auto [code, text] = error_of([&] { (void)parse_autoencoder_kl_config(config); });
    EXPECT_EQ(code, ErrorCode::kModel);
    return text;
  };
  EXPECT_THAT(refused("act_fn", "relu"), testing::HasSubstr("\"silu\""));
  EXPECT_THAT(refused("latents_mean", {1, 2}), testing::HasSubstr("\"latents_mean\""));
  EXPECT_THAT(refused("block_out_channels", {8, 18}), testing::HasSubstr("holds 18"));
  EXPECT_THAT(refused("down_block_types", {"AttnDownEncoderBlock2D"}), testing::HasSubstr("DownEncoderBlock2D"));
  EXPECT_THAT(refused("scaling_factor", 0), testing::HasSubstr("\"scaling_factor\""));
}

// The engine over diffusers' folder: what a user has after downloading.
TEST_F(AutoencoderKlGolden, EngineReadsDiffusersFolder) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "vae";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(golden_path("sd3_vae/config.json"), folder / "config.json",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::copy_file(golden_path("sd3_vae/weights.safetensors"), folder / "diffusion_pytorch_model.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  const auto engine = Autoencoder::load(folder, Device::open("cpu", 1));
  EXPECT_EQ(engine->factor(), 8);
  EXPECT_EQ(engine->latent_channels(), 16);
  const std::vector<float> z = to_vector(io_.get("rect/z_scaled"));
  std::vector<std::uint8_t> rgb(48 * 80 * 3);
  engine->decode(z, 1, 6, 10, rgb);
  const std::vector<std::uint8_t> expected = to_bytes(io_.get("rect/decoded_u8_rounded").squeeze(0).permute({1, 2, 0}));
  int different = 0;
  for (std::size_t i = 0; i < rgb.size(); ++i) {
    EXPECT_LE(std::abs(rgb[i] - expected[i]), 1);
    different += rgb[i] != expected[i];
  }
  EXPECT_LT(different, 5);

  std::vector<float> encoded(z.size());
  engine->encode(rgb, 1, 48, 80, encoded);
  AutoencoderKl network = load_network();
  const at::Tensor image =
      at::tensor(at::ArrayRef<std::uint8_t>(rgb.data(), rgb.size())).view({1, 48, 80, 3}).permute({0, 3, 1, 2});
  expect_close(at::tensor(encoded).view({1, 16, 6, 10}),
               network->to_model(network->encode(image.to(at::kFloat) / 127.5 - 1).mean), 1e-5);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace vtissue::models
