#include <algorithm>
#include <cmath>
#include <map>

#include "models/stmdit/stmdit.h"
#include "models/training/checkpoint.h"
#include "models/training/figures.h"
#include "models/training/latent_canvas.h"
#include "models/training/pictures.h"
#include "models/training/roles.h"
#include "models/training/tile_expression.h"

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
          config_value<int>(role, "spot_jitter_px"),
          config_value<int>(role, "canvases"),
          {config_value<int>(role, "window_px"), config_value<int>(role, "halo_px")},
          config_value<int>(role, "validation_crops"),
          config_value<int>(role, "samples"),
          config_value<int>(role, "sample_steps"),
          config_value<double>(role, "guidance_morphology"),
          config_value<double>(role, "guidance_gene")};
}

/// Embedded expression of places: measured spots, and tiles of a grid where it is predicted.
class GeneEmbeddings {
 public:
  GeneEmbeddings(const TrainOptions& options, const TrainingSet& set, FrozenEncoder& encoder, double min_tissue)
      : tile_px_(encoder.px) {
    FrozenPredictor predictor = FrozenPredictor::open(options.predictor);
    FrozenExpression expression = FrozenExpression::open(options.expression);
    require_genes(expression.genes, set.genes(), options.expression.string());
    sha256_ = expression.sha256;
    dim_ = expression.dim;
    std::vector<at::Tensor> rows;
    std::int64_t count = 0;
    const auto genes = static_cast<std::int64_t>(set.genes().size());
    for (std::size_t i = 0; i < set.sections().size(); ++i) {
      const TrainingSection& section = set.sections()[i];
      first_spot_.push_back(count);
      if (section.spots() == 0) continue;
      rows.push_back(expression.encode(
          at::from_blob(const_cast<float*>(section.counts.data()), {section.spots(), genes}, at::kFloat)));
      count += section.spots();
    }
    for (const Split split : {Split::kTrain, Split::kValidation}) {
      for (const TileExpression& tiles : predict_tiles(options, set, split, encoder, predictor, min_tissue)) {
        rows.push_back(expression.encode(tiles.values));
        for (const Crop& tile : tiles.tiles) tile_row_[{tiles.section, tile.x / tile_px_, tile.y / tile_px_}] = count++;
      }
    }
    table_ = at::cat(rows);
    deviation_ = table_.std(0);
  }

  const std::string& sha256() const { return sha256_; }
  int dim() const { return dim_; }
  const at::Tensor& table() const { return table_; }          ///< [rows, dim]
  const at::Tensor& deviation() const { return deviation_; }  ///< [dim]

  std::int64_t row_of(const SpotRef& spot) const {
    return first_spot_[static_cast<std::size_t>(spot.section)] + spot.spot;
  }

  /// The nearest tile's row, or -1 if that tile has no expression.
  std::int64_t row_of(const Crop& crop) const {
    const auto cell = [&](int at) { return static_cast<int>(std::lround(static_cast<double>(at) / tile_px_)); };
    const auto found = tile_row_.find({crop.section, cell(crop.x), cell(crop.y)});
    return found == tile_row_.end() ? -1 : found->second;
  }

 private:
  int tile_px_;
  std::string sha256_;
  int dim_ = 0;
  std::vector<std::int64_t> first_spot_;  ///< [sections]
  std::map<std::tuple<int, int, int>, std::int64_t> tile_row_;
  at::Tensor table_;
  at::Tensor deviation_;
};

/// Tiles with their conditions.
struct Batch {
  at::Tensor latents;         ///< [n, C, s, s]
  at::Tensor morphology;      ///< [n, 1, F]
  at::Tensor has_morphology;  ///< [n] bool
  at::Tensor gene;            ///< [n, 1, g]
  at::Tensor has_gene;        ///< [n] bool
};

