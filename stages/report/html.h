#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vtissue::stages {

/// & < > " ' as entities: fit for text and for attribute values.
std::string escape_html(std::string_view text);

/// RFC 4648, with padding.
std::string base64(std::span<const std::byte> bytes);

struct ReportFigure {
  std::string caption;  ///< plain text
  std::vector<std::byte> jpeg;
};

struct TilePair {
  std::string caption;
  std::vector<std::byte> real, synthetic;  ///< JPEG files
};

/// Everything the page shows; the texts are plain and are escaped by render_report().
struct ReportPage {
  std::string generator;
  std::vector<std::pair<std::string, std::string>> facts;  ///< "Tile" → "128 px at 0.7 µm/px"
  ReportFigure real, synthetic, overlay;
  std::vector<TilePair> pairs;
  nlohmann::json metrics;  ///< null: not evaluated
  std::vector<std::string> warnings;
  nlohmann::json stages;         ///< array of {"name", "status", "figures"}; null: none
  nlohmann::json configuration;  ///< null: none
};

/// One HTML file without references to anything outside it.
std::string render_report(const ReportPage& page);

}  // namespace vtissue::stages
