#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/stage.h"

namespace vtissue::stages {

struct ReportOptions {
  int overview_px = 900;  ///< longest side of the pictures of the whole slide, 128..4096
  int tile_pairs = 6;     ///< 0..48
  std::string generator;  ///< program and version
  /// What the run has to say, all optional: "warnings" [text], "stages" [{"name", "status", "figures": {}}],
  /// "configuration" {}. No times: the page is a function of it.
  nlohmann::json run = nlohmann::json::object();
};

/// slide, tiles, virtual, metrics (optional) → report.html, self-contained, and preview.png: the real and
/// the virtual slide side by side, tiles at full size, figures and warnings. Opens with the synthetic
/// notice.
class ReportStage : public pipeline::Stage {
 public:
  explicit ReportStage(ReportOptions options);

  std::string_view name() const override { return "report"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  ReportOptions options_;
};

}  // namespace vtissue::stages
