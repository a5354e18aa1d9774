#include <torch/nn/init.h>

#include "models/training/checkpoint.h"

#include "models/training/figures.h"
#include "models/training/roles.h"
#include "models/vit/vit.h"

namespace vtissue::models::training {
namespace {

namespace nn = torch::nn;

constexpr int kGrid = 4;         ///< cells a side of the layout that the embedding must tell
constexpr int kCellFigures = 4;  ///< mean red, green, blue; deviation of brightness

struct EncoderConfig {
  int batch;
  double min_tissue;
  int shift_px;         ///< the two views of a place lie up to this far from it
  double stain_jitter;  ///< standard deviation of the factors on optical density, all channels and each
  double temperature;
  double contrast_weight;  ///< of the contrastive loss
  double layout_weight;    ///< of the regression of colour and layout
  int projection;          ///< dimension of the contrastive head's output
  int validation_crops;
};

EncoderConfig parse_encoder_training(const nlohmann::json& config) {
  const auto& role = config_object(config, "encoder");
  return {config_value<int>(role, "batch"),
          config_value<double>(role, "min_tissue"),
          config_value<int>(role, "shift_px"),
          config_value<double>(role, "stain_jitter"),
          config_value<double>(role, "temperature"),
          config_value<double>(role, "contrast_weight"),
          config_value<double>(role, "layout_weight"),
          config_value<int>(role, "projection"),
          config_value<int>(role, "validation_crops")};
}

/// timm's initialisation is for long trainings of wide networks: its weights, places and layer scales are so small that
/// a narrow network hardly moves in a few hundred steps.
void initialise(Vit& vit) {
  const torch::NoGradGuard no_grad;
  constexpr double kTokenDeviation = 0.5;  // about that of an embedded patch
  for (const auto& item : vit->named_parameters()) {
    at::Tensor weight = item.value();
    const std::string& name = item.key();
    if (name == "pos_embed" || name == "cls_token" || name == "reg_token") {
      weight.normal_(0, kTokenDeviation);
    } else if (weight.dim() == 2) {
      torch::nn::init::xavier_uniform_(weight);
    }
  }
}

/// The encoder with two heads that only training needs.
struct EncoderNetImpl : nn::Module {
  EncoderNetImpl(const VitConfig& config, int projection_dim) {
    vit = register_module("vit", Vit(config));
    initialise(vit);
    projector = register_module("projector", nn::Sequential(nn::Linear(config.dim, 2 * config.dim), nn::GELU(),
                                                            nn::Linear(2 * config.dim, projection_dim)));
    layout = register_module("layout", nn::Linear(config.dim, kGrid * kGrid * kCellFigures));
  }
  Vit vit{nullptr};
  nn::Sequential projector{nullptr};
  nn::Linear layout{nullptr};
};
TORCH_MODULE(EncoderNet);

/// Mean colour and contrast of a grid of cells: image [n, 3, h, w] in [0, 1] → [n, cells * 4], around 0 with a spread
/// of about 1 on stained tissue.
at::Tensor layout_of(const at::Tensor& image) {
  const std::int64_t cell_h = image.size(2) / kGrid;
  const std::int64_t cell_w = image.size(3) / kGrid;
  const at::Tensor colour = at::avg_pool2d(image, {cell_h, cell_w});
  const at::Tensor grey = image.mean(1, true);
  const at::Tensor grey_mean = at::avg_pool2d(grey, {cell_h, cell_w});
  const at::Tensor variance = at::avg_pool2d(grey.square(), {cell_h, cell_w}) - grey_mean.square();
  const at::Tensor contrast = variance.clamp_min(0).sqrt();
  return at::cat({(colour - 0.6) / 0.15, (contrast - 0.12) / 0.05}, 1).flatten(1);
}

/// A view's stain varies: factors on optical density, where stains add up (Beer-Lambert).
at::Tensor jitter_stain(const at::Tensor& image, std::span<RandomStream> random, double deviation) {
  std::vector<float> factors;
  for (RandomStream& r : random) {
    const double strength = r.normal();
    for (int c = 0; c < 3; ++c)
      factors.push_back(static_cast<float>(std::exp(deviation * (strength + 0.5 * r.normal()))));
  }
  const at::Tensor gain = at::tensor(factors).view({-1, 3, 1, 1});
  return at::exp(at::log(image.clamp_min(1.0 / 255)) * gain);
}

class EncoderTask : public TrainingTask {
 public:
  EncoderTask(const TrainOptions& options, const TrainingSet& set, const LoopConfig& loop, const VitConfig& vit)
      : set_(set),
        config_(parse_encoder_training(options.config)),
        seed_(loop.seed),
        px_(vit.image_px),
        net_(vit, config_.projection),
        sampler_(set, Split::kTrain, px_, config_.min_tissue),
        held_out_(set, Split::kValidation, px_, config_.min_tissue),
        mean_(at::tensor(at::ArrayRef<float>(vit.preprocessing.mean.data(), 3)).view({1, 3, 1, 1})),
        std_(at::tensor(at::ArrayRef<float>(vit.preprocessing.std.data(), 3)).view({1, 3, 1, 1})) {}

