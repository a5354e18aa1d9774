#include "stages/stitch/latent_decoder.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <memory>
#include <random>
#include <utility>

#include "io/half.h"
#include "models/null_engines.h"
#include "tests/stages/stage_fixture.h"

namespace vtissue::stages {
namespace {

/// A decoder that looks `reach` latents around: a pixel is the mean of channel 0 over the square around its latent, 0
/// outside the window.
class BlurDecoder : public models::Autoencoder {
 public:
  BlurDecoder(models::DecodeWindow window, int reach) : window_(window), reach_(reach) {}
  const models::ModelInfo& info() const override { return info_; }
  int latent_channels() const override { return 2; }
  int factor() const override { return 8; }
  models::DecodeWindow decode_window() const override { return window_; }
  void decode(std::span<const float> z, int n, int h, int w, std::span<std::uint8_t> rgb) const override {
    for (int i = 0; i < n; ++i) {
      for (int y = 0; y < h * 8; ++y) {
        for (int x = 0; x < w * 8; ++x) {
          float sum = 0;
          for (int v = std::max(y / 8 - reach_, 0); v <= std::min(y / 8 + reach_, h - 1); ++v) {
            for (int u = std::max(x / 8 - reach_, 0); u <= std::min(x / 8 + reach_, w - 1); ++u) {
              sum += z[static_cast<std::size_t>((i * 2 * h + v) * w + u)];
            }
          }
          const float side = static_cast<float>(2 * reach_ + 1);
          for (int c = 0; c < 3; ++c) {
            rgb[static_cast<std::size_t>(((i * h * 8 + y) * w * 8 + x) * 3 + c)] =
                static_cast<std::uint8_t>(std::clamp(sum / (side * side), 0.0f, 255.0f));
          }
        }
      }
    }
  }
  /// Glass is 200 in channel 0.
  void encode(std::span<const std::uint8_t>, int, int, int, std::span<float> z) const override {
    std::ranges::fill(z, 200.0f);
  }

 private:
  models::ModelInfo info_{"blur", "test", "aa", 1};
  models::DecodeWindow window_;
  int reach_;
};

class LatentDecoderTest : public StageFixture {
 protected:
  static constexpr int kSize = 16;

  void SetUp() override {
    StageFixture::SetUp();
    tiles_.tile_px = 128;
    for (int row = 0; row < 4; ++row) {
      for (int column = 0; column < 5; ++column) {
        if (row != 1 || column != 2) tiles_.cells.push_back({2 * column, 2 * row});  // a hole
      }
    }
    io::LatentWriter writer(file("latents"), {.channels = 2, .size = kSize, .tile_px = 128}, tiles_.cells);
    std::mt19937 random(1);
    for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
      std::vector<std::uint16_t> values(2 * kSize * kSize);
      for (auto& value : values) value = io::float_to_half(static_cast<float>(random() % 256));
      writer.append(values);
    }
    writer.finish();
  }

  std::vector<std::uint8_t> picture(const LatentDecoder& decoder, Box<TargetPx> box) const {
    LatentDecoder::Windows windows = decoder.gather(box);
    decoder.decode(windows);
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(box.size.area()) * 3, 7);
    decoder.compose(windows, rgb);
    return rgb;
  }

  io::TileSet tiles_;
};

constexpr Box<TargetPx> kAll{{0, 0}, {640, 512}};

TEST_F(LatentDecoderTest, WindowsWithAHaloAreThePictureDecodedInOneGo) {
  const io::LatentReader latents(file("latents"));
  // The reference sees everything at once, with glass around it.
  const BlurDecoder whole({.inner = 128, .halo = 16, .ramp = 0}, 2);
  const std::vector<std::uint8_t> expected = picture(LatentDecoder(tiles_, latents, whole, {200, 200, 200}), kAll);
  for (const models::DecodeWindow window : {models::DecodeWindow{8, 2, 0}, models::DecodeWindow{24, 3, 0},
                                            models::DecodeWindow{16, 4, 2}, models::DecodeWindow{10, 3, 1}}) {
    const BlurDecoder blur(window, 2);
    const std::vector<std::uint8_t> seen = picture(LatentDecoder(tiles_, latents, blur, {200, 200, 200}), kAll);
    EXPECT_EQ(seen == expected, true) << window.inner << " " << window.halo << " " << window.ramp;
  }
  const BlurDecoder short_sighted({.inner = 8, .halo = 0, .ramp = 0}, 2);
  EXPECT_NE(picture(LatentDecoder(tiles_, latents, short_sighted, {200, 200, 200}), kAll), expected);
}

TEST_F(LatentDecoderTest, APixelDoesNotDependOnTheBoxThatIsAskedFor) {
  const io::LatentReader latents(file("latents"));
  // Looks farther than its halo, so that every window's picture is its own.
  const BlurDecoder blur({.inner = 12, .halo = 3, .ramp = 2}, 5);
  const LatentDecoder decoder(tiles_, latents, blur, {200, 200, 200});
  const std::vector<std::uint8_t> whole = picture(decoder, kAll);
  std::mt19937 random(2);
  for (int trial = 0; trial < 20; ++trial) {
    const Box<TargetPx> box{
        {static_cast<std::int64_t>(random() % 500), static_cast<std::int64_t>(random() % 400)},
        {1 + static_cast<std::int64_t>(random() % 140), 1 + static_cast<std::int64_t>(random() % 110)}};
    const std::vector<std::uint8_t> part = picture(decoder, box);
    for (std::int64_t y = 0; y < box.size.height; ++y) {
      for (std::int64_t x = 0; x < box.size.width * 3; ++x) {
        ASSERT_EQ(part[static_cast<std::size_t>(y * box.size.width * 3 + x)],
                  whole[static_cast<std::size_t>((box.origin.y + y) * 640 * 3 + box.origin.x * 3 + x)])
            << trial << " " << x << " " << y;
      }
    }
  }
}

