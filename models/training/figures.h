#pragma once

#include <nlohmann/json.hpp>

#include "models/torch.h"
#include "models/training/trainer.h"

namespace vtissue::models::training {

/// Peak signal-to-noise ratio in dB of images in [0, 1], from the mean squared error over all of them.
double psnr(const at::Tensor& image, const at::Tensor& reference);

/// Energy (mean square) of the image's differences between neighbouring pixels, over that of the reference: 1 where
/// the image is as sharp, below where it is blurred. [n, c, h, w].
double gradient_energy_ratio(const at::Tensor& image, const at::Tensor& reference);

/// Pearson's correlation of each column of two [n, genes] tables; 0 where one is constant.
std::vector<double> pearson_by_column(const at::Tensor& a, const at::Tensor& b);

/// Lower median for an even number; 0 of nothing.
double median(std::vector<double> values);

/// Metrics as a JSON object in their order.
nlohmann::ordered_json to_json(const Metrics& metrics);

/// Writes options.out/figures.json: role, training set, seed, steps and the measured values. Throws Error kOutput.
void write_figures(const TrainOptions& options, nlohmann::ordered_json figures);

}  // namespace vtissue::models::training
