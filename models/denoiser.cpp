#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "models/engine_support.h"
#include "models/engines.h"
#include "models/json_value.h"
#include "models/model_folder.h"
#include "models/null_engines.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/guidance.h"
#include "models/stmdit/inference.h"
#include "models/torch.h"

namespace vtissue::models {
namespace {

constexpr double kTimeScale =
    1000.0;  // timesteps of the diffusion, and what flow's t is multiplied by (models.md 1.2.7)

/// One evaluation: a tile under one branch of the guidance.
struct Row {
  std::size_t tile = 0;
  GuidanceBranch branch;
  bool gives_variance = false;  ///< the last of its tile's branches, that with the most conditions
};

void expect_size(std::string_view what, std::size_t size, std::size_t wanted) {
  if (size != wanted) throw Error(ErrorCode::kBadInput, "denoiser: {} has {} values, expected {}", what, size, wanted);
}

bool flag(std::span<const std::uint8_t> flags, std::size_t i) { return !flags.empty() && flags[i] != 0; }

/// For a denoiser that has nothing to prepare: the conditions as they were given.
class CopiedConditions final : public PreparedConditions {
 public:
  CopiedConditions(int n, const TileConditions& c)
      : n_(n),
        morphology_(c.morphology.begin(), c.morphology.end()),
        has_morphology_(c.has_morphology.begin(), c.has_morphology.end()),
        gene_(c.gene.begin(), c.gene.end()),
        has_gene_(c.has_gene.begin(), c.has_gene.end()) {}
  int tiles() const override { return n_; }
  TileConditions view() const { return {morphology_, has_morphology_, gene_, has_gene_}; }

 private:
  int n_;
  std::vector<float> morphology_;
  std::vector<std::uint8_t> has_morphology_;
  std::vector<float> gene_;
  std::vector<std::uint8_t> has_gene_;
};

/// Row 0 of each tensor is the null, row 1 + i tile i's.
class StmditPrepared final : public PreparedConditions {
 public:
  int tiles() const override { return static_cast<int>(has_morphology.size()); }

  const Denoiser* owner = nullptr;
  std::vector<std::uint8_t> has_morphology;
  std::vector<std::uint8_t> has_gene;
  at::Tensor morphology;       ///< [1 + n, S, D]
  StmditInference::Gene gene;  ///< [1 + n, ...]
};

template <typename Made>
const Made& made_by(const PreparedConditions& conditions, const Denoiser* owner) {
  const auto* made = dynamic_cast<const Made*>(&conditions);
  bool ours = made != nullptr;
  if constexpr (requires { made->owner; }) ours = ours && made->owner == owner;
  if (!ours) throw Error(ErrorCode::kBadInput, "denoiser: the conditions were prepared by another denoiser");
  return *made;
}

class StmditDenoiser : public Denoiser {
 public:
  StmditDenoiser(const ModelFolder& folder, std::shared_ptr<Device> device)
      : device_(std::move(device)), info_(folder.info()) {
    config_ = folder.read_config([this](const nlohmann::json& config) {
      morphology_sha256_ = json_value<std::string>(config, "morphology_sha256", "");
      gene_sha256_ = json_value<std::string>(config, "gene_sha256", "");
      return parse_stmdit_config(config);
    });
    const StateDict weights = folder.weights();
    device_->run([&] {
      Stmdit network(config_);
      load_stmdit(*network, weights);
      network_.emplace(*network, scalar_type(*device_), torch::Device(device_->name()), info_.micro_batch);
    });
  }

  const ModelInfo& info() const override { return info_; }
  int latent_channels() const override { return config_.latent_channels; }
  int latent_size() const override { return config_.latent_size; }
  int morphology_dim() const override { return config_.morphology_tokens * config_.morphology_dim; }
  int gene_dim() const override { return config_.gene_dim; }
  int gene_vectors() const override { return config_.gene_vectors; }
  bool predicts_velocity() const override { return config_.objective == StmditConfig::Objective::kFlow; }
  const std::string& morphology_sha256() const override { return morphology_sha256_; }
  const std::string& gene_sha256() const override { return gene_sha256_; }
  bool predicts_variance() const override { return config_.learn_sigma; }

  void predict(std::span<const float> x, int n, double t, const TileConditions& conditions, const Guidance& guidance,
               std::span<float> out, std::span<float> variance) const override {
    if (n >= 0) check_latents(x, static_cast<std::size_t>(n), out, variance);  // before the work on the conditions
    predict_prepared(x, t, *prepare(n, conditions), guidance, out, variance);
  }

