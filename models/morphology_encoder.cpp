#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "models/engine_support.h"
#include "models/engines.h"
#include "models/model_folder.h"
#include "models/null_engines.h"
#include "models/preprocess.h"
#include "models/vit/inference.h"

namespace vtissue::models {
namespace {

constexpr std::string_view kProcessorFile = "preprocessor_config.json";

class VitEncoder final : public MorphologyEncoder {
 public:
  VitEncoder(const ModelFolder& folder, std::shared_ptr<Device> device)
      : info_(folder.info()), config_(read_config(folder)), device_(std::move(device)) {
    device_->run([&] {
      Vit network(config_);
      const StateDict weights = folder.weights();
      models::load(*network, weights, vit_load_rules(weights));
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
        preprocess(rgb.subspan(static_cast<std::size_t>(first + i) * tile, tile), tile_px, tile_px,
                   config_.preprocessing, std::span(batch).subspan(static_cast<std::size_t>(i) * image, image));
      }
      device_->run([&] {
        const at::Tensor images =
            to_device(batch.data(), {info_.micro_batch, 3, config_.image_px, config_.image_px}, *device_);
        at::Tensor embeddings = network_->forward(images);
        if (config_.preprocessing.half_features) embeddings = embeddings.to(at::kHalf);
        require_finite(embeddings, info_.name, "embeddings");
        copy_to_host(embeddings,
                     out.subspan(static_cast<std::size_t>(first) * dim, static_cast<std::size_t>(count) * dim));
      });
    });
  }

 private:
  static VitConfig read_config(const ModelFolder& folder) {
    VitConfig config = folder.read_config(parse_vit_config);
    const std::filesystem::path processor = folder.file(kProcessorFile);
    if (!std::filesystem::exists(processor)) return config;
    try {
      std::ifstream in(processor, std::ios::binary);
      parse_image_processor(nlohmann::json::parse(in), config.preprocessing);
    } catch (const nlohmann::json::exception& error) {
      throw Error(ErrorCode::kModel, "{}: not valid JSON: {}", processor.string(), error.what());
    } catch (Error& error) {
      error.add("{}", processor.string());
      throw;
    }
    return config;
  }

  ModelInfo info_;
  VitConfig config_;
  std::shared_ptr<Device> device_;
  std::optional<VitInference> network_;  // used on the device's thread only
};

}  // namespace

std::shared_ptr<MorphologyEncoder> MorphologyEncoder::load(const std::filesystem::path& folder,
                                                           std::shared_ptr<Device> device, const LoadOptions& options) {
  if (ModelFolder::is_null(folder)) return make_null_morphology_encoder();
  return std::make_shared<VitEncoder>(
      ModelFolder::open(folder,
                        {"vit", "vit_base_patch16_224", "vit_large_patch16_224", "vit_giant_patch14_224",
                         "vit_giant_patch14_reg4_dinov2", "transformers vit"},
                        {kProcessorFile}, options),
      std::move(device));
}

}  // namespace vtissue::models
