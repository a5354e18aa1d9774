#include <fstream>
#include <map>

#include "core/atomic_file.h"
#include "models/state_dict.h"
#include "models/taesd/taesd.h"
#include "models/training/checkpoint.h"
#include "models/training/distill.h"
#include "models/training/figures.h"
#include "models/training/pca_fold.h"
#include "models/training/pictures.h"
#include "models/training/roles.h"

namespace vtissue::models::training {
namespace {

constexpr int kPublishedChannels = 32;
constexpr int kTilePx = 128;
constexpr int kTextureCell = 8;

/// Latents that training sees are drawn apart from those of every step.
constexpr std::uint32_t kPcaStep = 0xFFFFFFF0u;

struct AutoencoderConfig {
  int batch;
  int crop_px;
  double min_tissue;
  double latent_noise;     ///< standard deviation, of latents of variance 1
  double gradient_weight;  ///< of the L1 of differences between neighbouring pixels, beside the L1 of pixels
  double texture_weight;   ///< of the L1 of those differences' mean size in small cells, which blurring lowers
  double whiten_weight;    ///< of the latents' deviation from mean 0 and variance 1
  int pca_crops;
  int validation_crops;
};

AutoencoderConfig parse_autoencoder_training(const nlohmann::json& config) {
  const auto& role = config_object(config, "autoencoder");
  return {config_value<int>(role, "batch"),
          config_value<int>(role, "crop_px"),
          config_value<double>(role, "min_tissue"),
          config_value<double>(role, "latent_noise"),
          config_value<double>(role, "gradient_weight"),
          config_value<double>(role, "texture_weight"),
          config_value<double>(role, "whiten_weight"),
          config_value<int>(role, "pca_crops"),
          config_value<int>(role, "validation_crops")};
}

at::Tensor differences(const at::Tensor& image, std::int64_t axis) {
  return image.narrow(axis, 1, image.size(axis) - 1) - image.narrow(axis, 0, image.size(axis) - 1);
}

/// Mean absolute difference of neighbours along an axis in each cell of kTextureCell pixels.
at::Tensor texture(const at::Tensor& image, std::int64_t axis) {
  return at::avg_pool2d(differences(image, axis).abs(), {kTextureCell, kTextureCell});
}

/// Convolutions on the CPU are faster on channels-last data.
void use_channels_last(torch::nn::Module& module) {
  for (at::Tensor& weight : module.parameters()) {
    if (weight.dim() == 4) weight.set_data(weight.detach().contiguous(at::MemoryFormat::ChannelsLast));
  }
}

Taesd load_published(const TrainOptions& options, TaesdConfig config) {
  if (options.init.empty()) {
    throw Error(ErrorCode::kUsage,
                "--init DIR is missing: the folder with taef2_encoder.safetensors and "
                "taef2_decoder.safetensors");
  }
  config.latent_channels = kPublishedChannels;
  config.pooled_mid = true;
  Taesd model(config);
  load(*model->encoder, StateDict::open(options.init / "taef2_encoder.safetensors"));
  load(*model->decoder, StateDict::open(options.init / "taef2_decoder.safetensors"));
  model->eval();
  use_channels_last(*model);
  return model;
}

at::Tensor encode_in_parts(Taesd& model, const at::Tensor& images) {
  std::vector<at::Tensor> latents;
  for (const at::Tensor& part : images.split(8)) latents.push_back(model->encode(part));
  return at::cat(latents);
}

at::Tensor random_crops(const TrainingSet& set, const CropSampler& sampler, std::uint64_t seed, std::uint32_t step,
                        int n, bool symmetries, std::vector<int>* sections = nullptr) {
  std::vector<Crop> crops;
  for (int i = 0; i < n; ++i) {
    RandomStream random(seed, Purpose::kCrop, step, static_cast<std::uint32_t>(i));
    crops.push_back(sampler.draw(random, symmetries));
    if (sections != nullptr) sections->push_back(crops.back().section);
  }
  return to_unit_range(read_crops(set, crops, sampler.px()));
}

class AutoencoderTask : public TrainingTask {
 public:
  AutoencoderTask(const TrainOptions& options, const TrainingSet& set, const LoopConfig& loop, Taesd model)
      : set_(set),
        config_(parse_autoencoder_training(options.config)),
        seed_(loop.seed),
        model_(std::move(model)),
        sampler_(set, Split::kTrain, config_.crop_px, config_.min_tissue) {
    const CropSampler held_out(set, Split::kValidation, kTilePx, config_.min_tissue);
    validation_ = random_crops(set, held_out, seed_, kValidationStep, config_.validation_crops, false, &sections_);
  }

  torch::nn::Module& module() override { return *model_; }
  std::int64_t batch() const override { return config_.batch; }

