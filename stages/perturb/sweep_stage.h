#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/engines.h"
#include "pipeline/stage.h"
#include "stages/perturb/region.h"

namespace vtissue::stages {

struct SweepOptions {
  std::vector<std::string> captions;  ///< of the variants, in order: "MITF=-3sd"
  RegionOptions region;
  std::array<std::uint8_t, 3> glass = {244, 243, 245};
  std::string numerics_class;  ///< Device::numerics_class()
};

/// tiles, region (optional), base, variant_00 … (stores of latents) → strip: a PNG with a picture a variant, the run's
/// own first, and under each the signed colour difference; table: what each variant did to the region's tiles on
/// average (TSV). Of a region over six tiles wide or high the part around the tile that changes most is shown.
class SweepStage : public pipeline::Stage {
 public:
  SweepStage(SweepOptions options, std::shared_ptr<const models::Autoencoder> autoencoder,
             std::shared_ptr<const models::MorphologyEncoder> encoder);

  static std::string variant_port(std::size_t variant);  ///< "variant_00"

  std::string_view name() const override { return "sweep"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  SweepOptions options_;
  std::shared_ptr<const models::Autoencoder> autoencoder_;
  std::shared_ptr<const models::MorphologyEncoder> encoder_;
};

}  // namespace vtissue::stages
