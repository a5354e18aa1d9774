#include <algorithm>
#include <cmath>

#include "models/training/checkpoint.h"
#include "models/training/figures.h"
#include "models/training/roles.h"
#include "models/training/tile_expression.h"

namespace vtissue::models::training {
namespace {

namespace nn = torch::nn;

constexpr int kSpecialTokens = 3;  ///< <cls>, <pad>, <eoc>
constexpr float kMaskValue = -1.0f;

struct ExpressionConfig {
  int batch;
  double masked_low;  ///< share of the genes whose value is hidden, drawn evenly between the two
  double masked_high;
  double thin_low;         ///< share of a spot's molecules that is kept, drawn evenly between it and 1
  double predicted_share;  ///< of a batch: rows from the predictor instead of measured spots
  double class_weight;     ///< of the loss on what the class token alone tells
  double min_tissue;
  int validation_rows;
};

ExpressionConfig parse_expression_training(const nlohmann::json& config) {
  const auto& role = config_object(config, "expression");
  return {config_value<int>(role, "batch"),
          config_value<double>(role, "masked_low"),
          config_value<double>(role, "masked_high"),
          config_value<double>(role, "thin_low"),
          config_value<double>(role, "predicted_share"),
          config_value<double>(role, "class_weight"),
          config_value<double>(role, "min_tissue"),
          config_value<int>(role, "validation_rows")};
}

/// The encoder with two heads that only training needs: a hidden gene's bin from its own state, and all genes' bins
/// from the class token, which is what the diffusion model will see.
struct ExpressionNetImpl : nn::Module {
  ExpressionNetImpl(const CancerFoundationConfig& config, int genes) {
    network = register_module("network", CancerFoundation(config));
    value_head = register_module(
        "value_head", nn::Sequential(nn::Linear(config.dim, config.dim), nn::ReLU(), nn::Linear(config.dim, 1)));
    class_head = register_module("class_head", nn::Linear(config.dim, genes));
  }
  CancerFoundation network{nullptr};
  nn::Sequential value_head{nullptr};
  nn::Linear class_head{nullptr};
};
TORCH_MODULE(ExpressionNet);

nlohmann::json vocabulary_of(const std::vector<std::string>& genes) {
  nlohmann::json vocabulary{{"<cls>", 0}, {"<pad>", 1}, {"<eoc>", 2}};
  for (std::size_t i = 0; i < genes.size(); ++i) vocabulary[genes[i]] = i + kSpecialTokens;
  return vocabulary;
}

class ExpressionTask : public TrainingTask {
 public:
  ExpressionTask(const TrainOptions& options, const TrainingSet& set, const LoopConfig& loop,
                 const CancerFoundationConfig& model, int bins, at::Tensor predicted, at::Tensor predicted_validation)
      : set_(set),
        config_(parse_expression_training(options.config)),
        seed_(loop.seed),
        bins_(bins),
        genes_(static_cast<std::int64_t>(set.genes().size())),
        net_(model, static_cast<int>(set.genes().size())),
        spots_(spots_of(set, Split::kTrain)),
        validation_spots_(spots_of(set, Split::kValidation)),
        predicted_(std::move(predicted)),
        predicted_validation_(std::move(predicted_validation)) {
    if (spots_.empty() || validation_spots_.empty()) {
      throw Error(ErrorCode::kBadInput, "{}: no spots in the training or the validation sections", set.path().string());
    }
    ids_ = at::cat({at::zeros({1}, at::kLong), at::arange(genes_) + kSpecialTokens}).unsqueeze(0);
  }

  torch::nn::Module& module() override { return *net_; }
  const CancerFoundation& network() const { return net_->network; }
  std::int64_t batch() const override { return config_.batch; }

  at::Tensor loss(std::int64_t step, Metrics& metrics) override {
    const Terms terms =
        run(static_cast<std::uint32_t>(step), config_.batch, spots_, predicted_, config_.predicted_share);
    metrics.emplace_back("hidden", terms.hidden.item<double>());
    metrics.emplace_back("class", terms.from_class.item<double>());
    return terms.hidden + config_.class_weight * terms.from_class;
  }

  Metrics validate() override {
    Metrics figures;
    for (const bool measured : {true, false}) {
      if (!measured && predicted_validation_.numel() == 0) continue;
      const Terms terms =
          run(kValidationStep, config_.validation_rows, validation_spots_, predicted_validation_, measured ? 0.0 : 1.0);
      const char* kind = measured ? " measured" : " predicted";
      figures.emplace_back(std::string("hidden_r2") + kind, 1.0 - terms.hidden.item<double>() / terms.variance);
      figures.emplace_back(std::string("class_r2") + kind, 1.0 - terms.from_class.item<double>() / terms.variance);
    }
    return figures;
  }

 private:
  struct Terms {
    at::Tensor hidden;
    at::Tensor from_class;
    double variance = 0;  ///< mean over genes of the targets' variance over the rows
  };

