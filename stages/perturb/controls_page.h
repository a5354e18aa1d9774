#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace vtissue::stages {

/// controls.json as one HTML page without references to anything outside it: a table and a strip of dots an effect.
std::string controls_page(const nlohmann::json& controls);

}  // namespace vtissue::stages
