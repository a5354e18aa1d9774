#pragma once

#include <nlohmann/json.hpp>

#include "pipeline/config.h"

namespace vtissue::stages {

/// The resolved configuration without its paths: what a virtual slide may carry (DESIGN 4). Inputs and
/// weights are named by digest instead.
nlohmann::json public_configuration(const pipeline::Config& config);

/// Throws std::logic_error if a string of `provenance` is a path or ends like a slide's file name: a
/// program's error, found before anything is computed.
void require_no_paths(const nlohmann::json& provenance);

}  // namespace vtissue::stages
