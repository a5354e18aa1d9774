#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "models/torch.h"
#include "models/training/frozen.h"
#include "models/training/train.h"
#include "models/training/training_set.h"

namespace vtissue::models::training {

/// A section's latents, encoded once in overlapping windows under one symmetry, since the encoder does not commute with
/// symmetries and encoding crops again in every step would cost more than the training itself. The canvas' frame is
/// the section under the symmetry.
struct LatentCanvas {
  int section = 0;
  int symmetry = 0;
  at::Tensor latents;  ///< [C, rows, columns] float16; 0 where nothing was asked for
};

struct CanvasConfig {
  int window_px = 512;  ///< kept of a window, a multiple of 8
  int halo_px = 32;     ///< encoded around it and dropped, a multiple of 8
};

/// The latents under a square of the canvas and the pixels they are of.
struct CanvasCrop {
  at::Tensor latents;  ///< [C, px/8, px/8] float32
  Crop pixels;
};

/// Encodes what `wanted` (crops of `px` in the section's own frame, grown by `margin_px`) touches. The result is kept
/// in `cache`, and taken from there if it is of the same autoencoder, section and windows. Throws Error kInterrupted
/// when a stop is requested.
LatentCanvas make_canvas(const TrainOptions& options, const TrainingSet& set, FrozenAutoencoder& autoencoder,
                         int section, int symmetry, std::span<const Crop> wanted, int px, int margin_px,
                         const CanvasConfig& config, const std::filesystem::path& cache);

/// The crop of the canvas nearest to `crop` (of `px`; its symmetry is not read) on the latent grid and within the
/// canvas.
CanvasCrop canvas_crop(const TrainingSet& set, const LatentCanvas& canvas, const Crop& crop, int px);

}  // namespace vtissue::models::training
