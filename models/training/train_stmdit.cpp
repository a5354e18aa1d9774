#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "models/model_folder.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/stmdit.h"
#include "models/training/checkpoint.h"
#include "models/training/figures.h"
#include "models/training/gene_conditions.h"
#include "models/training/latent_canvas.h"
#include "models/training/pictures.h"
#include "models/training/roles.h"
#include "models/training/stmdit_objective.h"

namespace vtissue::models::training {
namespace {

constexpr std::uint32_t kSampleStep = 0xFFFFFFF3u;

struct StmditTrainingConfig {
  int batch;
  double min_tissue;
  double morphology_dropout;  ///< p_m
  double gene_dropout;        ///< p_g
  double morphology_noise;    ///< standard deviation, in units of each feature's own
  double gene_noise;          ///< likewise
  double section_balance;     ///< CropSampler's power for the other crops
  double spot_share;          ///< of a batch: crops around measured spots
  bool pseudo_labels;         ///< predicted expression for the other crops; false: none
  int spot_jitter_px;
  int canvases;  ///< symmetries a section is encoded under
  CanvasConfig canvas;
  int validation_crops;
  int samples;  ///< tiles in samples.ppm
  int sample_steps;
  double guidance_morphology;
  double guidance_gene;
};

StmditTrainingConfig parse_stmdit_training(const nlohmann::json& config) {
  const auto& role = config_object(config, "stmdit");
  return {config_value<int>(role, "batch"),
          config_value<double>(role, "min_tissue"),
          config_value<double>(role, "morphology_dropout"),
          config_value<double>(role, "gene_dropout"),
          config_value<double>(role, "morphology_noise"),
          config_value<double>(role, "gene_noise"),
          config_value<double>(role, "section_balance"),
          config_value<double>(role, "spot_share"),
          config_value<bool>(role, "pseudo_labels"),
          config_value<int>(role, "spot_jitter_px"),
          config_value<int>(role, "canvases"),
          {config_value<int>(role, "window_px"), config_value<int>(role, "halo_px")},
          config_value<int>(role, "validation_crops"),
          config_value<int>(role, "samples"),
          config_value<int>(role, "sample_steps"),
          config_value<double>(role, "guidance_morphology"),
          config_value<double>(role, "guidance_gene")};
}

/// Tiles with their conditions.
struct Batch {
  at::Tensor latents;         ///< [n, C, s, s]
  at::Tensor morphology;      ///< [n, 1, F]
  at::Tensor has_morphology;  ///< [n] bool
  at::Tensor gene;            ///< [n, vectors, g]; undefined for a network without expression
  at::Tensor has_gene;        ///< [n] bool
};

class StmditTask : public TrainingTask {
 public:
  StmditTask(const TrainOptions& options, const TrainingSet& set, const LoopConfig& loop, Stmdit model,
             FrozenAutoencoder autoencoder, FrozenEncoder encoder, std::unique_ptr<GeneConditions> genes)
      : options_(options),
        set_(set),
        config_(parse_stmdit_training(options.config)),
        seed_(loop.seed),
        model_(std::move(model)),
        objective_(model_->config()),
        autoencoder_(std::move(autoencoder)),
        encoder_(std::move(encoder)),
        genes_(std::move(genes)),
        sampler_(set, Split::kTrain, encoder_.px, config_.min_tissue, config_.section_balance) {
    for (const SpotRef& spot : spots_of(set, Split::kTrain)) spots_.push_back(spot);
    make_canvases();
    make_validation();
  }

  torch::nn::Module& module() override { return *model_; }
  std::int64_t batch() const override { return config_.batch; }

  at::Tensor loss(std::int64_t step, Metrics& metrics) override {
    const auto step32 = static_cast<std::uint32_t>(step);
    const Batch batch = training_batch(step32);
    const at::Tensor noise = normal_tensor(seed_, Purpose::kLatentNoise, step32, batch.latents.sizes());
    const StmditObjective::Loss loss = loss_of(batch, objective_.draw_times(seed_, step32, config_.batch), noise);
    if (genes_) metrics.emplace_back("genes", batch.has_gene.to(at::kFloat).mean().item<double>());
    if (model_->config().learn_sigma) metrics.emplace_back("error", loss.error.item<double>());
    return loss.total;
  }

