#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace vtissue::models {

/// Rows of CancerFoundation's gene table by symbol, case-sensitive (models.md 5.2).
using CfVocabulary = std::map<std::string, std::int64_t>;

/// Reads vocab.json: symbol → id, 0..n-1, each once. Throws Error kModel.
CfVocabulary parse_cf_vocabulary(const nlohmann::json& object);

}  // namespace vtissue::models
