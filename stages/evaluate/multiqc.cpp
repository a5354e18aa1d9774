#include "stages/evaluate/multiqc.h"

#include <optional>

#include "core/error.h"
#include "stages/evaluate/headline_figures.h"

namespace vtissue::stages {

nlohmann::json multiqc_section(const std::map<std::string, nlohmann::json>& metrics) {
  nlohmann::json columns = nlohmann::json::array(), data = nlohmann::json::object();
  for (const HeadlineFigure& column : headline_figures()) {
    columns.push_back({{std::string(column.id),
                        {{"title", column.title},
                         {"description", column.description},
                         {"format", column.format},
                         {"scale", column.scale},
                         {"namespace", "vtissue"}}}});
  }
  for (const auto& [slide, figures] : metrics) {
    if (!figures.is_object() || !figures.contains("format") || !figures.contains("same_tile")) {
      throw Error(ErrorCode::kBadInput, "{}: its metrics.json is none of vtissue's; run evaluate again", slide);
    }
    nlohmann::json& row = data[slide] = nlohmann::json::object();
    for (const HeadlineFigure& column : headline_figures()) {
      if (const std::optional<double> value = value_of(column, figures)) row[std::string(column.id)] = *value;
    }
  }
  return {{"id", "vtissue"},
          {"section_name", "vtissue"},
          {"description", "Virtual slides (synthetic, not for diagnosis) beside the real ones."},
          {"plot_type", "generalstats"},
          {"pconfig", columns},
          {"data", data}};
}

}  // namespace vtissue::stages