  /// Error with both conditions, with one, and with none, on the same tiles, times and noise; and a picture of samples.
  Metrics validate() override {
    Metrics figures;
    for (const auto& [name, morphology, gene] :
         {std::tuple{"loss", true, true}, {"loss_m", true, false}, {"loss_g", false, true}, {"loss_0", false, false}}) {
      if (!genes_ && gene != morphology) continue;
      Batch batch = validation_;
      if (!morphology) batch.has_morphology = at::zeros_like(batch.has_morphology);
      if (!gene) batch.has_gene = at::zeros_like(batch.has_gene);
      figures.emplace_back(name, loss_of(batch, validation_times_, validation_noise_).error.item<double>());
    }
    write_picture(options_.out / "samples.ppm", sample_sheet(), genes_ ? 8 : 9);
    return figures;
  }

 private:
  void make_canvases() {
    int train_index = 0;
    for (std::size_t i = 0; i < set_.sections().size(); ++i) {
      if (set_.sections()[i].validation) continue;
      const auto section = static_cast<int>(i);
      std::vector<Crop> wanted;
      const auto& places = sampler_.places(section);
      for (std::size_t k = 0; k < places.size(); k += 2) wanted.push_back({section, places[k], places[k + 1], 0});
      for (const SpotRef& spot : spots_) {
        if (spot.section == section) wanted.push_back(crop_around(set_, spot, encoder_.px));
      }
      for (int k = 0; k < config_.canvases; ++k) {
        // Neighbouring sections of one block get different symmetries; 5 and 3 have no factor in common with 8.
        const int symmetry = (5 * train_index + 3 * k) % 8;
        const auto cache = options_.out / fmt::format("canvas-{}-{}.safetensors", section, symmetry);
        const int margin = std::max(TrainingSet::kMaskPx, config_.spot_jitter_px) + TaesdImpl::kFactor;
        canvases_[section].push_back(make_canvas(options_, set_, autoencoder_, section, symmetry, wanted, encoder_.px,
                                                 margin, config_.canvas, cache));
      }
      ++train_index;
    }
  }

  /// Tiles of the validation sections: around spots and anywhere, as in training, but encoded one by one.
  void make_validation() {
    const CropSampler held_out(set_, Split::kValidation, encoder_.px, config_.min_tissue);
    const std::vector<SpotRef> spots = spots_of(set_, Split::kValidation);
    std::vector<Crop> crops;
    std::vector<std::int64_t> rows;
    for (int i = 0; i < config_.validation_crops; ++i) {
      RandomStream random(seed_, Purpose::kCrop, kValidationStep, static_cast<std::uint32_t>(i));
      if (i % 2 == 0 && !spots.empty()) {
        const SpotRef spot = spots[random.below(static_cast<std::uint32_t>(spots.size()))];
        crops.push_back(crop_around(set_, spot, encoder_.px));
        rows.push_back(row_of(spot));
      } else {
        crops.push_back(held_out.draw(random, false));
        rows.push_back(row_of(crops.back()));
      }
    }
    const at::Tensor rgb = read_crops(set_, crops, encoder_.px);
    std::vector<at::Tensor> latents;
    for (const at::Tensor& part : rgb.split(8)) latents.push_back(autoencoder_.encode(part));
    validation_rgb_ = rgb;
    validation_.latents = at::cat(latents).contiguous();
    validation_.morphology = encoder_.encode(rgb).unsqueeze(1);
    validation_.has_morphology = at::ones({config_.validation_crops}, at::kBool);
    set_genes(validation_, rows);
    validation_times_ = objective_.spread_times(config_.validation_crops);
    validation_noise_ = normal_tensor(seed_, Purpose::kLatentNoise, kValidationStep, validation_.latents.sizes());
    morphology_deviation_ = validation_.morphology.squeeze(1).std(0);
  }

  template <typename Place>
  std::int64_t row_of(const Place& place) const {
    return genes_ ? genes_->row_of(place) : -1;
  }

  void set_genes(Batch& batch, const std::vector<std::int64_t>& rows) const {
    batch.has_gene = at::tensor(rows) >= 0;
    if (genes_) batch.gene = genes_->gather(rows);
  }

