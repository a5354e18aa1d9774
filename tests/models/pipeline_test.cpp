#include <cmath>

#include "models/autoencoder_kl/autoencoder_kl.h"
#include "models/preprocess.h"
#include "models/samplers/sampler.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/stmdit.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

struct PipelineCase {
  const char* name;
  int steps;
  double scale;
  double tolerance;
};

class PipelineGolden : public testing::TestWithParam<PipelineCase> {};

// PixCell, guidance, DPM-Solver++ and the decoder together, as the published pipeline puts them.
TEST_P(PipelineGolden, DrawsTheReferencesTiles) {
  const torch::NoGradGuard no_grad;
  const auto [name, steps, scale, tolerance] = GetParam();
  const StateDict io = golden("pipeline_tiny/io.safetensors");
  const auto expected = [&](const char* key) { return io.get(std::string(name) + "/" + key); };
  Stmdit network(parse_stmdit_config(golden_json("pixcell_256/config.json")));
  load_stmdit(*network, golden("pixcell_256/weights.safetensors"));
  AutoencoderKl autoencoder(parse_autoencoder_kl_config(golden_json("sd3_vae/config.json")));
  load(*autoencoder, golden("sd3_vae/weights.safetensors"));

  const at::Tensor start = io.get("latents");
  const at::Tensor y = io.get("y");
  const Sampler sampler = make_sampler({.name = "dpmpp", .steps = steps});
  std::vector<float> x = to_vector(start);
  std::vector<float> history(x.size());
  for (int i = 0; i < steps; ++i) {
    const at::Tensor state = at::tensor(x).view(start.sizes());
    const at::Tensor t = at::full({2}, sampler.evaluations()[static_cast<std::size_t>(i)].t);
    const at::Tensor e_0 = network->forward({.x = state, .t = t}).narrow(1, 0, 16);
    const at::Tensor e_m = network->forward({.x = state, .t = t, .morphology = y}).narrow(1, 0, 16);
    sampler.update(i, {.x = x, .prediction = to_vector(e_0 + scale * (e_m - e_0)), .history = history});
    if (i < 2) {
      expect_close(at::tensor(x).view(start.sizes()), expected("latent_after_steps_1_2")[i], tolerance);
    }
  }
  const at::Tensor latent = at::tensor(x).view(start.sizes());
  expect_close(latent, expected("latent_final"), tolerance);

  if (!io.contains(std::string(name) + "/decoded")) return;
  const at::Tensor decoded = autoencoder->decode(autoencoder->from_model(expected("latent_final").slice(0, 0, 1)));
  // The decoder amplifies what float32 leaves of latents of several hundred.
  expect_close(decoded.clamp(-1, 1), expected("decoded").clamp(-1, 1), 1e-4);
  const std::vector<float> planes = to_vector(decoded * 0.5 + 0.5);
  std::vector<std::uint8_t> rgb(planes.size());
  quantize_rgb(planes, rgb);
  const auto reference = to_bytes(expected("decoded_u8").squeeze(0).permute({1, 2, 0}));
  std::size_t different = 0;
  for (std::size_t i = 0; i < rgb.size(); ++i) {
    EXPECT_LE(std::abs(rgb[i] - reference[i]), 1);
    different += rgb[i] != reference[i] ? 1 : 0;
  }
  EXPECT_LT(different, rgb.size() / 200);
}

INSTANTIATE_TEST_SUITE_P(Runs, PipelineGolden,
                         testing::Values(PipelineCase{"n5_s2.0", 5, 2.0, 1.5e-5},
                                         PipelineCase{"n20_s1.5", 20, 1.5, 1.5e-5}),
                         [](const auto& test) { return "N" + std::to_string(test.param.steps); });

}  // namespace
}  // namespace vtissue::models
