#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "pipeline/config.h"
#include "pipeline/stage.h"
#include "stages/ood/condition_statistics.h"

namespace vtissue::stages {

struct OodOptions {
  enum class Policy { kFail, kWarn, kOff };
  Policy policy = Policy::kWarn;
  double most_far = 0.25;                         ///< share of a modality's tiles that may be far
  std::optional<ConditionStatistics> statistics;  ///< of the denoiser's training; none: not known
  std::string denoiser;                           ///< its name, for messages
};

/// tiles, features, genes (optional) → report (ood.json) and map (PNG): how far each tile's conditions lie from those
/// the denoiser was trained with. A tile is far if its distance is over the 0.99 quantile of the training's own tiles.
/// Throws Error kBadInput where more than the allowed share is far and the policy is fail. Statistics of another
/// encoder, or none, are said in the report and a warning.
class OodStage : public pipeline::Stage {
 public:
  explicit OodStage(OodOptions options);

  std::string_view name() const override { return "ood"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  OodOptions options_;
};

/// The keys of section "ood".
std::vector<pipeline::ConfigKey> ood_config_keys();
/// Statistics and denoiser are the caller's to add.
OodOptions ood_options(const pipeline::Config& config);

}  // namespace vtissue::stages
