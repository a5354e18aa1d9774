#include "models/null_engines.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/hash.h"

namespace vtissue::models {
namespace {

constexpr int kNullMicroBatch = 8;
constexpr int kNullFeatureDim = 8;
constexpr std::size_t kNullGenes = 4;
constexpr int kNullFactor = 8;
constexpr int kColours = 3;

/// The digest changes with what the double computes, so that a committed result of another one is not taken for its
/// own.
ModelInfo null_info(std::string_view role, int size) {
  return {.name = "null",
          .architecture = "null",
          .sha256 = sha256(fmt::format("null {} of {} version 1", role, size)),
          .micro_batch = kNullMicroBatch};
}

void expect_size(std::string_view what, std::size_t size, std::int64_t wanted) {
  if (static_cast<std::int64_t>(size) != wanted) {
    throw Error(ErrorCode::kBadInput, "null engine: {} has {} values, expected {}", what, size, wanted);
  }
}

const std::vector<std::string>& null_genes() {
  static const std::vector<std::string> kGenes = {"NULL1", "NULL2", "NULL3", "NULL4"};
  return kGenes;
}

const std::string& not_stated() {
  static const std::string kEmpty;
  return kEmpty;
}

/// 0..255 → [-1, 1] and back, rounded.
float signed_value(double byte) { return static_cast<float>(byte / 127.5 - 1); }

std::uint8_t byte_value(float value) {
  if (!std::isfinite(value)) throw Error(ErrorCode::kBadInput, "null autoencoder: a latent is not finite");
  return static_cast<std::uint8_t>(std::lround(std::clamp((value + 1) * 127.5f, 0.0f, 255.0f)));
}

/// Mean of a channel over the box [x0, x1) x [y0, y1) of an RGB image `width` wide.
double channel_mean(const std::uint8_t* rgb, std::int64_t width, int channel, std::int64_t x0, std::int64_t x1,
                    std::int64_t y0, std::int64_t y1) {
  std::int64_t sum = 0;
  for (std::int64_t y = y0; y < y1; ++y) {
    for (std::int64_t x = x0; x < x1; ++x) sum += rgb[(y * width + x) * kColours + channel];
  }
  return static_cast<double>(sum) / static_cast<double>((x1 - x0) * (y1 - y0));
}

class NullMorphologyEncoder : public MorphologyEncoder {
 public:
  explicit NullMorphologyEncoder(int dim) : dim_(dim), info_(null_info("morphology encoder", dim)) {}

  const ModelInfo& info() const override { return info_; }
  int dim() const override { return dim_; }

  void encode(std::span<const std::uint8_t> rgb, int n, int tile_px, std::span<float> out) const override {
    if (tile_px < 2) throw Error(ErrorCode::kBadInput, "null encoder: tiles of {} px; at least 2 are needed", tile_px);
    expect_size("rgb", rgb.size(), std::int64_t{n} * tile_px * tile_px * kColours);
    expect_size("out", out.size(), std::int64_t{n} * dim_);
    for (int i = 0; i < n; ++i) {
      encode_tile(
          rgb.data() + std::int64_t{i} * tile_px * tile_px * kColours, tile_px,
          out.subspan(static_cast<std::size_t>(i) * static_cast<std::size_t>(dim_), static_cast<std::size_t>(dim_)));
    }
  }

 private:
  static void encode_tile(const std::uint8_t* rgb, int px, std::span<float> out) {
    std::vector<float> features;
    for (int c = 0; c < kColours; ++c) features.push_back(signed_value(channel_mean(rgb, px, c, 0, px, 0, px)));
    const std::array edges = {0, px / 2, px};
    for (std::size_t row = 0; row < 2; ++row) {
      for (std::size_t column = 0; column < 2; ++column) {
        for (int c = 0; c < kColours; ++c) {
          features.push_back(
              signed_value(channel_mean(rgb, px, c, edges[column], edges[column + 1], edges[row], edges[row + 1])));
        }
      }
    }
    features.resize(out.size(), 0.0f);
    std::copy(features.begin(), features.end(), out.begin());
  }

