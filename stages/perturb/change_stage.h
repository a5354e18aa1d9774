#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/engines.h"
#include "pipeline/stage.h"
#include "stages/perturb/gene_change.h"
#include "stages/perturb/region.h"

namespace vtissue::stages {

struct ChangeOptions {
  std::vector<GeneChange> changes;
  RegionOptions region;
  bool tokens = false;           ///< also the gene tokens: for a denoiser with gene_vectors() > 1
  bool write_expression = true;  ///< also the whole table
  int chunk_tiles = 64;          ///< tiles committed at once; rounded up to whole micro-batches
  std::string numerics_class;    ///< Device::numerics_class()
};

/// expression, tiles, region (optional, GeoJSON) → genes: embeddings of the changed tiles alone, sets "cls" and perhaps
/// "tokens" as the encode stage writes them; and with write_expression expression: the table with the changed rows, obs
/// column "changed" and uns/perturbation. The settings of genes say what was changed ("perturbation").
class ChangeStage : public pipeline::Stage {
 public:
  ChangeStage(ChangeOptions options, std::shared_ptr<const models::GeneEncoder> encoder);

  std::string_view name() const override { return "change"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void preflight(const pipeline::Bindings& available_inputs) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  std::size_t rows_per_chunk() const;

  ChangeOptions options_;
  std::shared_ptr<const models::GeneEncoder> encoder_;
};

}  // namespace vtissue::stages
