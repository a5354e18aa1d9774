#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/engines.h"
#include "pipeline/stage.h"

namespace vtissue::stages {

struct EncodeOptions {
  double min_matched_genes = 0.5;  ///< of the encoder's genes, 0..1; fewer: Error kBadInput
  bool tokens = false;             ///< also the gene tokens: for a denoiser with gene_vectors() > 1
  int chunk_tiles = 64;            ///< tiles committed at once; rounded up to whole micro-batches
  std::string numerics_class;      ///< Device::numerics_class()
};

/// expression (h5ad of the express stage) → genes.h5: set "cls" [tiles, 1, dim] and, if asked for, "tokens"
/// [tiles, genes, dim]. Genes are matched by symbol; those the table lacks count as 0. A tile without
/// expression has valid = 0.
class EncodeStage : public pipeline::Stage {
 public:
  EncodeStage(EncodeOptions options, std::shared_ptr<const models::GeneEncoder> encoder);

  std::string_view name() const override { return "encode"; }
  int format_version() const override { return 3; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void preflight(const pipeline::Bindings& available_inputs) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  bool divisible(const pipeline::Bindings&) const override { return true; }
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  nlohmann::json settings() const;  ///< what the store says of them
  std::size_t vectors() const { return 1 + (options_.tokens ? encoder_->genes().size() : 0); }
  std::size_t values_per_tile() const { return vectors() * static_cast<std::size_t>(encoder_->dim()); }
  std::size_t rows_per_chunk() const;

  EncodeOptions options_;
  std::shared_ptr<const models::GeneEncoder> encoder_;
};

}  // namespace vtissue::stages