class StmditTask : public TrainingTask {
 public:
  StmditTask(const TrainOptions& options, const TrainingSet& set, const LoopConfig& loop, Stmdit model,
             FrozenAutoencoder autoencoder, FrozenEncoder encoder, GeneEmbeddings genes)
      : options_(options),
        set_(set),
        config_(parse_stmdit_training(options.config)),
        seed_(loop.seed),
        model_(std::move(model)),
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
    std::vector<float> times;
    for (int i = 0; i < config_.batch; ++i) {
      RandomStream random(seed_, Purpose::kTime, step32, static_cast<std::uint32_t>(i));
      times.push_back(static_cast<float>(1.0 / (1.0 + std::exp(-random.normal()))));
    }
    const at::Tensor noise = normal_tensor(seed_, Purpose::kLatentNoise, step32, batch.latents.sizes());
    const at::Tensor error = flow_error(batch, at::tensor(times), noise);
    metrics.emplace_back("genes", batch.has_gene.to(at::kFloat).mean().item<double>());
    return error;
  }

  /// Loss with both conditions, with one, and with none, on the same tiles, times and noise; and a picture of samples.
  Metrics validate() override {
    Metrics figures;
    for (const auto& [name, morphology, gene] :
         {std::tuple{"loss", true, true}, {"loss_m", true, false}, {"loss_g", false, true}, {"loss_0", false, false}}) {
      Batch batch = validation_;
      if (!morphology) batch.has_morphology = at::zeros_like(batch.has_morphology);
      if (!gene) batch.has_gene = at::zeros_like(batch.has_gene);
      figures.emplace_back(name, flow_error(batch, validation_times_, validation_noise_).item<double>());
    }
    write_picture(options_.out / "samples.ppm", sample_sheet(), 8);
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
    std::vector<float> times;
    for (int i = 0; i < config_.validation_crops; ++i) {
      RandomStream random(seed_, Purpose::kCrop, kValidationStep, static_cast<std::uint32_t>(i));
      if (i % 2 == 0 && !spots.empty()) {
        const SpotRef spot = spots[random.below(static_cast<std::uint32_t>(spots.size()))];
        crops.push_back(crop_around(set_, spot, encoder_.px));
        rows.push_back(genes_.row_of(spot));
      } else {
        crops.push_back(held_out.draw(random, false));
        rows.push_back(genes_.row_of(crops.back()));
      }
      times.push_back((static_cast<float>(i) + 0.5f) / static_cast<float>(config_.validation_crops));
    }
    const at::Tensor rgb = read_crops(set_, crops, encoder_.px);
    std::vector<at::Tensor> latents;
    for (const at::Tensor& part : rgb.split(8)) latents.push_back(autoencoder_.encode(part));
    validation_rgb_ = rgb;
    validation_.latents = at::cat(latents).contiguous();
    validation_.morphology = encoder_.encode(rgb).unsqueeze(1);
    validation_.has_morphology = at::ones({config_.validation_crops}, at::kBool);
    set_genes(validation_, rows);
    validation_times_ = at::tensor(times);
    validation_noise_ = normal_tensor(seed_, Purpose::kLatentNoise, kValidationStep, validation_.latents.sizes());
    morphology_deviation_ = validation_.morphology.squeeze(1).std(0);
  }

  void set_genes(Batch& batch, const std::vector<std::int64_t>& rows) const {
    const at::Tensor index = at::tensor(rows);
    batch.has_gene = index >= 0;
    batch.gene = genes_.table().index_select(0, index.clamp_min(0)).unsqueeze(1);
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
        gene_row = genes_.row_of(spot);
      } else {
        crop = sampler_.draw(random, false);
        gene_row = genes_.row_of(crop);
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
    const at::Tensor noise =
        normal_tensor(seed_, Purpose::kConditionNoise, step, {config_.batch, 1, encoder_.dim + genes_.dim()});
    batch.morphology =
        batch.morphology + noise.narrow(2, 0, encoder_.dim) * (config_.morphology_noise * morphology_deviation_);
    batch.gene = batch.gene + noise.narrow(2, encoder_.dim, genes_.dim()) * (config_.gene_noise * genes_.deviation());
    return batch;
  }

  StmditInput input_of(const Batch& batch, const at::Tensor& x, const at::Tensor& t) const {
    StmditInput input;
    input.x = x;
    input.t = t * 1000.0;
    input.morphology = batch.morphology;
    input.has_morphology = batch.has_morphology;
    input.gene = batch.gene;
    input.has_gene = batch.has_gene;
    return input;
  }

  /// Mean squared error of the velocity (models.md 1.2.7) at times t [n].
  at::Tensor flow_error(const Batch& batch, const at::Tensor& t, const at::Tensor& noise) {
    const at::Tensor at_time = t.view({-1, 1, 1, 1});
    const at::Tensor x = (1 - at_time) * batch.latents + at_time * noise;
    return at::mse_loss(model_->forward(input_of(batch, x, t)), noise - batch.latents);
  }

  /// Columns of four: the tile, its reconstruction, a sample with both conditions, one with morphology alone.
  at::Tensor sample_sheet() {
    const std::int64_t n = std::min<std::int64_t>(config_.samples, validation_.latents.size(0));
    Batch batch;
    batch.latents = validation_.latents.narrow(0, 0, n);
    batch.morphology = validation_.morphology.narrow(0, 0, n);
    batch.has_morphology = validation_.has_morphology.narrow(0, 0, n);
    batch.gene = validation_.gene.narrow(0, 0, n);
    batch.has_gene = validation_.has_gene.narrow(0, 0, n);
    Batch without = batch;
    without.has_gene = at::zeros_like(batch.has_gene);
    return at::stack({to_unit_range(validation_rgb_.narrow(0, 0, n)), autoencoder_.decode(batch.latents),
                      autoencoder_.decode(sample(batch)), autoencoder_.decode(sample(without))},
                     1)
        .flatten(0, 1);
  }

  /// Euler (models.md 7.5) with nested guidance, morphology first (1.2.6).
  at::Tensor sample(const Batch& batch) {
    Batch none = batch;
    none.has_morphology = at::zeros_like(batch.has_morphology);
    none.has_gene = at::zeros_like(batch.has_gene);
    Batch morphology = batch;
    morphology.has_gene = none.has_gene;
    at::Tensor x = normal_tensor(seed_, Purpose::kSample, kSampleStep, batch.latents.sizes());
    for (int k = 0; k < config_.sample_steps; ++k) {
      const at::Tensor t = at::full({x.size(0)}, 1.0 - static_cast<double>(k) / config_.sample_steps);
      const at::Tensor v0 = model_->forward(input_of(none, x, t));
      const at::Tensor vm = model_->forward(input_of(morphology, x, t));
      const at::Tensor vg = model_->forward(input_of(batch, x, t));
      const at::Tensor v = v0 + config_.guidance_morphology * (vm - v0) + config_.guidance_gene * (vg - vm);
      x = x - v / config_.sample_steps;
    }
    return x;
  }

  const TrainOptions& options_;
  const TrainingSet& set_;
  StmditTrainingConfig config_;
  std::uint64_t seed_;
  Stmdit model_;
  FrozenAutoencoder autoencoder_;
  FrozenEncoder encoder_;
  GeneEmbeddings genes_;
  CropSampler sampler_;
  std::vector<SpotRef> spots_;
  std::map<int, std::vector<LatentCanvas>> canvases_;
  Batch validation_;
  at::Tensor validation_rgb_;
  at::Tensor validation_times_;
  at::Tensor validation_noise_;
  at::Tensor morphology_deviation_;
};

}  // namespace

