#include "models/taesd/taesd.h"

#include <cmath>

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

/// The float64 deviation of these goldens is 2e-6 of the largest value.
constexpr double kTolerance = 2e-5;

TaesdConfig tiny(int latent_channels, bool pooled) {
  TaesdConfig config;
  config.latent_channels = latent_channels;
  config.width = 8;
  config.pooled_mid = pooled;
  return config;
}

void load_original(Taesd& network, const std::filesystem::path& encoder, const std::filesystem::path& decoder) {
  load(*network->encoder, StateDict::open(encoder));
  load(*network->decoder, StateDict::open(decoder));
  network->eval();
}

struct Variant {
  const char* name;
  int latent_channels;
  bool pooled;
};

class TaesdGolden : public testing::TestWithParam<Variant> {};

TEST_P(TaesdGolden, EncodesAndDecodesAsTheOriginal) {
  const torch::NoGradGuard no_grad;
  const auto [name, channels, pooled] = GetParam();
  const std::string file = std::string("taesd3_tiny/") + name;
  const StateDict io = golden("taesd3_tiny/io.safetensors");
  Taesd network(tiny(channels, pooled));
  load_original(network, golden_path(file + "_encoder.safetensors"), golden_path(file + "_decoder.safetensors"));
  const auto tensor = [&](const char* key) { return io.get(std::string(name) + "/" + key); };
  expect_close(network->encode(tensor("x")), tensor("latent"), kTolerance);
  expect_close(network->decode(tensor("z_in")), tensor("decoded"), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Variants, TaesdGolden,
                         testing::Values(Variant{"taesd3", 16, false}, Variant{"flux2", 32, true}),
                         [](const auto& variant) { return std::string(variant.param.name); });

TEST(Taesd, ReadsDiffusersLayout) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden("taesd3_tiny/io.safetensors");
  const StateDict weights = golden("taesd3_tiny/diffusers.safetensors");
  Taesd network(parse_taesd_config(golden_json("taesd3_tiny/config.json")));
  load(*network, weights, taesd_load_rules(weights));
  network->eval();
  expect_close(network->encode(io.get("taesd3/x")), io.get("taesd3/latent"), kTolerance);
  // diffusers gives [-1, 1].
  expect_close(network->decode(io.get("taesd3/z_in")) * 2 - 1, io.get("taesd3/diffusers_decoded"), kTolerance);
}

TEST_P(TaesdGolden, IntermediatesAgree) {
  const torch::NoGradGuard no_grad;
  const auto [name, channels, pooled] = GetParam();
  const std::string file = std::string("taesd3_tiny/") + name;
  const StateDict io = golden("taesd3_tiny/io.safetensors");
  Taesd network(tiny(channels, pooled));
  load_original(network, golden_path(file + "_encoder.safetensors"), golden_path(file + "_decoder.safetensors"));
  const auto tensor = [&](const char* key) { return io.get(std::string(name) + "/" + key); };
  // The golden holds every fourth pixel behind the first block.
  torch::nn::Sequential start;
  start->push_back(*network->encoder->begin());
  start->push_back(*(network->encoder->begin() + 1));
  const at::Tensor block = start->forward(tensor("x"));
  expect_close(block.slice(2, 0, block.size(2), 4).slice(3, 0, block.size(3), 4), tensor("after_enc_block1"),
               kTolerance);
  torch::nn::Sequential clamp;
  clamp->push_back(*network->decoder->begin());
  expect_close(clamp->forward(tensor("z_in")), tensor("after_dec_clamp"), kTolerance);
}

TEST(Taesd, LatentsAreStoredAsTheReferenceStoresThem) {
  const StateDict io = golden("taesd3_tiny/io.safetensors");
  expect_close(taesd_store_latent(io.get("scale/raw")), io.get("scale/scaled01"), 1e-6);
  expect_close(taesd_restore_latent(io.get("scale/scaled01")), io.get("scale/unscaled"), 1e-6);
}

