#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace vtissue::stages {

/// A section of custom content for MultiQC: its "general statistics" columns, one row a slide. `metrics` are the
/// metrics.json by the slide's name; what a slide lacks is left out of its row. Throws Error kBadInput, naming the
/// slide, for what is no metrics.json. Pure.
nlohmann::json multiqc_section(const std::map<std::string, nlohmann::json>& metrics);

}  // namespace vtissue::stages
