#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::stages {

/// A row of the metrics table.
struct MetricRow {
  std::string name;  ///< dotted path in metrics.json
  std::string value;
  std::string note;  ///< what it means, in plain words; empty for a figure this table does not know
};

/// The numbers, texts and short lists of numbers of metrics.json, objects flattened, sorted by name. Longer
/// lists are left to the file.
std::vector<MetricRow> metric_rows(const nlohmann::json& metrics);

/// The note for a metric by its dotted name; empty if there is none.
std::string_view metric_note(std::string_view name);

}  // namespace vtissue::stages