void train_stmdit(const TrainOptions& options, const TrainingSet& set) {
  const LoopConfig loop = parse_loop_config(options.config);
  const StmditTrainingConfig config = parse_stmdit_training(options.config);
  FrozenAutoencoder autoencoder = FrozenAutoencoder::open(options.autoencoder);
  FrozenEncoder encoder = FrozenEncoder::open(options.encoder);
  report(options, "embedding expression");
  GeneEmbeddings genes(options, set, encoder, config.min_tissue);

  nlohmann::json model_json = config_object(options.config, "model");
  model_json["latent_channels"] = autoencoder.channels;
  model_json["latent_size"] = encoder.px / TaesdImpl::kFactor;
  model_json["morphology_dim"] = encoder.dim;
  model_json["gene_dim"] = genes.dim();
  model_json["gene_vectors"] = 1;
  model_json["morphology_sha256"] = encoder.sha256;
  model_json["gene_sha256"] = genes.sha256();
  const StmditConfig model_config = parse_stmdit_config(model_json);
  if (model_config.objective != StmditConfig::Objective::kFlow || !model_config.takes_genes()) {
    throw Error(ErrorCode::kUsage,
                "training config: \"model\": only \"objective\": \"flow\" with expression is trained");
  }
  Stmdit model(model_config);
  model->initialize(loop.seed);
  StmditTask task(options, set, loop, model, std::move(autoencoder), std::move(encoder), std::move(genes));
  const Metrics figures = run_training(task, loop, options);
  write_model(options.out, model_json, weights_of(*model));
  write_figures(options, to_json(figures));
}

}  // namespace vtissue::models::training
