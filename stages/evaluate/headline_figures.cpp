#include "stages/evaluate/headline_figures.h"

#include <array>
#include <string>

namespace vtissue::stages {
namespace {

constexpr std::array kFigures = {
    HeadlineFigure{"tiles", "/tiles/compared", "Tiles", "Tiles compared", "{:,.0f}", "Greys"},
    HeadlineFigure{"cosine", "/same_tile/mean_cosine", "Cosine",
                   "Likeness of the embeddings of a real tile and the virtual one at its place, mean", "{:.3f}",
                   "RdYlGn"},
    HeadlineFigure{"kernel_excess", "/kernel_distance/excess/value", "Kernel excess",
                   "Kernel distance of real and virtual tiles above the real-against-real floor", "{:.3g}",
                   "RdYlGn-rev"},
    HeadlineFigure{"precision", "/overlap/real_vs_virtual/precision", "Precision",
                   "Share of the virtual tiles that look like real ones", "{:.2f}", "RdYlGn"},
    HeadlineFigure{"coverage", "/overlap/real_vs_virtual/coverage", "Coverage",
                   "Share of the real tiles with a virtual tile beside them", "{:.2f}", "RdYlGn"},
    HeadlineFigure{"nuclei", "/tissue/nuclei_per_tile/pearson", "Nuclei r",
                   "Correlation of the nuclei counted in real and virtual tiles of one place", "{:.2f}", "RdYlGn"},
    HeadlineFigure{"sharpness", "/same_tile/gradient_energy_ratio", "Sharpness",
                   "Gradient energy of the virtual tiles over that of the real ones", "{:.2f}", "PuOr"},
    HeadlineFigure{"seams", "/seams/virtual/lines", "Seams", "Steps across the lines between tiles; 1: no grid",
                   "{:.2f}", "RdYlGn-rev"}};

}  // namespace

std::span<const HeadlineFigure> headline_figures() { return kFigures; }

std::optional<double> value_of(const HeadlineFigure& figure, const nlohmann::json& metrics) {
  const nlohmann::json::json_pointer pointer{std::string(figure.pointer)};
  if (!metrics.contains(pointer) || !metrics.at(pointer).is_number()) return std::nullopt;
  return metrics.at(pointer).get<double>();
}

}  // namespace vtissue::stages