TEST_F(LatentDecoderTest, WhatIsNoTileStaysAsItIs) {
  const io::LatentReader latents(file("latents"));
  const BlurDecoder blur({.inner = 8, .halo = 2, .ramp = 1}, 1);
  const std::vector<std::uint8_t> seen = picture(LatentDecoder(tiles_, latents, blur, {200, 200, 200}), kAll);
  for (int y = 128; y < 256; ++y) {
    for (int x = 256 * 3; x < 384 * 3; ++x) ASSERT_EQ(seen[static_cast<std::size_t>(y * 640 * 3 + x)], 7);
  }
  const Box<TargetPx> hole{{270, 140}, {50, 50}};
  EXPECT_TRUE(LatentDecoder(tiles_, latents, blur, {200, 200, 200}).gather(hole).origins.empty());
}

TEST_F(LatentDecoderTest, TheLatentsOfAColourAreTheMiddleOfAPlainPicture) {
  EXPECT_EQ(latents_of_colour(BlurDecoder({}, 1), {1, 2, 3}), (std::vector<float>{200, 200}));
  const std::vector<float> null = latents_of_colour(*models::make_null_autoencoder(), {255, 0, 128});
  EXPECT_NEAR(null[0], 1.0f, 0.01f);
  EXPECT_NEAR(null[1], -1.0f, 0.01f);
}

/// The demo family's decoder, with other windows.
class OtherWindows : public models::Autoencoder {
 public:
  OtherWindows(std::shared_ptr<models::Autoencoder> decoder, models::DecodeWindow window)
      : decoder_(std::move(decoder)), window_(window) {}
  const models::ModelInfo& info() const override { return decoder_->info(); }
  int latent_channels() const override { return decoder_->latent_channels(); }
  int factor() const override { return decoder_->factor(); }
  models::DecodeWindow decode_window() const override { return window_; }
  void decode(std::span<const float> z, int n, int h, int w, std::span<std::uint8_t> rgb) const override {
    decoder_->decode(z, n, h, w, rgb);
  }
  void encode(std::span<const std::uint8_t> rgb, int n, int h, int w, std::span<float> z) const override {
    decoder_->encode(rgb, n, h, w, z);
  }

 private:
  std::shared_ptr<models::Autoencoder> decoder_;
  models::DecodeWindow window_;
};

TEST_F(LatentDecoderTest, TheDemoDecodersWindowsAreAsGoodAsDecodingInOneGo) {
  const std::shared_ptr<models::Autoencoder> demo = models::Autoencoder::load(
      std::filesystem::path(VTISSUE_SOURCE_DIR) / "weights" / "demo" / "autoencoder", models::Device::open("cpu", 2));
  // Latents of pictures with edges in all directions.
  io::LatentWriter writer(file("real"), {.channels = demo->latent_channels(), .size = kSize, .tile_px = 128},
                          tiles_.cells);
  std::mt19937 random(4);
  std::vector<std::uint8_t> rgb(128 * 128 * 3);
  std::vector<float> z(static_cast<std::size_t>(demo->latent_channels()) * kSize * kSize);
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
    for (int blob = 0; blob < 60; ++blob) {
      const int x0 = static_cast<int>(random() % 128), y0 = static_cast<int>(random() % 128);
      const int radius = 4 + static_cast<int>(random() % 16);
      const std::array<std::uint8_t, 3> colour{static_cast<std::uint8_t>(random()), static_cast<std::uint8_t>(random()),
                                               static_cast<std::uint8_t>(random())};
      for (int y = std::max(0, y0 - radius); y < std::min(128, y0 + radius); ++y) {
        for (int x = std::max(0, x0 - radius); x < std::min(128, x0 + radius); ++x) {
          std::ranges::copy(colour, rgb.begin() + (y * 128 + x) * 3);
        }
      }
    }
    demo->encode(rgb, 1, 128, 128, z);
    std::vector<std::uint16_t> halves;
    for (const float value : z) halves.push_back(io::float_to_half(value));
    writer.append(halves);
  }
  writer.finish();

  const io::LatentReader latents(file("real"));
  const auto decoded = [&](models::DecodeWindow window) {
    const OtherWindows decoder(demo, window);
    return picture(LatentDecoder(tiles_, latents, decoder, {244, 243, 245}), kAll);
  };
  const std::vector<std::uint8_t> whole = decoded({.inner = 96, .halo = 16, .ramp = 0});
  const auto off = [&](models::DecodeWindow window) {
    const std::vector<std::uint8_t> seen = decoded(window);
    std::array<double, 2> result{};  // mean, largest
    for (std::size_t k = 0; k < seen.size(); ++k) {
      const double difference = std::abs(int{seen[k]} - int{whole[k]});
      result[0] += difference / static_cast<double>(seen.size());
      result[1] = std::max(result[1], difference);
    }
    return result;
  };
  const auto [mean, largest] = off(demo->decode_window());
  RecordProperty("mean", std::to_string(mean));
  RecordProperty("largest", std::to_string(largest));
  EXPECT_LT(mean, 0.05);
  EXPECT_LE(largest, 4);
  // Without a halo the windows would show.
  EXPECT_GT(off({.inner = 64, .halo = 0, .ramp = 0})[1], 50);
}

}  // namespace
}  // namespace vtissue::stages
