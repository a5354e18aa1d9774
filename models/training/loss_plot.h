#pragma once

#include <filesystem>

namespace vtissue::models::training {

/// Draws what train.jsonl holds as an SVG: the loss of the logged steps and, over it, every figure of the validations
/// whose name begins with "loss". Writes nothing as long as there are fewer than two losses. Throws Error kOutput.
void write_loss_plot(const std::filesystem::path& svg, const std::filesystem::path& journal);

}  // namespace vtissue::models::training
