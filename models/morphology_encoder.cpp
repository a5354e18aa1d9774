#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "models/engine_support.h"
#include "models/engines.h"
#include "models/model_folder.h"
#include "models/null_engines.h"
#include "models/preprocess.h"
#include "models/vit/inference.h"

namespace vtissue::models {
namespace {

class VitEncoder final : public MorphologyEncoder {
 public:
  VitEncoder(const ModelFolder& folder, std::shared_ptr<Device> device)
      : info_(folder.info()), config_(folder.read_config(parse_vit_config)), device_(std::move(device)) {
    device_->run([&] {
      Vit network(config_);
      models::load(*network, folder.weights());
      network_.emplace(*network, scalar_type(*device_), torch::Device(device_->name()), info_.micro_batch);
    });
  }

  const ModelInfo& info() const override { return info_; }
  int dim() const override { return config_.dim; }

  void encode(std::span<const std::uint8_t> rgb, int n, int tile_px, std::span<float> out) const override {
    const std::size_t tile = 3 * static_cast<std::size_t>(tile_px) * static_cast<std::size_t>(tile_px);
    const std::size_t image =
        3 * static_cast<std::size_t>(config_.image_px) * static_cast<std::size_t>(config_.image_px);
    const auto dim = static_cast<std::size_t>(config_.dim);
    check_size("tiles to encode", rgb.size(), static_cast<std::size_t>(n) * tile);
    check_size("embeddings", out.size(), static_cast<std::size_t>(n) * dim);
    std::vector<float> batch(static_cast<std::size_t>(info_.micro_batch) * image);
    for_micro_batches(n, info_.micro_batch, [&](int first, int count) {
      for (int i = 0; i < count; ++i) {
        prepare(rgb.subspan(static_cast<std::size_t>(first + i) * tile, tile), tile_px,
                std::span(batch).subspan(static_cast<std::size_t>(i) * image, image));
      }
      device_->run([&] {
        const at::Tensor images =
            to_device(batch.data(), {info_.micro_batch, 3, config_.image_px, config_.image_px}, *device_);
        const at::Tensor embeddings = network_->forward(images);
        require_finite(embeddings, info_.name, "embeddings");
        copy_to_host(embeddings,
                     out.subspan(static_cast<std::size_t>(first) * dim, static_cast<std::size_t>(count) * dim));
      });
    });
  }

 private:
  void prepare(std::span<const std::uint8_t> tile, int tile_px, std::span<float> planes) const {
    if (tile_px == config_.image_px) {
      normalize_rgb(tile, config_.mean, config_.std, planes);
    } else {
      normalize_rgb(resize_rgb(tile, tile_px, tile_px, config_.image_px, config_.image_px), config_.mean, config_.std,
                    planes);
    }
  }

  ModelInfo info_;
  VitConfig config_;
  std::shared_ptr<Device> device_;
  std::optional<VitInference> network_;  // used on the device's thread only
};

}  // namespace

std::shared_ptr<MorphologyEncoder> MorphologyEncoder::load(const std::filesystem::path& folder,
                                                           std::shared_ptr<Device> device) {
  if (ModelFolder::is_null(folder)) return make_null_morphology_encoder();
  return std::make_shared<VitEncoder>(
      ModelFolder::open(folder, {"vit", "vit_base_patch16_224", "vit_large_patch16_224", "vit_giant_patch14_224",
                                 "vit_giant_patch14_reg4_dinov2"}),
      std::move(device));
}

}  // namespace vtissue::models
