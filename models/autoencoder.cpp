#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "models/autoencoder_kl/inference.h"
#include "models/engine_support.h"
#include "models/engines.h"
#include "models/model_folder.h"
#include "models/null_engines.h"
#include "models/preprocess.h"
#include "models/taesd/inference.h"
#include "models/taesd/taesd.h"

namespace vtissue::models {
namespace {

constexpr std::string_view kKl = "AutoencoderKL";

/// A network between the latents of the diffusion model and images in [0, 1], float32 on the device; used on the
/// device's thread alone.
class Codec {
 public:
  virtual ~Codec() = default;
  virtual int latent_channels() const = 0;
  virtual int factor() const = 0;
  virtual DecodeWindow decode_window() const = 0;
  virtual at::Tensor encode(const at::Tensor& image) = 0;
  virtual at::Tensor decode(const at::Tensor& latent) = 0;
};

/// What a network in the device's dtype, with its convolutions channels-last, takes.
at::Tensor network_input(const at::Tensor& map, at::ScalarType dtype) {
  return map.to(dtype).contiguous(at::MemoryFormat::ChannelsLast);
}

class TaesdCodec final : public Codec {
 public:
  TaesdCodec(const TaesdConfig& config, const StateDict& weights, const Device& device)
      : network_(config), dtype_(scalar_type(device)) {
    models::load(*network_, weights, taesd_load_rules(weights));
    if (device.name() == "cpu") decoder_.emplace(*network_, dtype_);
    prepare_for_inference(*network_, device);
  }
  int latent_channels() const override { return network_->config().latent_channels; }
  int factor() const override { return TaesdImpl::kFactor; }
  /// Convolutions alone: what lies farther off than the halo does not reach a pixel.
  DecodeWindow decode_window() const override { return {.inner = 64, .halo = 8, .ramp = 0}; }
  at::Tensor encode(const at::Tensor& image) override { return network_->encode(network_input(image, dtype_)); }
  at::Tensor decode(const at::Tensor& latent) override {
    return decoder_ ? (*decoder_)(latent) : network_->decode(network_input(latent, dtype_));
  }

 private:
  Taesd network_;
  at::ScalarType dtype_;
  std::optional<TaesdDecoder> decoder_;  ///< on a processor
};

class KlCodec final : public Codec {
 public:
  KlCodec(const AutoencoderKlConfig& config, const StateDict& weights, const Device& device)
      : network_(config), config_(config), dtype_(scalar_type(device)) {
    models::load(*network_, weights, autoencoder_kl_load_rules(weights, config));
    if (device.name() == "cpu") {
      fast_.emplace(*network_, dtype_);
      network_ = nullptr;
    } else {
      prepare_for_inference(*network_, device);
    }
  }
  int latent_channels() const override { return config_.latent_channels; }
  int factor() const override { return config_.factor(); }
  /// The attention in the middle sees all of a window.
  DecodeWindow decode_window() const override { return {.inner = 64, .halo = 8, .ramp = 4}; }
  /// The posterior's mean: an encoding must not depend on a draw.
  at::Tensor encode(const at::Tensor& image) override {
    const at::Tensor scaled = image * 2 - 1;
    const at::Tensor mean = fast_ ? fast_->encode(scaled) : network_->encode(network_input(scaled, dtype_)).mean;
    return config_.to_model(mean.to(at::kFloat));
  }
  at::Tensor decode(const at::Tensor& latent) override {
    const at::Tensor z = config_.from_model(latent);
    return (fast_ ? fast_->decode(z) : network_->decode(network_input(z, dtype_)).to(at::kFloat)) * 0.5 + 0.5;
  }

 private:
  AutoencoderKl network_;
  AutoencoderKlConfig config_;
  at::ScalarType dtype_;
  std::optional<AutoencoderKlInference> fast_;  ///< on a processor, instead of network_
};

class TorchAutoencoder final : public Autoencoder {
 public:
  TorchAutoencoder(const ModelFolder& folder, std::shared_ptr<Device> device)
      : info_(folder.info()), device_(std::move(device)) {
    const auto make = [&]<typename Network>(std::type_identity<Network>, auto parse) {
      const auto config = folder.read_config(parse);
      device_->run([&] { codec_ = std::make_unique<Network>(config, folder.weights(), *device_); });
    };
    if (info_.architecture == kKl) {
      make(std::type_identity<KlCodec>(), parse_autoencoder_kl_config);
    } else {
      make(std::type_identity<TaesdCodec>(), parse_taesd_config);
    }
    latent_channels_ = codec_->latent_channels();
    factor_ = codec_->factor();
  }

