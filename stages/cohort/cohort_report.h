#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::stages {

/// How the run of one slide of a sheet ended.
struct CohortSlide {
  std::string sample;
  std::string status;      ///< "done", "up to date", "failed", "interrupted" or "not begun"
  int exit_code = 0;       ///< as `vtissue run` of this slide alone would end
  std::string message;     ///< of what failed
  double seconds = 0;      ///< of this run of the sheet
  nlohmann::json run;      ///< run.json; null: none
  nlohmann::json metrics;  ///< metrics.json; null: none
};

/// A table of all slides, comma-separated with a header: sample, status, exit_code, seconds, tiles, warnings, the
/// figures that multiqc_section() has, message. Fields with commas, quotes or line ends are quoted (RFC 4180).
std::string cohort_csv(const std::vector<CohortSlide>& slides);

/// One HTML page: what failed first, then every slide with its figures, its warnings and the picture
/// "<sample>/<preview>" of its folder, which lies beside the page.
std::string cohort_page(const std::vector<CohortSlide>& slides, std::string_view preview, std::string_view generator);

}  // namespace vtissue::stages
