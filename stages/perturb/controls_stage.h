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

/// One change of one seed: the change that is asked about, or a control.
struct ControlVariant {
  enum class Kind { kTarget, kRandom, kHousekeeping };
  Kind kind = Kind::kTarget;
  std::string genes;     ///< to_text() of the changes
  std::size_t set = 0;   ///< of a kind: the same set for each seed
  std::size_t seed = 0;  ///< place in ControlsOptions::seeds
};

struct ControlsOptions {
  std::vector<std::uint64_t> seeds;      ///< of the noise
  std::vector<ControlVariant> variants;  ///< each set with each seed
  RegionOptions region;
  std::array<std::uint8_t, 3> glass = {244, 243, 245};
  std::string generator = "vtissue";
  std::string numerics_class;  ///< Device::numerics_class()
};

/// tiles, region (optional), base_00 … (a store of latents a seed), variant_000 … → controls.json and a page of HTML:
/// the effect of a change in the region's tiles (mean absolute difference of the pixels; mean of 1 - cosine of the
/// embeddings) beside those of the controls: effect size, empirical p, number of controls. Effects of one set are means
/// over the seeds.
class ControlsStage : public pipeline::Stage {
 public:
  ControlsStage(ControlsOptions options, std::shared_ptr<const models::Autoencoder> autoencoder,
                std::shared_ptr<const models::MorphologyEncoder> encoder);

  static std::string base_port(std::size_t seed);        ///< "base_00"
  static std::string variant_port(std::size_t variant);  ///< "variant_000"

  std::string_view name() const override { return "controls"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  ControlsOptions options_;
  std::shared_ptr<const models::Autoencoder> autoencoder_;
  std::shared_ptr<const models::MorphologyEncoder> encoder_;
};

}  // namespace vtissue::stages
