#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>

namespace vtissue::stages {

/// A figure of metrics.json that slides are compared by.
struct HeadlineFigure {
  std::string_view id;       ///< of columns
  std::string_view pointer;  ///< where metrics.json has it
  std::string_view title, description;
  std::string_view format;  ///< Python's
  std::string_view scale;   ///< ColorBrewer's colours; "-rev" where a small figure is good
};

std::span<const HeadlineFigure> headline_figures();

/// Nothing if these metrics do not have it.
std::optional<double> value_of(const HeadlineFigure& figure, const nlohmann::json& metrics);

}  // namespace vtissue::stages
