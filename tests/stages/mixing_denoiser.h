#pragma once

#include "tests/stages/probe_denoiser.h"

namespace vtissue::stages {

/// A network with a memory for place: each latent is drawn to the mean of its window, so that results depend on where
/// the windows lie.
class MixingDenoiser : public ProbeDenoiser {
 public:
  using ProbeDenoiser::ProbeDenoiser;
  void predict(std::span<const float> x, int n, double t, const models::TileConditions& conditions,
               const models::Guidance& guidance, std::span<float> out, std::span<float> variance) const override {
    ProbeDenoiser::predict(x, n, t, conditions, guidance, out, variance);
    const std::size_t per_window = x.size() / static_cast<std::size_t>(n);
    for (std::size_t w = 0; w < static_cast<std::size_t>(n); ++w) {
      double sum = 0;
      for (const float value : x.subspan(w * per_window, per_window)) sum += value;
      for (std::size_t k = 0; k < per_window; ++k) {
        out[w * per_window + k] +=
            0.5f * (x[w * per_window + k] - static_cast<float>(sum / static_cast<double>(per_window)));
      }
    }
  }
};

}  // namespace vtissue::stages