TEST(TaesdConfig, ReadsDiffusersFormat) {
  const TaesdConfig config = parse_taesd_config(golden_json("taesd3_tiny/config.json"));
  EXPECT_EQ(config.latent_channels, 16);
  EXPECT_EQ(config.width, 8);
  EXPECT_EQ(config.decoder_blocks, (std::array{3, 3, 3, 1}));
  nlohmann::json other = golden_json("taesd3_tiny/config.json");
  other["act_fn"] = "silu";
  EXPECT_EQ(error_of([&] { (void)parse_taesd_config(other); }).first, ErrorCode::kModel);
  other = golden_json("taesd3_tiny/config.json");
  other["decoder_block_out_channels"] = {8, 8, 8, 16};
  EXPECT_EQ(error_of([&] { (void)parse_taesd_config(other); }).first, ErrorCode::kModel);
}

TEST(Taesd, DiffusersDoesNotCountTheClamp) {
  EXPECT_EQ(taesd_diffusers_names().to_file("encoder.14.bias").file, "encoder.layers.14.bias");
  EXPECT_EQ(taesd_diffusers_names().to_file("decoder.1.weight").file, "decoder.layers.0.weight");
  EXPECT_EQ(taesd_diffusers_names().to_file("decoder.10.conv.4.bias").file, "decoder.layers.9.conv.4.bias");
}

TEST(Taesd, ReadsThePublishedFlux2Weights) {
  const auto folder = data_path("weights/taef2");
  if (!folder) GTEST_SKIP() << "VTISSUE_DATA has no weights/taef2";
  const torch::NoGradGuard no_grad;
  const StateDict io = golden("taef2_real/io.safetensors");
  TaesdConfig config;
  config.latent_channels = 32;
  config.pooled_mid = true;
  Taesd network(config);
  load_original(network, *folder / "taef2_encoder.safetensors", *folder / "taef2_decoder.safetensors");
  for (const std::string tile : {"t0", "t1"}) {
    SCOPED_TRACE(tile);
    const at::Tensor image = io.get(tile + "/input_u8").permute({2, 0, 1}).unsqueeze(0).to(at::kFloat) / 255;
    const at::Tensor latent = network->encode(image);
    expect_close(latent, io.get(tile + "/latent"), kTolerance);
    const at::Tensor decoded = network->decode(latent);
    if (tile == "t0") {
      expect_close(decoded.slice(2, 100, 132).slice(3, 100, 132), io.get("t0/decoded_crop_fp32"), kTolerance);
      expect_close(decoded, io.get("t0/decoded").to(at::kFloat), 1e-3);  // stored as float16
    }
    const at::Tensor rounded = decoded.clamp(0, 1).mul(255).round().squeeze(0).permute({1, 2, 0});
    const at::Tensor difference = (rounded - io.get(tile + "/decoded_u8").to(at::kFloat)).abs();
    EXPECT_LE(difference.max().item<float>(), 1.0f);
    EXPECT_LT(difference.sum().item<float>(), 20.0f);
    const double error = (decoded.clamp(0, 1) - image).square().mean().item<double>();
    EXPECT_NEAR(-10 * std::log10(error), io.get(tile + "/psnr").item<double>(), 1e-3);
  }
}

TEST(Taesd, LatentsBeyondTheLimitAreClamped) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  Taesd network(tiny(4, false));
  const at::Tensor far = at::full({1, 4, 2, 2}, 1e6f);
  EXPECT_TRUE(at::equal(network->decode(far), network->decode(far * 2)));
}

TEST(Taesd, CanBeTrained) {
  torch::manual_seed(1);
  Taesd network(tiny(4, true));
  network->decode(network->encode(at::rand({1, 3, 16, 24}))).square().sum().backward();
  for (const auto& item : network->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
  }
}

TEST(TaesdConfig, RefusesWhatCannotBe) {
  const auto refused = [](const nlohmann::json& config) {
    const auto [code, text] = error_of([&] { (void)parse_taesd_config(config); });
    EXPECT_EQ(code, ErrorCode::kModel);
    return text;
  };
  EXPECT_THAT(refused({{"width", 0}}), testing::HasSubstr("\"width\" is 0"));
  EXPECT_THAT(refused({{"encoder_blocks", {1, 3, 3}}}), testing::HasSubstr("\"encoder_blocks\" has 3"));
  EXPECT_THAT(refused({{"decoder_blocks", {1, 3, 3, -1}}}), testing::HasSubstr("-1"));
  EXPECT_THAT(refused({{"pooled_mid", 1}}), testing::HasSubstr("\"pooled_mid\""));
}

}  // namespace
}  // namespace vtissue::models
