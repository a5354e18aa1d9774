#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "models/engine_support.h"
#include "models/engines.h"
#include "models/model_folder.h"
#include "models/null_engines.h"
#include "models/preprocess.h"
#include "models/taesd/taesd.h"

namespace vtissue::models {
namespace {

/// [3, pixels] in [0, 1] → [pixels, 3] rounded.
void to_rgb(std::span<const float> planes, std::span<std::uint8_t> rgb) {
  const std::size_t pixels = rgb.size() / 3;
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      const float value = std::clamp(planes[c * pixels + i], 0.0f, 1.0f) * 255.0f;
      rgb[3 * i + c] = static_cast<std::uint8_t>(std::nearbyint(value));
    }
  }
}

class TaesdAutoencoder final : public Autoencoder {
 public:
  TaesdAutoencoder(const ModelFolder& folder, std::shared_ptr<Device> device)
      : info_(folder.info()), config_(folder.read_config(parse_taesd_config)), device_(std::move(device)) {
    device_->run([&] {
      network_ = Taesd(config_);
      const StateDict weights = folder.weights();
      models::load(*network_, weights, taesd_load_rules(weights));
      prepare_for_inference(*network_, *device_);
    });
  }

  const ModelInfo& info() const override { return info_; }
  int latent_channels() const override { return config_.latent_channels; }
  int factor() const override { return TaesdImpl::kFactor; }

  void decode(std::span<const float> z, int n, int h, int w, std::span<std::uint8_t> rgb) const override {
    check_extent(h, w, 1);
    const std::size_t latent = values(config_.latent_channels, h, w);
    const std::size_t image = values(3, h * factor(), w * factor());
    check_size("latents to decode", z.size(), static_cast<std::size_t>(n) * latent);
    check_size("decoded images", rgb.size(), static_cast<std::size_t>(n) * image);
    const auto slots = static_cast<std::size_t>(info_.micro_batch);
    std::vector<float> batch(slots * latent);
    std::vector<float> planes(slots * image);
    for_micro_batches(n, info_.micro_batch, [&](int first, int count) {
      const auto rows = static_cast<std::size_t>(count);
      std::copy_n(z.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(first) * latent), rows * latent,
                  batch.begin());
      device_->run([&] {
        const at::Tensor latents = to_device(batch.data(), {info_.micro_batch, config_.latent_channels, h, w}, *device_)
                                       .to(scalar_type(*device_))
                                       .contiguous(at::MemoryFormat::ChannelsLast);
        const at::Tensor images = network_->decode(latents);
        require_finite(images, info_.name, "decoded pixels");
        copy_to_host(images, std::span(planes).first(rows * image));
      });
      for (std::size_t i = 0; i < rows; ++i) {
        to_rgb(std::span(planes).subspan(i * image, image),
               rgb.subspan((static_cast<std::size_t>(first) + i) * image, image));
      }
    });
  }

  void encode(std::span<const std::uint8_t> rgb, int n, int height, int width, std::span<float> z) const override {
    check_extent(height, width, factor());
    const std::size_t image = values(3, height, width);
    const std::size_t latent = values(config_.latent_channels, height / factor(), width / factor());
    check_size("images to encode", rgb.size(), static_cast<std::size_t>(n) * image);
    check_size("encoded latents", z.size(), static_cast<std::size_t>(n) * latent);
    std::vector<float> batch(static_cast<std::size_t>(info_.micro_batch) * image);
    for_micro_batches(n, info_.micro_batch, [&](int first, int count) {
      for (int i = 0; i < count; ++i) {
        normalize_rgb(rgb.subspan(static_cast<std::size_t>(first + i) * image, image), {0, 0, 0}, {1, 1, 1},
                      std::span(batch).subspan(static_cast<std::size_t>(i) * image, image));
      }
      device_->run([&] {
        const at::Tensor images = to_device(batch.data(), {info_.micro_batch, 3, height, width}, *device_)
                                      .to(scalar_type(*device_))
                                      .contiguous(at::MemoryFormat::ChannelsLast);
        const at::Tensor latents = network_->encode(images);
        require_finite(latents, info_.name, "encoded latents");
        copy_to_host(latents,
                     z.subspan(static_cast<std::size_t>(first) * latent, static_cast<std::size_t>(count) * latent));
      });
    });
  }

 private:
  static std::size_t values(int channels, int h, int w) {
    return static_cast<std::size_t>(channels) * static_cast<std::size_t>(h) * static_cast<std::size_t>(w);
  }

  static void check_extent(int h, int w, int multiple) {
    if (h < 1 || w < 1 || h % multiple != 0 || w % multiple != 0) {
      throw Error(ErrorCode::kUsage, "the autoencoder was given {} x {}; sides must be positive multiples of {}", w, h,
                  multiple);
    }
  }

  ModelInfo info_;
  TaesdConfig config_;
  std::shared_ptr<Device> device_;
  mutable Taesd network_{nullptr};  // forward() of a module is not const; calls happen on the device's thread alone
};

}  // namespace

std::shared_ptr<Autoencoder> Autoencoder::load(const std::filesystem::path& folder, std::shared_ptr<Device> device) {
  if (ModelFolder::is_null(folder)) return make_null_autoencoder();
  return std::make_shared<TaesdAutoencoder>(ModelFolder::open(folder, {"taesd"}), std::move(device));
}

}  // namespace vtissue::models
