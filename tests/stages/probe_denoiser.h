#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "models/engines.h"

namespace vtissue::stages {

/// Velocity or epsilon of which each element is `scale` times x plus the tile's conditions; looks at what it
/// is given.
class ProbeDenoiser : public models::Denoiser {
 public:
  struct Shape {
    bool velocity = true;
    bool variance = false;
    int gene_dim = 2;
    int gene_vectors = 1;
    std::string morphology_sha256, gene_sha256;
    float scale = 0;
  };
  explicit ProbeDenoiser(Shape shape) : shape_(std::move(shape)) {}
  const models::ModelInfo& info() const override { return info_; }
  int latent_channels() const override { return 4; }
  int latent_size() const override { return 16; }
  int morphology_dim() const override { return 8; }
  int gene_dim() const override { return shape_.gene_dim; }
  int gene_vectors() const override { return shape_.gene_vectors; }
  bool predicts_velocity() const override { return shape_.velocity; }
  bool predicts_variance() const override { return shape_.variance; }
  const std::string& morphology_sha256() const override { return shape_.morphology_sha256; }
  const std::string& gene_sha256() const override { return shape_.gene_sha256; }
  void predict(std::span<const float> x, int n, double, const models::TileConditions& conditions,
               const models::Guidance&, std::span<float> out, std::span<float> variance) const override {
    std::ranges::fill(variance, -1.0f);
    calls_.fetch_add(n);
    const std::size_t per_tile = x.size() / static_cast<std::size_t>(n);
    const std::size_t genes = static_cast<std::size_t>(shape_.gene_dim) * static_cast<std::size_t>(shape_.gene_vectors);
    ASSERT_EQ(conditions.gene.size(), genes * static_cast<std::size_t>(n));
    for (std::size_t k = 0; k < x.size(); ++k) {
      const std::size_t tile = k / per_tile;
      float sum = conditions.has_morphology[tile] != 0 ? 1.0f : 0.0f;
      if (conditions.has_gene[tile] != 0) {
        for (std::size_t g = 0; g < genes; ++g) sum += conditions.gene[tile * genes + g];
      }
      out[k] = shape_.scale * x[k] + sum;
    }
  }

 public:
  int windows_seen() const { return calls_.load(); }

 private:
  Shape shape_;
  mutable std::atomic<int> calls_ = 0;
  models::ModelInfo info_{"probe", "test", "dd", 2};
};

}  // namespace vtissue::stages