  at::Tensor loss(std::int64_t step, Metrics& metrics) override {
    const auto step32 = static_cast<std::uint32_t>(step);
    const at::Tensor image = random_crops(set_, sampler_, seed_, step32, config_.batch, true);
    const at::Tensor z = model_->encode(image);
    const at::Tensor noise = normal_tensor(seed_, Purpose::kLatentNoise, step32, z.sizes());
    const at::Tensor decoded = model_->decode(z + config_.latent_noise * noise);
    const at::Tensor error = decoded - image;
    const at::Tensor pixels = error.abs().mean();
    const at::Tensor gradient = differences(error, 2).abs().mean() + differences(error, 3).abs().mean();
    const at::Tensor fineness =
        (texture(decoded, 2) - texture(image, 2)).abs().mean() + (texture(decoded, 3) - texture(image, 3)).abs().mean();
    // Without it the latents would grow until the noise no longer matters.
    const auto [variance, mean] = at::var_mean(z, at::IntArrayRef{0, 2, 3}, false);
    const at::Tensor whiteness = mean.square().mean() + (variance - 1).square().mean();
    metrics.emplace_back("l1", pixels.item<double>());
    metrics.emplace_back("gradient", gradient.item<double>());
    metrics.emplace_back("texture", fineness.item<double>());
    metrics.emplace_back("whiteness", whiteness.item<double>());
    return pixels + config_.gradient_weight * gradient + config_.texture_weight * fineness +
           config_.whiten_weight * whiteness;
  }

  Metrics validate() override { return measure(model_); }

  /// All validation crops, then each section's.
  Metrics measure(Taesd& model) {
    std::vector<at::Tensor> decoded;
    for (const at::Tensor& part : validation_.split(8)) decoded.push_back(model->decode(model->encode(part)));
    const at::Tensor result = at::cat(decoded);
    Metrics figures{{"psnr_db", psnr(result, validation_)},
                    {"gradient_energy", gradient_energy_ratio(result, validation_)}};
    std::map<int, std::vector<std::int64_t>> rows;
    for (std::size_t i = 0; i < sections_.size(); ++i) rows[sections_[i]].push_back(static_cast<std::int64_t>(i));
    for (const auto& [section, indices] : rows) {
      const at::Tensor pick = at::tensor(indices);
      const std::string& name = set_.sections()[static_cast<std::size_t>(section)].name;
      const at::Tensor image = result.index_select(0, pick);
      const at::Tensor reference = validation_.index_select(0, pick);
      figures.emplace_back("psnr_db " + name, psnr(image, reference));
      figures.emplace_back("gradient_energy " + name, gradient_energy_ratio(image, reference));
    }
    return figures;
  }

  /// Pairs of a validation crop and its reconstruction.
  at::Tensor samples(int n) {
    const torch::NoGradGuard no_grad;
    const at::Tensor image = validation_.narrow(0, 0, std::min<std::int64_t>(n, validation_.size(0)));
    const at::Tensor result = model_->decode(model_->encode(image));
    return at::stack({image, result}, 1).flatten(0, 1);
  }

 private:
  const TrainingSet& set_;
  AutoencoderConfig config_;
  std::uint64_t seed_;
  Taesd model_;
  CropSampler sampler_;
  at::Tensor validation_;
  std::vector<int> sections_;
};

/// The starting weights, and how good the published network and they are.
nlohmann::ordered_json initialise(const TrainOptions& options, const TrainingSet& set, const LoopConfig& loop,
                                  AutoencoderTask& task, Taesd& model) {
  const torch::NoGradGuard no_grad;
  nlohmann::ordered_json figures;
  report(options, "measuring the published autoencoder");
  Taesd published = load_published(options, model->config());
  figures["published"] = to_json(task.measure(published));
  report(options, "reducing its latents");
  const AutoencoderConfig config = parse_autoencoder_training(options.config);
  const CropSampler sampler(set, Split::kTrain, kTilePx, config.min_tissue);
  const at::Tensor images = random_crops(set, sampler, loop.seed, kPcaStep, config.pca_crops, true);
  figures["variance kept"] = fold_pca(published, model, encode_in_parts(published, images));
  {
    const at::AutoGradMode gradients(true);
    distill_latent_stage(options, loop.seed, published, model, images);
  }
  figures["start"] = to_json(task.measure(model));
  report(options, figures.dump());
  return figures;
}

}  // namespace

void train_autoencoder(const TrainOptions& options, const TrainingSet& set) {
  const LoopConfig loop = parse_loop_config(options.config);
  Taesd model(parse_taesd_config(config_object(options.config, "model")));
  use_channels_last(*model);
  AutoencoderTask task(options, set, loop, model);

  // The entry of the encoder is good as published, and half of its cost.
  if (config_value<bool>(config_object(options.config, "autoencoder"), "freeze_encoder_entry")) {
    for (at::Tensor& weight : encoder_entry(model)) weight.requires_grad_(false);
  }
  const auto start_figures = options.out / "start.json";
  nlohmann::ordered_json figures;
  if (std::filesystem::exists(options.out / "checkpoint.safetensors")) {
    std::ifstream in(start_figures);
    figures = nlohmann::ordered_json::parse(in, nullptr, false);
  } else {
    figures = initialise(options, set, loop, task, model);
    write_file_atomically(start_figures, figures.dump(2) + "\n");
  }
  figures["trained"] = to_json(run_training(task, loop, options));
  write_model(options.out, config_object(options.config, "model"), weights_of(*model));
  write_picture(options.out / "samples.ppm", task.samples(16), 8);
  write_figures(options, figures);
}

}  // namespace vtissue::models::training
