
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "models/engine_support.h"
#include "models/engines.h"
#include "models/json_value.h"
#include "models/model_folder.h"
#include "models/null_engines.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/guidance.h"
#include "models/stmdit/stmdit.h"
#include "models/torch.h"

namespace vtissue::models {
namespace {

constexpr double kTimeScale = 1000.0;  // models.md 1.2.7

/// One evaluation: a tile under one branch of the guidance.
struct Row {
  std::size_t tile = 0;
  GuidanceBranch branch;
  bool gives_variance = false;  ///< the tile's branch with the most conditions
};

void expect_size(std::string_view what, std::size_t size, std::size_t wanted) {
  if (size != wanted) throw Error(ErrorCode::kBadInput, "denoiser: {} has {} values, expected {}", what, size, wanted);
}

bool flag(std::span<const std::uint8_t> flags, std::size_t i) { return !flags.empty() && flags[i] != 0; }

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
      network_ = Stmdit(config_);
      load_stmdit(*network_, weights);
      network_->eval();
      network_->to(torch::Device(device_->name()));
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
    if (n < 0) throw Error(ErrorCode::kBadInput, "denoiser: {} tiles", n);
    const auto tiles = static_cast<std::size_t>(n);
    check_sizes(x, tiles, conditions, out);
    if (!variance.empty()) {
      if (!config_.learn_sigma) throw Error(ErrorCode::kUsage, "denoiser: {} predicts no variance", info_.name);
      expect_size("variance", variance.size(), tiles * tile_values());
    }
    const double noise_level = predicts_velocity() ? t : t / kTimeScale;
    std::vector<Row> rows;
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const bool has_morphology = flag(conditions.has_morphology, tile);
      const bool has_gene = config_.takes_genes() && flag(conditions.has_gene, tile);
      for (const GuidanceBranch& branch : guidance_branches(guidance, noise_level, has_morphology, has_gene)) {
        rows.push_back({tile, branch});
      }
      rows.back().gives_variance = true;
    }
    std::fill(out.begin(), out.end(), 0.0f);
    const auto micro_batch = static_cast<std::size_t>(info_.micro_batch);
    for (std::size_t first = 0; first < rows.size(); first += micro_batch) {
      const auto batch = std::span(rows).subspan(first, std::min(micro_batch, rows.size() - first));
      device_->run([&] { evaluate(x, t, conditions, batch, out, variance); });
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

  void check_sizes(std::span<const float> x, std::size_t n, const TileConditions& conditions,
                   std::span<float> out) const {
    expect_size("x", x.size(), n * tile_values());
    expect_size("out", out.size(), n * tile_values());
    if (!conditions.has_morphology.empty()) {
      expect_size("has_morphology", conditions.has_morphology.size(), n);
      expect_size("morphology", conditions.morphology.size(), n * morphology_values());
    }
    if (config_.takes_genes() && !conditions.has_gene.empty()) {
      expect_size("has_gene", conditions.has_gene.size(), n);
      expect_size("gene", conditions.gene.size(), n * gene_values());
    }
  }

  /// Always micro_batch rows, the last one repeated where there are fewer: results may differ in the last bit over the
  /// size of a batch, and must not depend on how many tiles are under way.
  void evaluate(std::span<const float> x, double t, const TileConditions& conditions, std::span<const Row> rows,
                std::span<float> out, std::span<float> variance) const {
    const std::int64_t batch = info_.micro_batch;
    const auto gather = [&](std::span<const float> values, std::size_t row_values, std::vector<std::int64_t> shape,
                            bool GuidanceBranch::*wanted) {
      shape.insert(shape.begin(), batch);
      at::Tensor tensor = at::zeros(shape, at::kFloat);
      auto* to = tensor.mutable_data_ptr<float>();
      for (std::size_t i = 0; i < static_cast<std::size_t>(batch); ++i, to += row_values) {
        const Row& row = rows[std::min(i, rows.size() - 1)];
        if (wanted == nullptr || row.branch.*wanted) {
          std::memcpy(to, values.data() + row.tile * row_values, row_values * sizeof(float));
        }
      }
      return tensor.to(torch::Device(device_->name()));
    };
    const auto gather_flags = [&](bool GuidanceBranch::*wanted) {
      at::Tensor flags = at::empty({batch}, at::kBool);
      for (std::size_t i = 0; i < static_cast<std::size_t>(batch); ++i) {
        flags.mutable_data_ptr<bool>()[i] = rows[std::min(i, rows.size() - 1)].branch.*wanted;
      }
      return flags.to(torch::Device(device_->name()));
    };

    StmditInput input;
    input.x = gather(x, tile_values(), {config_.latent_channels, config_.latent_size, config_.latent_size}, nullptr);
    const double network_t = predicts_velocity() ? kTimeScale * t : t;
    input.t = at::full({batch}, network_t, input.x.options());
    input.morphology = gather(conditions.morphology, morphology_values(),
                              {config_.morphology_tokens, config_.morphology_dim}, &GuidanceBranch::morphology);
    input.has_morphology = gather_flags(&GuidanceBranch::morphology);
    if (config_.takes_genes()) {
      input.gene =
          gather(conditions.gene, gene_values(), {config_.gene_vectors, config_.gene_dim}, &GuidanceBranch::gene);
      input.has_gene = gather_flags(&GuidanceBranch::gene);
    }
    const at::Tensor output = network_->forward(input);
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
  mutable Stmdit network_{nullptr};  // used on the device's thread only
};

}  // namespace

std::shared_ptr<Denoiser> Denoiser::load(const std::filesystem::path& folder, std::shared_ptr<Device> device) {
  if (ModelFolder::is_null(folder)) return make_null_denoiser();
  return std::make_shared<StmditDenoiser>(ModelFolder::open(folder, {"stmdit", "pixcell", "PixCellTransformer2DModel"}),
                                          std::move(device));
}

}  // namespace vtissue::models