  std::shared_ptr<const PreparedConditions> prepare(int n, const TileConditions& conditions) const override {
    if (n < 0) throw Error(ErrorCode::kBadInput, "denoiser: {} tiles", n);
    const auto tiles = static_cast<std::size_t>(n);
    check_conditions(tiles, conditions);
    auto prepared = std::make_shared<StmditPrepared>();
    prepared->owner = this;
    for (std::size_t i = 0; i < tiles; ++i) {
      prepared->has_morphology.push_back(flag(conditions.has_morphology, i) ? 1 : 0);
      prepared->has_gene.push_back(config_.takes_genes() && flag(conditions.has_gene, i) ? 1 : 0);
    }
    device_->run([&] {
      prepared->morphology = network_->morphology(with_null_row(conditions.morphology, prepared->has_morphology,
                                                                {config_.morphology_tokens, config_.morphology_dim}),
                                                  flags_with_null_row(prepared->has_morphology), n + 1);
      if (!config_.takes_genes()) return;
      prepared->gene =
          network_->gene(with_null_row(conditions.gene, prepared->has_gene, {config_.gene_vectors, config_.gene_dim}),
                         flags_with_null_row(prepared->has_gene), n + 1);
    });
    return prepared;
  }

  void predict_prepared(std::span<const float> x, double t, const PreparedConditions& conditions,
                        const Guidance& guidance, std::span<float> out, std::span<float> variance) const override {
    const auto& prepared = made_by<StmditPrepared>(conditions, this);
    const auto tiles = static_cast<std::size_t>(prepared.tiles());
    check_latents(x, tiles, out, variance);
    const double noise_level = predicts_velocity() ? t : t / kTimeScale;
    std::vector<Row> rows;
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      for (const GuidanceBranch& branch :
           guidance_branches(guidance, noise_level, prepared.has_morphology[tile] != 0, prepared.has_gene[tile] != 0)) {
        rows.push_back({tile, branch});
      }
      rows.back().gives_variance = true;
    }
    std::fill(out.begin(), out.end(), 0.0f);
    const auto micro_batch = static_cast<std::size_t>(info_.micro_batch);
    std::optional<StmditModulation> modulation;
    for (std::size_t first = 0; first < rows.size(); first += micro_batch) {
      const auto batch = std::span(rows).subspan(first, std::min(micro_batch, rows.size() - first));
      device_->run([&] { evaluate(x, t, prepared, batch, modulation, out, variance); });
    }
  }

 private:
  std::size_t tile_values() const {
    return static_cast<std::size_t>(config_.latent_channels) * static_cast<std::size_t>(config_.latent_size) *
           static_cast<std::size_t>(config_.latent_size);
  }
  std::size_t morphology_values() const { return static_cast<std::size_t>(morphology_dim()); }
  std::size_t gene_values() const {
    return static_cast<std::size_t>(config_.gene_vectors) * static_cast<std::size_t>(config_.gene_dim);
  }

  void check_latents(std::span<const float> x, std::size_t n, std::span<float> out, std::span<float> variance) const {
    expect_size("x", x.size(), n * tile_values());
    expect_size("out", out.size(), n * tile_values());
    if (variance.empty()) return;
    if (!config_.learn_sigma) throw Error(ErrorCode::kUsage, "denoiser: {} predicts no variance", info_.name);
    expect_size("variance", variance.size(), n * tile_values());
  }

  void check_conditions(std::size_t n, const TileConditions& conditions) const {
    if (!conditions.has_morphology.empty()) {
      expect_size("has_morphology", conditions.has_morphology.size(), n);
      expect_size("morphology", conditions.morphology.size(), n * morphology_values());
    }
    if (config_.takes_genes() && !conditions.has_gene.empty()) {
      expect_size("has_gene", conditions.has_gene.size(), n);
      expect_size("gene", conditions.gene.size(), n * gene_values());
    }
  }

  /// [1 + n, a, b] on the device: zeros, then the values; zeros too where a tile has none.
  at::Tensor with_null_row(std::span<const float> values, const std::vector<std::uint8_t>& has,
                           std::array<std::int64_t, 2> shape) const {
    const auto n = static_cast<std::int64_t>(has.size());
    const auto row = static_cast<std::size_t>(shape[0] * shape[1]);
    at::Tensor tensor = at::zeros({n + 1, shape[0], shape[1]}, at::kFloat);
    auto* to = tensor.mutable_data_ptr<float>() + row;
    for (std::size_t i = 0; i < has.size(); ++i, to += row) {
      if (has[i] != 0) std::memcpy(to, values.data() + i * row, row * sizeof(float));
    }
    return tensor.to(torch::Device(device_->name()));
  }