  Batch training_batch(std::uint32_t step) {
    std::vector<at::Tensor> latents;
    std::vector<Crop> seen;  // crops whose morphology is not dropped
    std::vector<std::int64_t> seen_rows;
    std::vector<std::int64_t> gene_rows;
    at::Tensor has_morphology = at::zeros({config_.batch}, at::kBool);
    const int around_spots = spots_.empty() ? 0 : static_cast<int>(std::lround(config_.batch * config_.spot_share));
    for (int i = 0; i < config_.batch; ++i) {
      RandomStream random(seed_, Purpose::kCrop, step, static_cast<std::uint32_t>(i));
      Crop crop;
      std::int64_t gene_row = -1;
      if (i < around_spots) {
        const SpotRef& spot = spots_[random.below(static_cast<std::uint32_t>(spots_.size()))];
        const auto range = static_cast<std::uint32_t>(2 * config_.spot_jitter_px + 1);
        const int dx = static_cast<int>(random.below(range)) - config_.spot_jitter_px;
        const int dy = static_cast<int>(random.below(range)) - config_.spot_jitter_px;
        crop = crop_around(set_, spot, encoder_.px, dx, dy);
        gene_row = row_of(spot);
      } else {
        crop = sampler_.draw(random, false);
        gene_row = row_of(crop);
      }
      const std::vector<LatentCanvas>& choices = canvases_.at(crop.section);
      const CanvasCrop picked =
          canvas_crop(set_, choices[random.below(static_cast<std::uint32_t>(choices.size()))], crop, encoder_.px);
      latents.push_back(picked.latents);
      RandomStream dropout(seed_, Purpose::kConditionDropout, step, static_cast<std::uint32_t>(i));
      if (dropout.uniform() >= config_.morphology_dropout) {
        has_morphology[i] = true;
        seen.push_back(picked.pixels);
        seen_rows.push_back(i);
      }
      gene_rows.push_back(dropout.uniform() >= config_.gene_dropout ? gene_row : -1);
    }
    Batch batch;
    batch.latents = at::stack(latents);
    batch.has_morphology = has_morphology;
    batch.morphology = at::zeros({config_.batch, 1, encoder_.dim}, at::kFloat);
    if (!seen.empty()) {
      const at::Tensor features = encoder_.encode(read_crops(set_, seen, encoder_.px));
      batch.morphology.index_copy_(0, at::tensor(seen_rows), features.unsqueeze(1));
    }
    set_genes(batch, gene_rows);
    add_condition_noise(batch, step);
    return batch;
  }

  void add_condition_noise(Batch& batch, std::uint32_t step) const {
    const std::int64_t genes = genes_ ? genes_->vectors() * genes_->dim() : 0;
    const at::Tensor noise =
        normal_tensor(seed_, Purpose::kConditionNoise, step, {config_.batch, 1, encoder_.dim + genes});
    batch.morphology =
        batch.morphology + noise.narrow(2, 0, encoder_.dim) * (config_.morphology_noise * morphology_deviation_);
    if (!genes_) return;
    batch.gene = batch.gene + noise.narrow(2, encoder_.dim, genes).view({-1, genes_->vectors(), genes_->dim()}) *
                                  (config_.gene_noise * genes_->deviation());
  }

  /// The network at these conditions.
  at::Tensor predict(const Batch& batch, const at::Tensor& x, const at::Tensor& t) {
    StmditInput input;
    input.x = x;
    input.t = t;
    input.morphology = batch.morphology;
    input.has_morphology = batch.has_morphology;
    if (genes_) {
      input.gene = batch.gene;
      input.has_gene = batch.has_gene;
    }
    return model_->forward(input);
  }

  StmditObjective::Loss loss_of(const Batch& batch, const at::Tensor& times, const at::Tensor& noise) {
    return objective_.loss([&](const at::Tensor& x, const at::Tensor& t) { return predict(batch, x, t); },
                           batch.latents, times, noise);
  }

  /// Columns of four: the tile, its reconstruction, a sample with both conditions, one with morphology alone; of three
  /// without expression.
  at::Tensor sample_sheet() {
    const std::int64_t n = std::min<std::int64_t>(config_.samples, validation_.latents.size(0));
    Batch batch;
    batch.latents = validation_.latents.narrow(0, 0, n);
    batch.morphology = validation_.morphology.narrow(0, 0, n);
    batch.has_morphology = validation_.has_morphology.narrow(0, 0, n);
    batch.has_gene = validation_.has_gene.narrow(0, 0, n);
    std::vector<at::Tensor> columns = {to_unit_range(validation_rgb_.narrow(0, 0, n)),
                                       autoencoder_.decode(batch.latents)};
    if (genes_) {
      batch.gene = validation_.gene.narrow(0, 0, n);
      columns.push_back(autoencoder_.decode(sample(batch)));
    }
    batch.has_gene = at::zeros_like(batch.has_gene);
    columns.push_back(autoencoder_.decode(sample(batch)));
    return at::stack(columns, 1).flatten(0, 1);
  }

  /// With nested guidance, morphology first (models.md 1.2.6).
  at::Tensor sample(const Batch& batch) {
    Batch none = batch;
    none.has_morphology = at::zeros_like(batch.has_morphology);
    none.has_gene = at::zeros_like(batch.has_gene);
    Batch morphology = batch;
    morphology.has_gene = none.has_gene;
    const auto guided = [&](const at::Tensor& x, const at::Tensor& t) {
      const auto at_conditions = [&](const Batch& conditions) {
        return predict(conditions, x, t).narrow(1, 0, x.size(1));
      };
      const at::Tensor neither = at_conditions(none), of_morphology = at_conditions(morphology);
      const at::Tensor both = genes_ ? at_conditions(batch) : of_morphology;
      return neither + config_.guidance_morphology * (of_morphology - neither) +
             config_.guidance_gene * (both - of_morphology);
    };
    const at::Tensor noise = normal_tensor(seed_, Purpose::kSample, kSampleStep, batch.latents.sizes());
    return objective_.sample(guided, noise, config_.sample_steps);
  }

