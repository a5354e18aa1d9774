#include "stages/report/metric_notes.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace vtissue::stages {
namespace {

struct Note {
  std::string_view fragment;  ///< of the dotted name; the first that is contained decides
  std::string_view text;
};

constexpr std::array kNotes = {
    Note{"tissue.haematoxylin_threshold", "Density above which a pixel may be of a nucleus; one for both slides."},
    Note{"nuclei_per_tile", "Nuclei as counted on the haematoxylin, and how the counts go together over the places."},
    Note{"nuclear_area_overlap", "Share of the nuclei's sizes that both slides have. 1: one distribution."},
    Note{"nuclear_elongation_overlap", "The same of how long the nuclei are. 1: one distribution."},
    Note{"haematoxylin_density", "Blue stain, real and synthetic, and how it goes together over the places."},
    Note{"eosin_density", "Pink stain, real and synthetic, and how it goes together over the places."},
    Note{"overlap.neighbours", "The balls reach to this neighbour of each tile."},
    Note{"precision", "Share of the synthetic tiles that look like real ones: inside a ball around a real tile."},
    Note{"recall", "Share of the real tiles that the synthetic ones could be: inside a ball around a synthetic tile."},
    Note{"density", "How crowded the synthetic tiles are among the real ones; about 1 for two sets of one kind."},
    Note{"coverage", "Share of the real tiles with a synthetic tile beside them. Low: looks are missing."},
    Note{"leading_components.count",
         "Directions in which the real tiles vary most; distances there need fewer tiles than in the whole space."},
    Note{"share_of_variance", "What these directions hold of the real tiles' variance."},
    Note{"excess.value", "What the synthetic tiles have above the floor, for equal numbers. 0: as near as real ones."},
    Note{"interval", "95 % interval over resampled places. If it holds 0, an excess may be chance."},
    Note{"half_real_vs_real",
         "The floor: the same distance between two halves of the real tiles. A synthetic slide cannot be "
         "told from the real one where it comes near this figure."},
    Note{"half_real_vs_virtual",
         "Half of the real tiles against as many synthetic ones; compare it with the floor above."},
    Note{"frechet_distance.real_vs_virtual",
         "Distance between the looks of real and synthetic tiles as the encoder sees "
         "them. 0: alike. Compare only runs with equal numbers of tiles."},
    Note{"kernel_distance.real_vs_virtual",
         "Kernel distance of real and synthetic tiles; unlike the Fréchet distance it is "
         "fair for few tiles. 0: alike."},
    Note{"n_each", "Tiles on either side of the comparison."},
    Note{"mean_cosine",
         "Likeness of the embeddings of a real tile and the synthetic one at its place, on average. 1: the "
         "encoder sees the same."},
    Note{"median_cosine", "The likeness that half of the tiles exceed."},
    Note{"tenth_percentile_cosine", "The likeness that nine of ten tiles exceed."},
    Note{"mean_colour_difference", "Difference of the mean colour at the same place, in steps of 0 to 255."},
    Note{"mean_colour_shift_rgb",
         "Synthetic minus real mean red, green, blue, in steps of 0 to 255: a cast over the slide."},
    Note{"gradient_energy_ratio", "Sharpness, synthetic over real. Below 1: softer than the real slide."},
    Note{"colour_step",
         "Colour steps between neighbouring tiles against steps off their borders. Near 1: no patchwork of tiles."},
    Note{"gradient_energy", "Sharpness: how much the brightness changes from pixel to pixel."},
    Note{"seams.boxes", "Squares of 1024 px in which seams were looked for."},
    Note{"seam",
         "Gradient on tile borders against other lines. Near 1: no visible grid; 7 to 10: tiles that do not fit."},
    Note{"pearson",
         "Correlation of expression read back from the synthetic tiles with the expression they were drawn from. "
         "1: faithful, 0: unrelated."},
    Note{"compared", "Tiles the figures rest on; below a few hundred they are rough."},
};

std::string format_value(const nlohmann::json& value) {
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    return std::isfinite(number) ? fmt::format("{:.4g}", number) : "not a number";
  }
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_null()) return "not available";
  if (value.is_array()) {
    std::string text;
    for (const nlohmann::json& item : value) text += (text.empty() ? "" : ", ") + format_value(item);
    return text;
  }
  return value.dump();
}

bool is_long_list(const nlohmann::json& node) {
  return node.is_array() &&
         (node.size() > 4 || std::ranges::any_of(node, [](const nlohmann::json& item) { return !item.is_number(); }));
}

void collect(const nlohmann::json& node, const std::string& name, std::vector<MetricRow>& rows) {
  if (node.is_object()) {
    for (const auto& [key, child] : node.items()) collect(child, name.empty() ? key : name + "." + key, rows);
  } else if (!name.empty() && name != "format" && !is_long_list(node)) {
    rows.push_back({name, format_value(node), std::string(metric_note(name))});
  }
}

}  // namespace

std::string_view metric_note(std::string_view name) {
  const auto note = std::ranges::find_if(kNotes, [&](const Note& n) { return name.find(n.fragment) != name.npos; });
  return note == kNotes.end() ? std::string_view() : note->text;
}

std::vector<MetricRow> metric_rows(const nlohmann::json& metrics) {
  std::vector<MetricRow> rows;
  collect(metrics, "", rows);
  return rows;
}

}  // namespace vtissue::stages