  int dim_;
  ModelInfo info_;
};

class NullExpressionPredictor : public ExpressionPredictor {
 public:
  const ModelInfo& info() const override { return info_; }
  const std::vector<std::string>& genes() const override { return null_genes(); }
  int feature_dim() const override { return kNullFeatureDim; }
  bool uses_subtiles() const override { return false; }
  bool uses_neighbors() const override { return false; }
  const std::string& encoder_sha256() const override { return not_stated(); }

  void predict(std::span<const float> spot, std::span<const float> /*sub*/, std::span<const float> /*neighbors*/,
               std::span<const std::int32_t> /*n_neighbors*/, int n, std::span<float> out) const override {
    expect_size("spot", spot.size(), std::int64_t{n} * kNullFeatureDim);
    expect_size("out", out.size(), std::int64_t{n} * static_cast<std::int64_t>(kNullGenes));
    for (std::size_t i = 0; i < out.size(); ++i) {
      // Features are in [-1, 1]; log1p of counts is not negative.
      out[i] = std::max(0.0f, 1 + spot[i / kNullGenes * kNullFeatureDim + i % kNullGenes]);
    }
  }

 private:
  ModelInfo info_ = null_info("expression predictor", kNullFeatureDim);
};

class NullGeneEncoder : public GeneEncoder {
 public:
  const ModelInfo& info() const override { return info_; }
  const std::vector<std::string>& genes() const override { return null_genes(); }
  int dim() const override { return static_cast<int>(kNullGenes); }

  void encode(std::span<const float> values, int n, std::span<float> cls, std::span<float> tokens) const override {
    expect_size("values", values.size(), std::int64_t{n} * static_cast<std::int64_t>(kNullGenes));
    expect_size("cls", cls.size(), std::int64_t{n} * static_cast<std::int64_t>(kNullGenes));
    std::copy(values.begin(), values.end(), cls.begin());
    if (tokens.empty()) return;
    expect_size("tokens", tokens.size(), std::int64_t{n} * static_cast<std::int64_t>(kNullGenes * kNullGenes));
    std::fill(tokens.begin(), tokens.end(), 0.0f);
    // A gene's token has its value at the gene's own place.
    for (std::size_t i = 0; i < values.size(); ++i) tokens[i * kNullGenes + i % kNullGenes] = values[i];
  }

 private:
  ModelInfo info_ = null_info("gene encoder", static_cast<int>(kNullGenes));
};

class NullDenoiser : public Denoiser {
 public:
  NullDenoiser(int channels, int latent_size)
      : channels_(channels), latent_size_(latent_size), info_(null_info("denoiser", channels * 1000 + latent_size)) {}

  const ModelInfo& info() const override { return info_; }
  int latent_channels() const override { return channels_; }
  int latent_size() const override { return latent_size_; }
  int morphology_dim() const override { return kNullFeatureDim; }
  int gene_dim() const override { return static_cast<int>(kNullGenes); }
  int gene_vectors() const override { return 1; }
  bool predicts_velocity() const override { return true; }
  const std::string& morphology_sha256() const override { return not_stated(); }
  const std::string& gene_sha256() const override { return not_stated(); }

  void predict(std::span<const float> x, int n, double t, const TileConditions& conditions,
               const Guidance& /*guidance*/, std::span<float> out, std::span<float> variance) const override {
    if (!variance.empty()) throw Error(ErrorCode::kUsage, "the null denoiser predicts no variance");
    const std::int64_t plane = std::int64_t{latent_size_} * latent_size_;
    expect_size("x", x.size(), n * channels_ * plane);
    expect_size("out", out.size(), n * channels_ * plane);
    if (!conditions.has_morphology.empty()) {
      expect_size("has_morphology", conditions.has_morphology.size(), n);
      expect_size("morphology", conditions.morphology.size(), std::int64_t{n} * kNullFeatureDim);
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::int64_t block = static_cast<std::int64_t>(i) / plane;
      const float x0 =
          target(conditions, static_cast<std::size_t>(block / channels_), static_cast<std::size_t>(block % channels_));
      // x = (1 - t) x0 + t eps, so v = eps - x0 = (x - x0) / t.
      out[i] = t > 0 ? static_cast<float>((x[i] - x0) / t) : 0.0f;
    }
  }