  at::Tensor flags_with_null_row(const std::vector<std::uint8_t>& has) const {
    at::Tensor flags = at::zeros({static_cast<std::int64_t>(has.size()) + 1}, at::kBool);
    std::copy(has.begin(), has.end(), flags.mutable_data_ptr<bool>() + 1);
    return flags.to(torch::Device(device_->name()));
  }

  /// Always micro_batch rows, the last one repeated where there are fewer: results may differ in the last bit over the
  /// size of a batch, and must not depend on how many tiles are under way. `modulation` is kept for the next batch of
  /// the same time unless the conditions have a part in it.
  void evaluate(std::span<const float> x, double t, const StmditPrepared& prepared, std::span<const Row> rows,
                std::optional<StmditModulation>& modulation, std::span<float> out, std::span<float> variance) const {
    const std::int64_t batch = info_.micro_batch;
    const torch::Device device(device_->name());
    at::Tensor latents =
        at::empty({batch, config_.latent_channels, config_.latent_size, config_.latent_size}, at::kFloat);
    at::Tensor morphology_rows = at::empty({batch}, at::kLong);
    at::Tensor gene_rows = at::empty({batch}, at::kLong);
    for (std::size_t i = 0; i < static_cast<std::size_t>(batch); ++i) {
      const Row& row = rows[std::min(i, rows.size() - 1)];
      std::memcpy(latents.mutable_data_ptr<float>() + i * tile_values(), x.data() + row.tile * tile_values(),
                  tile_values() * sizeof(float));
      const auto tile_row = static_cast<std::int64_t>(row.tile) + 1;
      morphology_rows.mutable_data_ptr<std::int64_t>()[i] = row.branch.morphology ? tile_row : 0;
      gene_rows.mutable_data_ptr<std::int64_t>()[i] = row.branch.gene ? tile_row : 0;
    }
    const auto pick = [&](const at::Tensor& all, const at::Tensor& index) {
      return all.defined() ? all.index_select(0, index.to(device)) : all;
    };
    const StmditConditions conditions =
        network_->conditions(pick(prepared.morphology, morphology_rows),
                             {pick(prepared.gene.tokens, gene_rows), pick(prepared.gene.time_shift, gene_rows)});
    if (!modulation || conditions.time_shift.defined()) {
      modulation = network_->modulation(predicts_velocity() ? kTimeScale * t : t, conditions.time_shift);
    }
    const at::Tensor output = network_->forward(latents.to(device), conditions, *modulation);
    const auto half = [&](std::int64_t first) {
      return output.narrow(1, first, config_.latent_channels).cpu().contiguous();
    };
    add_rows(half(0), t, rows, out);
    if (!variance.empty()) copy_variance(half(config_.latent_channels), rows, variance);
  }

  void add_rows(const at::Tensor& prediction, double t, std::span<const Row> rows, std::span<float> out) const {
    require_finite(prediction, info_.name, fmt::format("predictions at t = {}", t));
    const auto* from = prediction.const_data_ptr<float>();
    for (const Row& row : rows) {
      const auto weight = static_cast<float>(row.branch.weight);
      float* to = out.data() + row.tile * tile_values();
      for (std::size_t i = 0; i < tile_values(); ++i) to[i] += weight * from[i];
      from += tile_values();
    }
  }

  void copy_variance(const at::Tensor& channels, std::span<const Row> rows, std::span<float> variance) const {
    const auto* from = channels.const_data_ptr<float>();
    for (const Row& row : rows) {
      if (row.gives_variance) std::copy_n(from, tile_values(), variance.data() + row.tile * tile_values());
      from += tile_values();
    }
  }

  std::shared_ptr<Device> device_;
  ModelInfo info_;
  StmditConfig config_;
  std::string morphology_sha256_;
  std::string gene_sha256_;
  std::optional<StmditInference> network_;  // used on the device's thread only
};

}  // namespace

std::shared_ptr<const PreparedConditions> Denoiser::prepare(int n, const TileConditions& conditions) const {
  return std::make_shared<CopiedConditions>(n, conditions);
}

void Denoiser::predict_prepared(std::span<const float> x, double t, const PreparedConditions& conditions,
                                const Guidance& guidance, std::span<float> out, std::span<float> variance) const {
  const auto& copied = made_by<CopiedConditions>(conditions, this);
  predict(x, copied.tiles(), t, copied.view(), guidance, out, variance);
}

std::shared_ptr<Denoiser> Denoiser::load(const std::filesystem::path& folder, std::shared_ptr<Device> device,
                                         const LoadOptions& options) {
  if (ModelFolder::is_null(folder)) return make_null_denoiser();
  return std::make_shared<StmditDenoiser>(
      ModelFolder::open(folder, {"stmdit", "pixcell", "PixCellTransformer2DModel"}, {}, options), std::move(device));
}

}  // namespace vtissue::models