  torch::nn::Module& module() override { return *net_; }
  const Vit& vit() const { return net_->vit; }
  std::int64_t batch() const override { return config_.batch; }

  at::Tensor loss(std::int64_t step, Metrics& metrics) override {
    const Terms terms = run(sampler_, static_cast<std::uint32_t>(step), config_.batch);
    metrics.emplace_back("contrast", terms.contrast.item<double>());
    metrics.emplace_back("layout", terms.layout.item<double>());
    metrics.emplace_back("top1", terms.top1);
    return config_.contrast_weight * terms.contrast + config_.layout_weight * terms.layout;
  }

  Metrics validate() override {
    const Terms terms = run(held_out_, kValidationStep, config_.validation_crops);
    return {{"contrast", terms.contrast.item<double>()},
            {"top1", terms.top1},
            {"layout_r2", 1.0 - terms.layout.item<double>() / terms.layout_variance}};
  }

 private:
  struct Terms {
    at::Tensor contrast;
    at::Tensor layout;
    double layout_variance = 0;
    double top1 = 0;  ///< share of views whose nearest other view is of the same place
  };

  Terms run(const CropSampler& sampler, std::uint32_t step, int n) {
    std::vector<Crop> crops(static_cast<std::size_t>(2 * n));
    std::vector<RandomStream> stains;
    for (int view = 0; view < 2; ++view) {
      for (int i = 0; i < n; ++i) {
        RandomStream place(seed_, Purpose::kCrop, step, static_cast<std::uint32_t>(i));
        Crop crop = sampler.draw(place, false);
        RandomStream random(seed_, Purpose::kAugment, step, static_cast<std::uint32_t>(view * n + i));
        const auto range = static_cast<std::uint32_t>(2 * config_.shift_px + 1);
        crop.x += static_cast<int>(random.below(range)) - config_.shift_px;
        crop.y += static_cast<int>(random.below(range)) - config_.shift_px;
        crop.symmetry = static_cast<int>(random.below(8));
        crops[static_cast<std::size_t>(view * n + i)] = crop;
        stains.push_back(random);
      }
    }
    const at::Tensor image = to_unit_range(read_crops(set_, crops, px_));
    const at::Tensor target = layout_of(image);
    const at::Tensor input = (jitter_stain(image, stains, config_.stain_jitter) - mean_) / std_;
    const at::Tensor embedding = net_->vit->forward(input);

    Terms terms;
    terms.layout = at::mse_loss(net_->layout->forward(embedding), target);
    terms.layout_variance = target.var(at::IntArrayRef{0}, false).mean().item<double>();
    // InfoNCE: each view must find the other view of its place among all views of the batch.
    const at::Tensor p = torch::nn::functional::normalize(net_->projector->forward(embedding),
                                                          torch::nn::functional::NormalizeFuncOptions().dim(1));
    const at::Tensor similarity = p.matmul(p.t()) / config_.temperature;
    const at::Tensor logits = similarity.masked_fill(at::eye(2 * n, at::kBool), -1e9);
    const at::Tensor partner = at::arange(2 * n).add(n).remainder(2 * n);
    terms.contrast = at::cross_entropy_loss(logits, partner);
    terms.top1 = logits.argmax(1).eq(partner).to(at::kFloat).mean().item<double>();
    return terms;
  }

  const TrainingSet& set_;
  EncoderConfig config_;
  std::uint64_t seed_;
  int px_;
  EncoderNet net_;
  CropSampler sampler_;
  CropSampler held_out_;
  at::Tensor mean_;
  at::Tensor std_;
};

}  // namespace

void train_encoder(const TrainOptions& options, const TrainingSet& set) {
  const LoopConfig loop = parse_loop_config(options.config);
  const auto& model = config_object(options.config, "model");
  VitConfig vit = parse_vit_config(model);
  vit.layer_scale_init = config_value<double>(config_object(options.config, "encoder"), "layer_scale_init");
  EncoderTask task(options, set, loop, vit);
  const Metrics figures = run_training(task, loop, options);
  write_model(options.out, model, weights_of(*task.vit()));
  write_figures(options, to_json(figures));
}

}  // namespace vtissue::models::training