 private:
  static float target(const TileConditions& conditions, std::size_t tile, std::size_t channel) {
    const bool valid = !conditions.has_morphology.empty() && conditions.has_morphology[tile] != 0;
    if (!valid || channel >= kNullFeatureDim) return 0.0f;
    return conditions.morphology[tile * kNullFeatureDim + channel];
  }

  int channels_;
  int latent_size_;
  ModelInfo info_;
};

class NullAutoencoder : public Autoencoder {
 public:
  explicit NullAutoencoder(int channels) : channels_(channels), info_(null_info("autoencoder", channels)) {}

  const ModelInfo& info() const override { return info_; }
  int latent_channels() const override { return channels_; }
  int factor() const override { return kNullFactor; }

  void decode(std::span<const float> z, int n, int h, int w, std::span<std::uint8_t> rgb) const override {
    const std::int64_t height = std::int64_t{h} * kNullFactor, width = std::int64_t{w} * kNullFactor;
    expect_size("z", z.size(), std::int64_t{n} * channels_ * h * w);
    expect_size("rgb", rgb.size(), n * height * width * kColours);
    auto out = rgb.begin();
    for (int i = 0; i < n; ++i) {
      for (std::int64_t y = 0; y < height; ++y) {
        for (std::int64_t x = 0; x < width; ++x) {
          for (int c = 0; c < kColours; ++c) {
            const std::int64_t at = ((std::int64_t{i} * channels_ + c) * h + y / kNullFactor) * w + x / kNullFactor;
            *out++ = c < channels_ ? byte_value(z[static_cast<std::size_t>(at)]) : std::uint8_t{128};
          }
        }
      }
    }
  }

  void encode(std::span<const std::uint8_t> rgb, int n, int height, int width, std::span<float> z) const override {
    if (height % kNullFactor != 0 || width % kNullFactor != 0) {
      throw Error(ErrorCode::kBadInput, "null autoencoder: {} x {} px is no multiple of {}", width, height,
                  kNullFactor);
    }
    const std::int64_t h = height / kNullFactor, w = width / kNullFactor;
    expect_size("rgb", rgb.size(), std::int64_t{n} * height * width * kColours);
    expect_size("z", z.size(), n * channels_ * h * w);
    std::fill(z.begin(), z.end(), 0.0f);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint8_t* image = rgb.data() + i * height * width * kColours;
      for (int c = 0; c < std::min(channels_, kColours); ++c) {
        for (std::int64_t y = 0; y < h; ++y) {
          for (std::int64_t x = 0; x < w; ++x) {
            const std::int64_t x0 = x * kNullFactor, y0 = y * kNullFactor;
            z[static_cast<std::size_t>(((i * channels_ + c) * h + y) * w + x)] =
                signed_value(channel_mean(image, width, c, x0, x0 + kNullFactor, y0, y0 + kNullFactor));
          }
        }
      }
    }
  }

 private:
  int channels_;
  ModelInfo info_;
};

}  // namespace

std::shared_ptr<MorphologyEncoder> make_null_morphology_encoder(int dim) {
  return std::make_shared<NullMorphologyEncoder>(dim);
}

std::shared_ptr<ExpressionPredictor> make_null_expression_predictor() {
  return std::make_shared<NullExpressionPredictor>();
}

std::shared_ptr<GeneEncoder> make_null_gene_encoder() { return std::make_shared<NullGeneEncoder>(); }

std::shared_ptr<Denoiser> make_null_denoiser(int channels, int latent_size) {
  return std::make_shared<NullDenoiser>(channels, latent_size);
}

std::shared_ptr<Autoencoder> make_null_autoencoder(int channels) { return std::make_shared<NullAutoencoder>(channels); }

}  // namespace vtissue::models
