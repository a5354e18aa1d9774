#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/engines.h"

namespace vtissue::models {

/// How one output compares with the stored one.
struct CheckedOutput {
  std::string name;
  double largest_difference = 0;
  double largest_value = 0;  ///< of the stored output
  bool agrees = false;
};

/// Runs the inputs of a stored case, a safetensors file, through the model of a folder and compares with its outputs:
///
///   encoder      rgb [n, px, px, 3] U8            → embedding [n, dim]
///   expression   values [n, genes]                → cls [n, dim]
///   predictor    spot [n, F], sub [n, 9, F], neighbors [n, 8, F], n_neighbors [n] I32 → expression [n, genes]
///   denoiser     x [n, C, h, w], t [], morphology [n, m], gene [n, g] → prediction [n, C, h, w], not guided
///   autoencoder  z [n, C, h, w] → image [n, 8h, 8w, 3] U8; rgb [n, H, W, 3] U8 → latent [n, C, H/8, W/8]
///
/// (F32 unless said otherwise; what a model does not take, and for the denoiser what is null, is left out.) An output
/// agrees if no value differs by more than `tolerance` times the largest stored one. Throws Error kModel if the case
/// has no input for the model or is of other sizes.
std::vector<CheckedOutput> check_model(const std::filesystem::path& folder, const std::filesystem::path& stored_case,
                                       const std::shared_ptr<Device>& device, double tolerance,
                                       const LoadOptions& options = {});

/// Runs the same inputs and stores them with the outputs: a case for another machine. Throws Error kModel, kOutput.
void store_case(const std::filesystem::path& folder, const std::filesystem::path& inputs,
                const std::filesystem::path& out, const std::shared_ptr<Device>& device,
                const LoadOptions& options = {});

}  // namespace vtissue::models
