#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "models/state_dict.h"

namespace vtissue::models {

/// Writes a checkpoint's tensors as one safetensors file, atomically: floating-point ones as `dtype` ("F32", "F16",
/// "BF16", or "" to keep theirs). Returns the number of tensors written. Throws Error kModel for a tensor that cannot
/// be read, kUsage for a dtype that is not usable, kOutput.
std::size_t convert_weights(const StateDict& weights, const std::filesystem::path& out, std::string_view dtype);

}  // namespace vtissue::models
