#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/device.h"
#include "models/engines.h"
#include "pipeline/stage.h"

namespace vtissue::stages {

struct EvaluateOptions {
  int max_tiles = 5000;  ///< of a larger slide so many tiles, evenly spread, are compared; at least 2
  int chunk_tiles = 64;  ///< tiles committed at once; rounded up to whole micro-batches
  int seam_boxes = 8;    ///< squares of 1024 px, evenly spread, in which seams are looked for
  std::array<std::uint8_t, 3> background = {244, 243, 245};  ///< of the virtual slide, as stitch has it
  std::string numerics_class;                                ///< Device::numerics_class()
};

/// slide, tiles, features, virtual, latents (optional) → metrics.json: how the virtual slide's tiles, read back from
/// the file that a viewer opens, compare with the real ones at the same places (docs/stages/evaluate.md has the
/// fields). Both sides are seen by the same morphology encoder: the real ones' embeddings are set "morphology" of
/// features.h5. Seams are looked for in the latents as they are decoded, before the file's compression.
class EvaluateStage : public pipeline::Stage {
 public:
  /// `device` computes the distances (models/metrics.h). The autoencoder may be null where no latents are given.
  EvaluateStage(EvaluateOptions options, std::shared_ptr<const models::MorphologyEncoder> encoder,
                std::shared_ptr<models::Device> device,
                std::shared_ptr<const models::Autoencoder> autoencoder = nullptr);

  std::string_view name() const override { return "evaluate"; }
  int format_version() const override { return 3; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  /// Refuses features of another encoder or of other tiles, and a virtual slide of another size or µm/px.
  void preflight(const pipeline::Bindings& available_inputs) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  std::size_t rows_per_chunk() const;
  const models::Autoencoder& require_autoencoder() const;  ///< Throws Error kUsage if there is none.

  EvaluateOptions options_;
  std::shared_ptr<const models::MorphologyEncoder> encoder_;
  std::shared_ptr<models::Device> device_;
  std::shared_ptr<const models::Autoencoder> autoencoder_;
};

}  // namespace vtissue::stages
