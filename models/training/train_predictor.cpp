#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/training/checkpoint.h"
#include "models/training/figures.h"
#include "models/training/neighbourhood.h"
#include "models/training/roles.h"

namespace vtissue::models::training {
namespace {

constexpr std::uint32_t kAugmentStep = 0xFFFFFFF2u;

struct PredictorConfig {
  int batch;
  int augmentations;  ///< precomputed variants of each training spot: symmetry and jitter of its crops
  int jitter_px;
  double min_tissue;     ///< of a neighbouring tile to count
  double feature_noise;  ///< standard deviation, in units of each feature's own
  int top_genes;         ///< genes chosen by cross-validation, for the figures
};

PredictorConfig parse_predictor_training(const nlohmann::json& config) {
  const auto& role = config_object(config, "predictor");
  return {config_value<int>(role, "batch"),
          config_value<int>(role, "augmentations"),
          config_value<int>(role, "jitter_px"),
          config_value<double>(role, "min_tissue"),
          config_value<double>(role, "feature_noise"),
          config_value<int>(role, "top_genes")};
}

/// Everything about some spots; a spot's variants lie `spots` rows apart.
struct SpotTable {
  Neighbourhood input;       ///< [variants * spots, …]
  at::Tensor target;         ///< [spots, genes]: log1p of counts per 10,000
  std::vector<int> section;  ///< [spots]
  std::int64_t spots() const { return target.size(0); }
};

at::Tensor expression_of(const TrainingSet& set, std::span<const SpotRef> spots) {
  const auto genes = static_cast<std::int64_t>(set.genes().size());
  at::Tensor table = at::empty({static_cast<std::int64_t>(spots.size()), genes}, at::kFloat);
  for (std::size_t i = 0; i < spots.size(); ++i) {
    const TrainingSection& section = set.sections()[static_cast<std::size_t>(spots[i].section)];
    const auto row = static_cast<std::size_t>(spots[i].spot);
    float* out = table[static_cast<std::int64_t>(i)].data_ptr<float>();
    const float per_ten_thousand = 1e4f / std::max(section.total[row], 1.0f);
    for (std::size_t g = 0; g < set.genes().size(); ++g) {
      out[g] = std::log1p(section.counts[row * set.genes().size() + g] * per_ten_thousand);
    }
  }
  return table;
}

SpotTable make_table(const TrainOptions& options, const TrainingSet& set, FrozenEncoder& encoder, Split split,
                     const PredictorConfig& config, bool subtiles, std::uint64_t seed) {
  const std::vector<SpotRef> spots = spots_of(set, split);
  if (spots.empty()) {
    throw Error(ErrorCode::kBadInput, "{}: no spots in the {} sections", set.path().string(),
                split == Split::kTrain ? "training" : "validation");
  }
  SpotTable table;
  table.target = expression_of(set, spots);
  std::vector<Crop> centres;
  const int variants = split == Split::kTrain ? config.augmentations : 1;
  for (int v = 0; v < variants; ++v) {
    for (std::size_t i = 0; i < spots.size(); ++i) {
      RandomStream random(seed, Purpose::kAugment, kAugmentStep + static_cast<std::uint32_t>(v) * 0x100u,
                          static_cast<std::uint32_t>(i));
      const auto range = static_cast<std::uint32_t>(2 * config.jitter_px + 1);
      // The first variant is the spot as it is, and the only one of the validation sections.
      const int dx = v == 0 ? 0 : static_cast<int>(random.below(range)) - config.jitter_px;
      const int dy = v == 0 ? 0 : static_cast<int>(random.below(range)) - config.jitter_px;
      const int symmetry = v == 0 ? 0 : static_cast<int>(random.below(8));
      centres.push_back(crop_around(set, spots[i], encoder.px, dx, dy, symmetry));
    }
  }
  for (const SpotRef& spot : spots) table.section.push_back(spot.section);
  table.input = encode_neighbourhoods(set, encoder, centres, config.min_tissue, subtiles, options);
  return table;
}

/// Trains on the spots of `train` in `rows`, measures on those of `test` in `test_rows`.
class PredictorTask : public TrainingTask {
 public:
  PredictorTask(const PredictorConfig& config, std::uint64_t seed, const DeepSpotConfig& model, const SpotTable& train,
                std::vector<std::int64_t> rows, const SpotTable& test, std::vector<std::int64_t> test_rows)
      : config_(config),
        seed_(seed),
        model_(model),
        train_(train),
        rows_(std::move(rows)),
        test_(test),
        test_rows_(at::tensor(test_rows)) {
    const at::Tensor target = train_.target.index_select(0, at::tensor(rows_));
    mean_ = target.mean(0);
    scale_ = target.std(0).clamp_min(1e-3);
    feature_scale_ = train_.input.spot.std(0) * config_.feature_noise;
    variants_ = static_cast<std::uint32_t>(train_.input.spot.size(0) / train_.spots());
  }

  torch::nn::Module& module() override { return *model_; }
  std::int64_t batch() const override { return config_.batch; }
  const DeepSpot& model() const { return model_; }
  const at::Tensor& mean() const { return mean_; }
  const at::Tensor& scale() const { return scale_; }

