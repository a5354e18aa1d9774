#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/state_dict.h"

namespace vtissue::models {

/// What the names and shapes of a checkpoint say about its network (models.md 1.2.9).
struct WeightsSummary {
  std::string architecture;  ///< config.json's spelling: "stmdit", "vit" …; "" if not recognised
  std::string layout;        ///< whose names they are: "diffusers", "original", "timm" …
  std::vector<std::pair<std::string, std::string>> facts;  ///< sizes and switches, in reading order
  std::vector<TensorInfo> unrecognised;                    ///< tensors that are no part of that architecture
};

/// `config` is a configuration found beside the weights, of any nesting, or null: the number of heads is not in the
/// shapes, and taken from there. Never throws for weights of any kind.
WeightsSummary summarize_weights(std::span<const TensorInfo> tensors, const nlohmann::json& config);

}  // namespace vtissue::models
