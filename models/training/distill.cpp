#include "models/training/distill.h"

#include "models/training/random.h"
#include "models/training/trainer.h"

namespace vtissue::models::training {
namespace {

namespace nn = torch::nn;

/// Layers of a Sequential, [first, last), as one network.
at::Tensor run_layers(nn::Sequential layers, std::size_t first, std::size_t last, at::Tensor x) {
  for (std::size_t i = first; i < last; ++i) x = (layers->begin() + static_cast<std::ptrdiff_t>(i))->forward(x);
  return x;
}

/// Index of the encoder's first block at 1/8; the last layer is the convolution to latents.
std::size_t encoder_latent_stage(const Taesd& model) {
  return model->encoder->size() - 1 - static_cast<std::size_t>(model->config().encoder_blocks[3]);
}

/// Index behind the decoder's last block at 1/8: clamp, convolution and ReLU come before them.
std::size_t decoder_latent_stage_end(const Taesd& model) {
  return 3 + static_cast<std::size_t>(model->config().decoder_blocks[0]);
}

struct LatentStageImpl : nn::Module {
  explicit LatentStageImpl(const Taesd& model) {
    for (std::size_t i = encoder_latent_stage(model); i < model->encoder->size(); ++i) {
      register_module("encoder_" + std::to_string(i), model->encoder->ptr(i));
    }
    for (std::size_t i = 1; i < decoder_latent_stage_end(model); ++i) {
      register_module("decoder_" + std::to_string(i), model->decoder->ptr(i));
    }
  }
};
TORCH_MODULE(LatentStage);

class DistillTask : public TrainingTask {
 public:
  DistillTask(const nlohmann::json& config, std::uint64_t seed, const Taesd& published, const Taesd& target,
              const at::Tensor& images)
      : batch_(config_value<std::int64_t>(config, "batch")),
        noise_(config_value<double>(config, "latent_noise")),
        seed_(seed),
        target_(target),
        stage_(target) {
    const torch::NoGradGuard no_grad;
    const std::size_t first = encoder_latent_stage(target_);
    const std::size_t last = target_->encoder->size() - 1;
    std::vector<at::Tensor> entries;
    std::vector<at::Tensor> latents;
    std::vector<at::Tensor> features;
    for (const at::Tensor& part : images.split(8)) {
      entries.push_back(run_layers(published->encoder, 0, first, part));
      const at::Tensor deep = run_layers(published->encoder, first, last, entries.back());
      // The target's last convolution is the published one with fold_pca()'s change of basis.
      latents.push_back(run_layers(target_->encoder, last, last + 1, deep));
      features.push_back(run_layers(published->decoder, 0, decoder_latent_stage_end(target_),
                                    run_layers(published->encoder, last, last + 1, deep)));
    }
    entries_ = at::cat(entries);
    latents_ = at::cat(latents);
    features_ = at::cat(features);
    feature_variance_ = features_.var().item<double>();
  }

  nn::Module& module() override { return *stage_; }
  std::int64_t batch() const override { return batch_; }

  at::Tensor loss(std::int64_t step, Metrics& metrics) override {
    const auto step32 = static_cast<std::uint32_t>(step);
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < batch_; ++i) {
      RandomStream random(seed_, Purpose::kRow, step32, static_cast<std::uint32_t>(i));
      rows.push_back(random.below(static_cast<std::uint32_t>(entries_.size(0))));
    }
    const at::Tensor pick = at::tensor(rows);
    const Errors errors = run(pick, step32);
    metrics.emplace_back("latents", errors.latents.item<double>());
    metrics.emplace_back("features", errors.features.item<double>());
    return errors.latents + errors.features;
  }

  Metrics validate() override {
    const Errors errors = run(at::arange(std::min<std::int64_t>(batch_, entries_.size(0))), 0);
    return {{"latents", errors.latents.item<double>()}, {"features", errors.features.item<double>()}};
  }

 private:
  /// In units of the targets' variance.
  struct Errors {
    at::Tensor latents;
    at::Tensor features;
  };

  Errors run(const at::Tensor& rows, std::uint32_t step) {
    const at::Tensor z = run_layers(target_->encoder, encoder_latent_stage(target_), target_->encoder->size(),
                                    entries_.index_select(0, rows));
    const at::Tensor noise = normal_tensor(seed_, Purpose::kLatentNoise, step, z.sizes());
    const at::Tensor decoded =
        run_layers(target_->decoder, 0, decoder_latent_stage_end(target_), z.detach() + noise_ * noise);
    return {at::mse_loss(z, latents_.index_select(0, rows)),
            at::mse_loss(decoded, features_.index_select(0, rows)) / feature_variance_};
  }

  std::int64_t batch_;
  double noise_;
  std::uint64_t seed_;
  Taesd target_;
  LatentStage stage_;
  at::Tensor entries_;
  at::Tensor latents_;
  at::Tensor features_;
  double feature_variance_ = 1;
};

}  // namespace

void distill_latent_stage(const TrainOptions& options, std::uint64_t seed, const Taesd& published, const Taesd& target,
                          const at::Tensor& images) {
  const auto& distillation = config_object(options.config, "distillation");
  nlohmann::json loop_json = options.config;
  loop_json["optimizer"] = config_object(distillation, "optimizer");
  TrainOptions stage = options;
  stage.out = options.out / "distillation";
  std::filesystem::create_directories(stage.out);
  report(options, "replacing the published side paths");
  DistillTask task(distillation, seed, published, target, images);
  run_training(task, parse_loop_config(loop_json), stage);
}

std::vector<at::Tensor> encoder_entry(const Taesd& model) {
  std::vector<at::Tensor> weights;
  for (std::size_t i = 0; i < encoder_latent_stage(model); ++i) {
    for (const at::Tensor& weight : model->encoder->ptr(i)->parameters()) weights.push_back(weight);
  }
  return weights;
}

}  // namespace vtissue::models::training
