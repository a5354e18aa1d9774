#include "stages/report/report_config.h"

namespace vtissue::stages {

std::vector<pipeline::ConfigKey> report_config_keys() {
  using pipeline::ValueType;
  return {
      {.name = "report.overview_px",
       .type = ValueType::kInteger,
       .default_value = 900,
       .description = "longest side of the report's pictures of the whole slide, in pixels (128..4096)",
       .minimum = 128,
       .maximum = 4096},
      {.name = "report.tile_pairs",
       .type = ValueType::kInteger,
       .default_value = 6,
       .description = "pairs of real and synthetic tiles shown at full size (0..48)",
       .minimum = 0,
       .maximum = 48},
  };
}

ReportOptions report_options(const pipeline::Config& config) {
  return {.overview_px = config.get<int>("report.overview_px"), .tile_pairs = config.get<int>("report.tile_pairs")};
}

}  // namespace vtissue::stages
