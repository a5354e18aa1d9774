#include "stages/evaluate/multiqc.h"

#include <array>
#include <string_view>

#include "core/error.h"

namespace vtissue::stages {
namespace {

struct Column {
  std::string_view id, pointer, title, description, format, scale;
};

/// Colour scales are ColorBrewer's, by MultiQC's names; "-rev" where a small figure is good.
constexpr std::array kColumns = {
    Column{"tiles", "/tiles/compared", "Tiles", "Tiles compared", "{:,.0f}", "Greys"},
    Column{"cosine", "/same_tile/mean_cosine", "Cosine",
           "Likeness of the embeddings of a real tile and the virtual one at its place, mean", "{:.3f}", "RdYlGn"},
    Column{"kernel_excess", "/kernel_distance/excess/value", "Kernel excess",
           "Kernel distance of real and virtual tiles above the real-against-real floor", "{:.3g}", "RdYlGn-rev"},
    Column{"precision", "/overlap/real_vs_virtual/precision", "Precision",
           "Share of the virtual tiles that look like real ones", "{:.2f}", "RdYlGn"},
    Column{"coverage", "/overlap/real_vs_virtual/coverage", "Coverage",
           "Share of the real tiles with a virtual tile beside them", "{:.2f}", "RdYlGn"},
    Column{"nuclei", "/tissue/nuclei_per_tile/pearson", "Nuclei r",
           "Correlation of the nuclei counted in real and virtual tiles of one place", "{:.2f}", "RdYlGn"},
    Column{"sharpness", "/same_tile/gradient_energy_ratio", "Sharpness",
           "Gradient energy of the virtual tiles over that of the real ones", "{:.2f}", "PuOr"},
    Column{"seams", "/seams/virtual/lines", "Seams", "Steps across the lines between tiles; 1: no grid", "{:.2f}",
           "RdYlGn-rev"}};

}  // namespace

nlohmann::json multiqc_section(const std::map<std::string, nlohmann::json>& metrics) {
  nlohmann::json columns = nlohmann::json::array(), data = nlohmann::json::object();
  for (const Column& column : kColumns) {
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
    for (const Column& column : kColumns) {
      const nlohmann::json::json_pointer pointer{std::string(column.pointer)};
      if (figures.contains(pointer) && figures.at(pointer).is_number())
        row[std::string(column.id)] = figures.at(pointer);
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
