#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "pipeline/stage.h"

namespace vtissue::stages {

/// tiles, virtual → seen: the tiles as tiles of the virtual slide itself, so that embed and express can be run on it.
class AuditTilesStage : public pipeline::Stage {
 public:
  std::string_view name() const override { return "audit_tiles"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override { return {{.name = "tiles"}, {.name = "virtual"}}; }
  std::vector<pipeline::Port> outputs() const override { return {{.name = "seen"}}; }
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;
};

struct AuditOptions {
  /// A tile fails if the cosine is below. Not set: below the lower fence of the slide's own tiles (first quartile
  /// less 1.5 times the distance of the quartiles).
  std::optional<double> least_cosine;
};

/// tiles, features with features_seen, expression with expression_seen (each pair optional), metrics (optional, of the
/// evaluate stage) → how far each virtual tile does what was asked: report (the metrics, with "condition_fidelity"),
/// table (TSV, a row a tile), morphology_map and expression_map (PNG), failing (GeoJSON squares of the tiles that fail,
/// level-0 pixels of the real slide). For the morphology the cosine of the embedding asked for and that of the virtual
/// tile; for the expression Pearson's correlation over genes of the two deviations from the slide's means, in standard
/// deviations of what was asked: a gene that is high everywhere does not count as agreement.
class AuditStage : public pipeline::Stage {
 public:
  explicit AuditStage(AuditOptions options) : options_(options) {}

  std::string_view name() const override { return "audit"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  AuditOptions options_;
};

/// First quartile less 1.5 times the distance of the quartiles; nothing for fewer than 4 values.
std::optional<double> lower_fence(std::vector<double> values);

}  // namespace vtissue::stages