  const ModelInfo& info() const override { return info_; }
  int latent_channels() const override { return latent_channels_; }
  int factor() const override { return factor_; }
  DecodeWindow decode_window() const override { return codec_->decode_window(); }

  void decode(std::span<const float> z, int n, int h, int w, std::span<std::uint8_t> rgb) const override {
    check_extent(h, w, 1);
    const std::size_t latent = values(latent_channels_, h, w);
    const std::size_t image = values(3, h * factor(), w * factor());
    check_size("latents to decode", z.size(), static_cast<std::size_t>(n) * latent);
    check_size("decoded images", rgb.size(), static_cast<std::size_t>(n) * image);
    const int micro_batch = decoded_at_once(h, w);
    const auto slots = static_cast<std::size_t>(micro_batch);
    std::vector<float> batch(slots * latent);
    std::vector<float> planes(slots * image);
    for_micro_batches(n, micro_batch, [&](int first, int count) {
      const auto rows = static_cast<std::size_t>(count);
      std::copy_n(z.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(first) * latent), rows * latent,
                  batch.begin());
      device_->run([&] {
        const at::Tensor latents = to_device(batch.data(), {micro_batch, latent_channels_, h, w}, *device_);
        const at::Tensor images = codec_->decode(latents);
        require_finite(images, info_.name, "decoded pixels");
        copy_to_host(images, std::span(planes).first(rows * image));
      });
      for (std::size_t i = 0; i < rows; ++i) {
        quantize_rgb(std::span(planes).subspan(i * image, image),
                     rgb.subspan((static_cast<std::size_t>(first) + i) * image, image));
      }
    });
  }

  void encode(std::span<const std::uint8_t> rgb, int n, int height, int width, std::span<float> z) const override {
    check_extent(height, width, factor());
    const std::size_t image = values(3, height, width);
    const std::size_t latent = values(latent_channels_, height / factor(), width / factor());
    check_size("images to encode", rgb.size(), static_cast<std::size_t>(n) * image);
    check_size("encoded latents", z.size(), static_cast<std::size_t>(n) * latent);
    std::vector<float> batch(static_cast<std::size_t>(info_.micro_batch) * image);
    for_micro_batches(n, info_.micro_batch, [&](int first, int count) {
      for (int i = 0; i < count; ++i) {
        normalize_rgb(rgb.subspan(static_cast<std::size_t>(first + i) * image, image), {0, 0, 0}, {1, 1, 1},
                      std::span(batch).subspan(static_cast<std::size_t>(i) * image, image));
      }
      device_->run([&] {
        const at::Tensor images = to_device(batch.data(), {info_.micro_batch, 3, height, width}, *device_);
        const at::Tensor latents = codec_->encode(images);
        require_finite(latents, info_.name, "encoded latents");
        copy_to_host(latents,
                     z.subspan(static_cast<std::size_t>(first) * latent, static_cast<std::size_t>(count) * latent));
      });
    });
  }

 private:
  /// The micro-batch, or fewer where images are so large that memory would go by it: a function of their size alone.
  int decoded_at_once(int h, int w) const {
    constexpr int kLatentsPerImage = 32 * 32;
    return std::clamp(info_.micro_batch * kLatentsPerImage / (h * w), 1, info_.micro_batch);
  }

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
  std::shared_ptr<Device> device_;
  std::unique_ptr<Codec> codec_;
  int latent_channels_ = 0;
  int factor_ = 0;
};

}  // namespace

std::shared_ptr<Autoencoder> Autoencoder::load(const std::filesystem::path& folder, std::shared_ptr<Device> device,
                                               const LoadOptions& options) {
  if (ModelFolder::is_null(folder)) return make_null_autoencoder();
  return std::make_shared<TorchAutoencoder>(ModelFolder::open(folder, {"taesd", "AutoencoderTiny", kKl}, {}, options),
                                            std::move(device));
}

}  // namespace vtissue::models
