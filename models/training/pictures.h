#pragma once

#include <filesystem>

#include "models/torch.h"

namespace vtissue::models::training {

/// Lays images [n, 3, h, w] in [0, 1] (clamped) out by rows of `columns`, two white pixels apart, and writes them as a
/// binary PPM, atomically. Throws Error kOutput.
void write_picture(const std::filesystem::path& path, const at::Tensor& images, int columns);

}  // namespace vtissue::models::training
