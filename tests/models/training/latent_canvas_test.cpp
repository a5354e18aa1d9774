#include "models/training/latent_canvas.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "models/training/checkpoint.h"
#include "tests/models/training/toy_set.h"

namespace vtissue::models::training {
namespace {

constexpr int kPx = 128;

/// Sees 48 pixels around a latent.
FrozenAutoencoder random_autoencoder(const std::filesystem::path& folder) {
  torch::manual_seed(5);
  TaesdConfig config;
  config.latent_channels = 3;
  config.width = 8;
  config.encoder_blocks = {1, 0, 0, 1};
  config.decoder_blocks = {1, 0, 0, 1};
  const Taesd model(config);
  save_tensors(folder / "model.safetensors", weights_of(*model));
  nlohmann::json json{{"architecture", "taesd"},
                      {"latent_channels", 3},
                      {"width", 8},
                      {"encoder_blocks", {1, 0, 0, 1}},
                      {"decoder_blocks", {1, 0, 0, 1}}};
  std::ofstream(folder / "config.json") << json.dump();
  return FrozenAutoencoder::open(folder);
}

class LatentCanvasTest : public testing::Test {
 protected:
  LatentCanvasTest()
      : set_(TrainingSet::open(write_toy_set(folder_.path()))), autoencoder_(random_autoencoder(folder_.path())) {}

  LatentCanvas canvas(int symmetry) {
    const std::vector<Crop> wanted{{1, 32, 32, 0}};
    return make_canvas(options_, set_, autoencoder_, 1, symmetry, wanted, kPx, 32, {.window_px = 64, .halo_px = 64},
                       folder_.path() / "canvas.safetensors");
  }

  TemporaryFolder folder_;
  TrainOptions options_;
  TrainingSet set_;
  FrozenAutoencoder autoencoder_;
};

/// Away from the borders a crop of the canvas is what the encoder makes of the crop's pixels, under every symmetry.
TEST_F(LatentCanvasTest, AgreesWithEncodingTheCrop) {
  for (int symmetry = 0; symmetry < 8; ++symmetry) {
    const LatentCanvas whole = canvas(symmetry);
    for (const auto& [x, y] : {std::pair{32, 32}, {27, 45}}) {
      const CanvasCrop crop = canvas_crop(set_, whole, {1, x, y, 0}, kPx);
      EXPECT_EQ(crop.pixels.symmetry, symmetry);
      EXPECT_LE(std::abs(crop.pixels.x - x), 8);
      EXPECT_LE(std::abs(crop.pixels.y - y), 8);
      const at::Tensor direct = autoencoder_.encode(read_crops(set_, std::span(&crop.pixels, 1), kPx))[0];
      const auto inner = [](const at::Tensor& z) { return z.narrow(1, 7, 2).narrow(2, 7, 2); };
      EXPECT_TRUE(at::allclose(inner(crop.latents), inner(direct), 1e-2, 1e-3)) << "symmetry " << symmetry;
    }
  }
}

TEST_F(LatentCanvasTest, IsTakenFromTheCacheOnlyIfItIsTheSame) {
  const LatentCanvas first = canvas(3);
  int encoded = 0;
  options_.progress = [&](const TrainEvent&) { ++encoded; };
  EXPECT_TRUE(at::equal(canvas(3).latents, first.latents));
  EXPECT_EQ(encoded, 0);
  canvas(2);
  EXPECT_GT(encoded, 0);
  for (const char* what : {"another set", "again another set"}) {
    encoded = 0;
    options_.inputs["data"] = what;
    canvas(2);
    EXPECT_GT(encoded, 0) << what;
  }
  encoded = 0;
  canvas(2);
  EXPECT_EQ(encoded, 0);
}

TEST_F(LatentCanvasTest, StaysWithinTheSection) {
  const LatentCanvas whole = canvas(0);
  const CanvasCrop crop = canvas_crop(set_, whole, {1, -20, 500, 0}, kPx);
  EXPECT_EQ(crop.pixels.x, 0);
  EXPECT_EQ(crop.pixels.y, 192 - kPx);
}

}  // namespace
}  // namespace vtissue::models::training