  at::Tensor loss(std::int64_t step, Metrics& metrics) override {
    const auto step32 = static_cast<std::uint32_t>(step);
    std::vector<std::int64_t> spots;
    std::vector<std::int64_t> inputs;
    for (int i = 0; i < config_.batch; ++i) {
      RandomStream random(seed_, Purpose::kRow, step32, static_cast<std::uint32_t>(i));
      spots.push_back(rows_[random.below(static_cast<std::uint32_t>(rows_.size()))]);
      inputs.push_back(spots.back() + random.below(variants_) * train_.spots());
    }
    const at::Tensor pick = at::tensor(inputs);
    const std::int64_t features = feature_scale_.size(0);
    const std::int64_t vectors = train_.input.sub.defined() ? 18 : 9;
    const at::Tensor noise =
        normal_tensor(seed_, Purpose::kConditionNoise, step32, {config_.batch, vectors, features}) * feature_scale_;
    Neighbourhood input = train_.input.select(pick);
    input.spot += noise.select(1, 0);
    input.neighbors += noise.narrow(1, 1, 8);
    if (input.sub.defined()) input.sub += noise.narrow(1, 9, 9);
    const at::Tensor target = (train_.target.index_select(0, at::tensor(spots)) - mean_) / scale_;
    const at::Tensor prediction = model_->forward(input.spot, input.sub, input.neighbors, input.mask);
    const at::Tensor error = at::mse_loss(prediction, target);
    metrics.emplace_back("mse", error.item<double>());
    return error;
  }

  Metrics validate() override {
    const std::vector<double> r = correlations();
    return {{"median_pearson", median(r)},
            {"mean_pearson", std::accumulate(r.begin(), r.end(), 0.0) / static_cast<double>(r.size())}};
  }

  /// Pearson's correlation of each gene over the test spots.
  std::vector<double> correlations() {
    const torch::NoGradGuard no_grad;
    const Neighbourhood input = test_.input.select(test_rows_);
    const at::Tensor prediction = model_->forward(input.spot, input.sub, input.neighbors, input.mask);
    const at::Tensor expression = (prediction * scale_ + mean_).clamp_min(0);
    return pearson_by_column(expression, test_.target.index_select(0, test_rows_));
  }

 private:
  PredictorConfig config_;
  std::uint64_t seed_;
  DeepSpot model_;
  const SpotTable& train_;
  std::vector<std::int64_t> rows_;
  const SpotTable& test_;
  at::Tensor test_rows_;
  at::Tensor mean_;
  at::Tensor scale_;
  at::Tensor feature_scale_;
  std::uint32_t variants_ = 1;
};

std::vector<std::int64_t> all_rows(const SpotTable& table) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(table.spots()));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

/// Each gene's correlation, averaged over the folds in which one training section is left out. Empty if there is
/// only one section.
std::vector<double> cross_validate(const TrainOptions& options, const PredictorConfig& config, const LoopConfig& loop,
                                   const DeepSpotConfig& model, const SpotTable& table) {
  std::vector<int> sections = table.section;
  sections.erase(std::unique(sections.begin(), sections.end()), sections.end());
  std::vector<double> sum;
  if (sections.size() < 2) return sum;
  for (const int held_out : sections) {
    std::vector<std::int64_t> train;
    std::vector<std::int64_t> test;
    for (std::int64_t row = 0; row < table.spots(); ++row) {
      (table.section[static_cast<std::size_t>(row)] == held_out ? test : train).push_back(row);
    }
    TrainOptions fold = options;
    fold.out = options.out / fmt::format("fold-{}", held_out);
    std::filesystem::create_directories(fold.out);
    torch::manual_seed(loop.seed);
    PredictorTask task(config, loop.seed, model, table, train, table, test);
    run_training(task, loop, fold);
    const std::vector<double> r = task.correlations();
    sum.resize(r.size());
    for (std::size_t g = 0; g < r.size(); ++g) sum[g] += r[g] / static_cast<double>(sections.size());
  }
  return sum;
}

}  // namespace

void train_predictor(const TrainOptions& options, const TrainingSet& set) {
  const LoopConfig loop = parse_loop_config(options.config);
  const PredictorConfig config = parse_predictor_training(options.config);
  FrozenEncoder encoder = FrozenEncoder::open(options.encoder);
  nlohmann::json model_json = config_object(options.config, "model");
  model_json["genes"] = set.genes();
  model_json["feature_dim"] = encoder.dim;
  model_json["encoder_sha256"] = encoder.sha256;
  const DeepSpotConfig model = parse_deepspot_config(model_json);

  report(options, "encoding the spots");
  const SpotTable train = make_table(options, set, encoder, Split::kTrain, config, model.subtiles, loop.seed);
  const SpotTable test = make_table(options, set, encoder, Split::kValidation, config, model.subtiles, loop.seed);
  const std::vector<double> by_fold = cross_validate(options, config, loop, model, train);

  torch::manual_seed(loop.seed);
  PredictorTask task(config, loop.seed, model, train, all_rows(train), test, all_rows(test));
  nlohmann::ordered_json figures = to_json(run_training(task, loop, options));
  const std::vector<double> r = task.correlations();
  nlohmann::ordered_json per_gene = nlohmann::ordered_json::object();
  for (std::size_t g = 0; g < r.size(); ++g) per_gene[set.genes()[g]] = r[g];
  if (!by_fold.empty()) {
    std::vector<std::size_t> order(by_fold.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return by_fold[a] > by_fold[b]; });
    order.resize(std::min(order.size(), static_cast<std::size_t>(config.top_genes)));
    std::vector<double> top;
    std::vector<std::string> names;
    for (const std::size_t g : order) {
      top.push_back(r[g]);
      names.push_back(set.genes()[g]);
    }
    figures["median_pearson cross-validation"] = median(by_fold);
    figures["median_pearson top genes"] = median(top);
    figures["top genes"] = names;
  }
  figures["pearson"] = per_gene;

  NamedTensors weights = weights_of(*task.model());
  weights.emplace_back("scaler.mean", task.mean());
  weights.emplace_back("scaler.scale", task.scale());
  write_model(options.out, model_json, weights);
  write_figures(options, figures);
}

}  // namespace vtissue::models::training
