#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/torch.h"
#include "models/training/optimizer.h"

namespace vtissue::models::training {

/// Writes tensors (any dtype safetensors has, of those LibTorch has: float32, float16, bfloat16, int64, uint8) as one
/// safetensors file, atomically. Throws Error kOutput.
void save_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata = {});

/// Copies a file's tensors of the same names into `tensors` and returns the file's metadata. Throws Error kBadInput
/// naming what is missing or of another shape.
std::map<std::string, std::string> load_tensors(const std::filesystem::path& path, const NamedTensors& tensors);

/// Parameters and buffers of a module; `drop` are prefixes of names left out (heads that only training needs).
NamedTensors weights_of(const torch::nn::Module& module, const std::vector<std::string>& drop = {});

/// Writes a model folder's config.json and model.safetensors, floating tensors as float16. Throws Error kOutput.
void write_model(const std::filesystem::path& folder, const nlohmann::json& config, const NamedTensors& weights);

}  // namespace vtissue::models::training