  /// Counts of a spot, thinned as if it had been sequenced less deeply.
  void draw_measured(const SpotRef& spot, RandomStream& random, float* out) const {
    const TrainingSection& section = set_.sections()[static_cast<std::size_t>(spot.section)];
    const double keep = random.uniform(config_.thin_low, 1.0);
    for (std::int64_t g = 0; g < genes_; ++g) {
      const auto count = static_cast<std::uint32_t>(
          std::lround(section.counts[static_cast<std::size_t>(spot.spot) * static_cast<std::size_t>(genes_) +
                                     static_cast<std::size_t>(g)]));
      out[g] = static_cast<float>(random.binomial(count, keep));
    }
  }

  Terms run(std::uint32_t step, int n, const std::vector<SpotRef>& spots, const at::Tensor& predicted,
            double predicted_share) {
    at::Tensor values = at::empty({n, genes_}, at::kFloat);
    at::Tensor hidden = at::zeros({n, genes_ + 1}, at::kBool);
    auto hidden_at = hidden.accessor<bool, 2>();
    for (int i = 0; i < n; ++i) {
      RandomStream random(seed_, Purpose::kCounts, step, static_cast<std::uint32_t>(i));
      at::Tensor row = values[i];
      if (predicted.numel() > 0 && random.uniform() < predicted_share) {
        row.copy_(predicted[random.below(static_cast<std::uint32_t>(predicted.size(0)))]);
      } else {
        const SpotRef& spot = spots[random.below(static_cast<std::uint32_t>(spots.size()))];
        draw_measured(spot, random, row.data_ptr<float>());
      }
      RandomStream mask(seed_, Purpose::kMask, step, static_cast<std::uint32_t>(i));
      const double share = mask.uniform(config_.masked_low, config_.masked_high);
      for (std::int64_t g = 1; g <= genes_; ++g) hidden_at[i][g] = mask.uniform() < share;
    }
    const at::Tensor binned = bin_rows(values, bins_);
    const at::Tensor target = binned.narrow(1, 1, genes_) / (bins_ - 1.0);
    const at::Tensor input = binned.masked_fill(hidden, kMaskValue);
    const at::Tensor states = net_->network->forward(ids_.expand({n, -1}), input, false);
    const at::Tensor own = net_->value_head->forward(states.narrow(1, 1, genes_)).squeeze(-1);
    const at::Tensor from_class = net_->class_head->forward(states.select(1, 0));
    const at::Tensor picked = hidden.narrow(1, 1, genes_).to(at::kFloat);
    Terms terms;
    terms.hidden = ((own - target).square() * picked).sum() / picked.sum().clamp_min(1);
    terms.from_class = at::mse_loss(from_class, target);
    terms.variance = target.var(at::IntArrayRef{0}, false).mean().item<double>();
    return terms;
  }

  const TrainingSet& set_;
  ExpressionConfig config_;
  std::uint64_t seed_;
  int bins_;
  std::int64_t genes_;
  ExpressionNet net_;
  std::vector<SpotRef> spots_;
  std::vector<SpotRef> validation_spots_;
  at::Tensor predicted_;
  at::Tensor predicted_validation_;
  at::Tensor ids_;
};

at::Tensor rows_of(const std::vector<TileExpression>& sections, std::int64_t genes) {
  std::vector<at::Tensor> tables{at::empty({0, genes}, at::kFloat)};
  for (const TileExpression& section : sections) tables.push_back(section.values);
  return at::cat(tables);
}

}  // namespace

void train_expression(const TrainOptions& options, const TrainingSet& set) {
  const LoopConfig loop = parse_loop_config(options.config);
  const ExpressionConfig config = parse_expression_training(options.config);
  nlohmann::json model = config_object(options.config, "model");
  model["genes"] = set.genes();
  model["vocab"] = vocabulary_of(set.genes());
  model["max_seq_len"] = set.genes().size() + 1;
  const int bins = json_int(model, "bins", 3, 1 << 16);
  const auto genes = static_cast<std::int64_t>(set.genes().size());

  FrozenEncoder encoder = FrozenEncoder::open(options.encoder);
  FrozenPredictor predictor = FrozenPredictor::open(options.predictor);
  report(options, "predicting the expression of the sections' tiles");
  const at::Tensor predicted =
      rows_of(predict_tiles(options, set, Split::kTrain, encoder, predictor, config.min_tissue), genes);
  const at::Tensor predicted_validation =
      rows_of(predict_tiles(options, set, Split::kValidation, encoder, predictor, config.min_tissue), genes);

  torch::manual_seed(loop.seed);
  ExpressionTask task(options, set, loop, parse_cancerfoundation_config(model, static_cast<int>(model["vocab"].size())),
                      bins, predicted, predicted_validation);
  const Metrics figures = run_training(task, loop, options);
  write_model(options.out, model, weights_of(*task.network()));
  write_figures(options, to_json(figures));
}

}  // namespace vtissue::models::training
