#include "models/null_engines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/error.h"
#include "models/model_folder.h"

namespace vtissue::models {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;

std::vector<std::uint8_t> flat_tile(int px, std::uint8_t r, std::uint8_t g, std::uint8_t b) {
  std::vector<std::uint8_t> rgb;
  for (int i = 0; i < px * px; ++i) rgb.insert(rgb.end(), {r, g, b});
  return rgb;
}

TEST(NullEngines, FolderNameSelectsThem) {
  EXPECT_TRUE(ModelFolder::is_null("null"));
  EXPECT_TRUE(ModelFolder::is_null("weights/null/"));
  EXPECT_FALSE(ModelFolder::is_null("null/encoder"));
  EXPECT_EQ(Denoiser::load("weights/null", nullptr)->info().architecture, "null");
}

TEST(NullEngines, DigestsTellThemApart) {
  EXPECT_EQ(make_null_autoencoder(4)->info().sha256, make_null_autoencoder(4)->info().sha256);
  EXPECT_NE(make_null_autoencoder(4)->info().sha256, make_null_autoencoder(8)->info().sha256);
  EXPECT_NE(make_null_gene_encoder()->info().sha256, make_null_expression_predictor()->info().sha256);
}

TEST(NullMorphologyEncoder, FeaturesAreMeans) {
  const auto encoder = make_null_morphology_encoder(18);
  std::vector<std::uint8_t> rgb = flat_tile(4, 0, 255, 0);
  for (const int pixel : {0, 1, 4, 5}) rgb[static_cast<std::size_t>(pixel) * 3] = 255;  // red in the upper left quarter
  std::vector<float> out(18, 9.0f);
  encoder->encode(rgb, 1, 4, out);
  EXPECT_THAT(out, ElementsAre(-0.5f, 1, -1, /*upper*/ 1, 1, -1, -1, 1, -1, /*lower*/ -1, 1, -1, -1, 1, -1, 0, 0, 0));
  std::vector<float> wrong(3);
  EXPECT_THROW(encoder->encode(rgb, 1, 4, wrong), Error);
  EXPECT_THROW(encoder->encode(rgb, 1, 1, out), Error);
}

TEST(NullExpression, PassesThrough) {
  const auto predictor = make_null_expression_predictor();
  const auto encoder = make_null_gene_encoder();
  EXPECT_EQ(predictor->genes(), encoder->genes());
  const std::vector<float> spot = {-1, 0, 0.5f, 1, 9, 9, 9, 9, -2, 0, 0, 0, 9, 9, 9, 9};
  std::vector<float> values(8);
  predictor->predict(spot, {}, {}, {}, 2, values);
  EXPECT_THAT(values, ElementsAre(0, 1, 1.5f, 2, 0, 1, 1, 1));
  std::vector<float> cls(8), tokens(32);
  encoder->encode(values, 2, cls, tokens);
  EXPECT_EQ(cls, values);
  EXPECT_EQ(tokens[5], 1);
  EXPECT_EQ(std::accumulate(tokens.begin(), tokens.end(), 0.0f), 7.5f);
}

TEST(NullAutoencoder, ColoursSurviveTheRoundTrip) {
  const auto autoencoder = make_null_autoencoder(4);
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 8; ++x) {
      const bool upper = y < 8;
      rgb.insert(rgb.end(), {std::uint8_t(upper ? 10 : 200), 77, std::uint8_t(upper ? 255 : 0)});
    }
  }
  std::vector<float> z(8);
  autoencoder->encode(rgb, 1, 16, 8, z);
  EXPECT_THAT(std::vector<float>(z.end() - 2, z.end()), ElementsAre(0, 0));
  std::vector<std::uint8_t> back(rgb.size());
  autoencoder->decode(z, 1, 2, 1, back);
  EXPECT_EQ(back, rgb);
  z[0] = std::nanf("");
  EXPECT_THROW(autoencoder->decode(z, 1, 2, 1, back), Error);
  z[0] = 50;
  autoencoder->decode(z, 1, 2, 1, back);
  EXPECT_EQ(back[0], 255);
  EXPECT_THROW(autoencoder->encode(rgb, 1, 12, 8, z), Error);
}

TEST(NullDenoiser, EulerEndsAtTheMorphologysColour) {
  const auto denoiser = make_null_denoiser(4, 2);
  const std::vector<float> morphology = {0.1f, 0.2f, 0.3f, 0.4f, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const std::vector<std::uint8_t> has = {1, 0};
  std::vector<float> x(2 * 4 * 4), v(x.size());
  std::iota(x.begin(), x.end(), -3.0f);
  constexpr int kSteps = 5;
  for (int k = 0; k < kSteps; ++k) {
    denoiser->predict(x, 2, 1.0 - static_cast<double>(k) / kSteps, {.morphology = morphology, .has_morphology = has},
                      {}, v);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] -= v[i] / kSteps;
  }
  for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(x[i], morphology[i / 4], 1e-5);
  EXPECT_THAT(std::vector<float>(x.end() - 16, x.end()), Each(FloatNear(0, 1e-5f)));
}

}  // namespace
}  // namespace vtissue::models
