#include "models/training/latent_canvas.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "models/state_dict.h"
#include "models/training/checkpoint.h"
#include "models/training/trainer.h"

namespace vtissue::models::training {
namespace {

constexpr int kFactor = TaesdImpl::kFactor;

/// The section under a symmetry.
struct Frame {
  Frame(const TrainingSection& section, int s)
      : symmetry(s),
        source_width(section.width),
        source_height(section.height),
        width((s & 4) != 0 ? section.height : section.width),
        height((s & 4) != 0 ? section.width : section.height) {}

  int symmetry;
  int source_width;
  int source_height;
  int width;
  int height;

  /// Corner in the section of the square whose corner in the frame is (x, y); the square's pixels, read under the
  /// symmetry, are the frame's.
  Crop to_section(int section, int x, int y, int px) const {
    int u = (symmetry & 4) != 0 ? y : x;
    int v = (symmetry & 4) != 0 ? x : y;
    if ((symmetry & 1) != 0) u = source_width - px - u;
    if ((symmetry & 2) != 0) v = source_height - px - v;
    return {section, u, v, symmetry};
  }

  /// The inverse: corner in the frame, (x, y).
  std::pair<int, int> to_frame(int x, int y, int px) const {
    const int u = (symmetry & 1) != 0 ? source_width - px - x : x;
    const int v = (symmetry & 2) != 0 ? source_height - px - y : y;
    return (symmetry & 4) != 0 ? std::pair(v, u) : std::pair(u, v);
  }
};

/// Everything a canvas' latents depend on.
std::string canvas_identity(const TrainOptions& options, const TrainingSet& set, const FrozenAutoencoder& autoencoder,
                            const LatentCanvas& canvas, std::span<const Crop> wanted, int px, int margin_px,
                            const CanvasConfig& config) {
  Sha256 crops;
  for (const Crop& crop : wanted) crops.update(fmt::format("{} {}\n", crop.x, crop.y));
  const nlohmann::json identity = {{"data", options.inputs.value("data", "")},
                                   {"autoencoder", autoencoder.sha256},
                                   {"section", set.sections()[static_cast<std::size_t>(canvas.section)].name},
                                   {"symmetry", canvas.symmetry},
                                   {"window_px", config.window_px},
                                   {"halo_px", config.halo_px},
                                   {"px", px},
                                   {"margin_px", margin_px},
                                   {"crops", crops.finish()}};
  return identity.dump();
}

}  // namespace

LatentCanvas make_canvas(const TrainOptions& options, const TrainingSet& set, FrozenAutoencoder& autoencoder,
                         int section, int symmetry, std::span<const Crop> wanted, int px, int margin_px,
                         const CanvasConfig& config, const std::filesystem::path& cache) {
  const Frame frame(set.sections()[static_cast<std::size_t>(section)], symmetry);
  const int rows = frame.height / kFactor;
  const int columns = frame.width / kFactor;
  LatentCanvas canvas{section, symmetry, at::zeros({autoencoder.channels, rows, columns}, at::kHalf)};
  const std::string identity = canvas_identity(options, set, autoencoder, canvas, wanted, px, margin_px, config);
  if (std::filesystem::exists(cache)) {
    const SafetensorsFile file = SafetensorsFile::open(cache);
    const auto found = file.metadata().find("identity");
    if (found != file.metadata().end() && found->second == identity) {
      load_tensors(cache, {{"latents", canvas.latents}});
      return canvas;
    }
  }

  const int across = (frame.width + config.window_px - 1) / config.window_px;
  const int down = (frame.height + config.window_px - 1) / config.window_px;
  std::vector<bool> needed(static_cast<std::size_t>(across) * static_cast<std::size_t>(down), false);
  for (const Crop& crop : wanted) {
    const int side = px + 2 * margin_px;
    const auto [x, y] = frame.to_frame(crop.x - margin_px, crop.y - margin_px, side);
    const int last_x = std::min((x + side - 1) / config.window_px, across - 1);
    const int last_y = std::min((y + side - 1) / config.window_px, down - 1);
    for (int j = std::max(y, 0) / config.window_px; j <= last_y; ++j) {
      for (int i = std::max(x, 0) / config.window_px; i <= last_x; ++i) {
        needed[static_cast<std::size_t>(j * across + i)] = true;
      }
    }
  }
  const int halo = config.halo_px / kFactor;
  const int window = config.window_px / kFactor;
  const int side = config.window_px + 2 * config.halo_px;
  const auto count = std::count(needed.begin(), needed.end(), true);
  std::int64_t done = 0;
  for (int j = 0; j < down; ++j) {
    for (int i = 0; i < across; ++i) {
      if (!needed[static_cast<std::size_t>(j * across + i)]) continue;
      check_stop(options);
      const Crop crop =
          frame.to_section(section, i * config.window_px - config.halo_px, j * config.window_px - config.halo_px, side);
      const at::Tensor z = autoencoder.encode(read_crops(set, std::span(&crop, 1), side))[0];
      const int h = std::min(window, rows - j * window);
      const int w = std::min(window, columns - i * window);
      if (h > 0 && w > 0) {
        canvas.latents.narrow(1, j * window, h).narrow(2, i * window, w).copy_(z.narrow(1, halo, h).narrow(2, halo, w));
      }
      if (++done % 20 == 0 || done == count) {
        report(options, fmt::format("{}: {} of {} windows encoded",
                                    set.sections()[static_cast<std::size_t>(section)].name, done, count));
      }
    }
  }
  save_tensors(cache, {{"latents", canvas.latents}}, {{"identity", identity}});
  return canvas;
}

CanvasCrop canvas_crop(const TrainingSet& set, const LatentCanvas& canvas, const Crop& crop, int px) {
  const Frame frame(set.sections()[static_cast<std::size_t>(canvas.section)], canvas.symmetry);
  const auto [x, y] = frame.to_frame(crop.x, crop.y, px);
  const int side = px / kFactor;
  const auto columns = static_cast<int>(canvas.latents.size(2));
  const auto rows = static_cast<int>(canvas.latents.size(1));
  const int column = std::clamp((x + kFactor / 2) / kFactor, 0, columns - side);
  const int row = std::clamp((y + kFactor / 2) / kFactor, 0, rows - side);
  return {canvas.latents.narrow(1, row, side).narrow(2, column, side).to(at::kFloat),
          frame.to_section(canvas.section, column * kFactor, row * kFactor, px)};
}

}  // namespace vtissue::models::training