  const TrainOptions& options_;
  const TrainingSet& set_;
  StmditTrainingConfig config_;
  std::uint64_t seed_;
  Stmdit model_;
  StmditObjective objective_;
  FrozenAutoencoder autoencoder_;
  FrozenEncoder encoder_;
  std::unique_ptr<GeneConditions> genes_;  ///< null: the network takes no expression
  CropSampler sampler_;
  std::vector<SpotRef> spots_;
  std::map<int, std::vector<LatentCanvas>> canvases_;
  Batch validation_;
  at::Tensor validation_rgb_;
  at::Tensor validation_times_;
  at::Tensor validation_noise_;
  at::Tensor morphology_deviation_;
};

/// The network's configuration: what the training's says, and what the models it is trained with decide.
nlohmann::json model_json_of(const TrainOptions& options, const FrozenAutoencoder& autoencoder,
                             const FrozenEncoder& encoder, const GeneConditions* genes) {
  nlohmann::json model = config_object(options.config, "model");
  model["latent_channels"] = autoencoder.channels;
  model["latent_size"] = encoder.px / TaesdImpl::kFactor;
  model["morphology_dim"] = encoder.dim;
  model["morphology_sha256"] = encoder.sha256;
  if (genes != nullptr) {
    model["gene_dim"] = genes->dim();
    model["gene_vectors"] = genes->vectors();
    model["gene_sha256"] = genes->sha256();
  }
  return model;
}

/// Throws Error kUsage: what is wrong stands in the training's configuration.
StmditConfig parse_model(const nlohmann::json& model) {
  try {
    return parse_stmdit_config(model);
  } catch (const Error& e) {
    throw Error(ErrorCode::kUsage, "training config: \"model\": {}", e.message());
  }
}

/// Weights to go on from, trained elsewhere; those of a network without expression leave the gene path to be learned,
/// which at the start changes nothing.
void start_from(Stmdit& model, const std::filesystem::path& path, std::uint64_t seed) {
  const ModelFolder folder = ModelFolder::open(path, {"stmdit", "pixcell"});
  const StmditConfig theirs = folder.read_config([](const nlohmann::json& json) { return parse_stmdit_config(json); });
  StmditConfig backbone = model->config();
  if (backbone.takes_genes() && !theirs.takes_genes()) {
    backbone.adaln = backbone.xattn = false;
    Stmdit source(backbone);
    load_stmdit(*source, folder.weights());
    model->initialize_gene_path(seed);
    const torch::NoGradGuard no_grad;
    const auto ours = model->named_parameters();
    for (const auto& item : source->named_parameters()) ours[item.key()].copy_(item.value());
    return;
  }
  load_stmdit(*model, folder.weights());
}

}  // namespace

void train_stmdit(const TrainOptions& options, const TrainingSet& set) {
  const LoopConfig loop = parse_loop_config(options.config);
  const StmditTrainingConfig config = parse_stmdit_training(options.config);
  FrozenAutoencoder autoencoder = FrozenAutoencoder::open(options.autoencoder);
  FrozenEncoder encoder = FrozenEncoder::open(options.encoder);
  // Only to learn whether it takes expression, and how; the sizes are not known yet.
  nlohmann::json draft = model_json_of(options, autoencoder, encoder, nullptr);
  draft["gene_dim"] = 1;
  const StmditConfig variant = parse_model(draft);
  std::unique_ptr<GeneConditions> genes;
  if (variant.takes_genes()) {
    report(options, "embedding expression");
    genes =
        std::make_unique<GeneConditions>(options, set, encoder, variant.pool, config.pseudo_labels, config.min_tissue);
  }
  const nlohmann::json model_json = model_json_of(options, autoencoder, encoder, genes.get());
  Stmdit model(parse_model(model_json));
  model->initialize(loop.seed);
  if (!options.init.empty()) start_from(model, options.init, loop.seed);
  StmditTask task(options, set, loop, model, std::move(autoencoder), std::move(encoder), std::move(genes));
  const Metrics figures = run_training(task, loop, options);
  write_model(options.out, model_json, weights_of(*model));
  write_figures(options, to_json(figures));
}

}  // namespace vtissue::models::training
