#include "stages/stitch/provenance.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <stdexcept>
#include <string>
#include <string_view>

namespace vtissue::stages {
namespace {

bool looks_like_path(std::string_view text) {
  constexpr std::array<std::string_view, 4> kStarts = {"/", "./", "../", "~/"};
  const bool start = std::ranges::any_of(kStarts, [&](std::string_view s) { return text.starts_with(s); });
  const bool drive = text.size() > 2 && std::isalpha(static_cast<unsigned char>(text[0])) != 0 && text[1] == ':' &&
                     (text[2] == '\\' || text[2] == '/');
  constexpr std::array<std::string_view, 9> kEnds = {".svs",  ".ndpi",    ".tif",         ".tiff", ".mrxs",
                                                     ".h5ad", ".h5ad.gz", ".safetensors", ".json"};
  return start || drive || std::ranges::any_of(kEnds, [&](std::string_view e) { return text.ends_with(e); });
}

}  // namespace

nlohmann::json public_configuration(const pipeline::Config& config) {
  nlohmann::json resolved = config.resolved();
  for (const pipeline::ConfigKey& key : config.schema().keys()) {
    if (key.type != pipeline::ValueType::kPath) continue;
    std::string pointer = "/" + key.name;
    std::ranges::replace(pointer, '.', '/');
    const nlohmann::json::json_pointer place(pointer);
    if (resolved.contains(place)) resolved.at(place.parent_pointer()).erase(place.back());
  }
  return resolved;
}

void require_no_paths(const nlohmann::json& provenance) {
  if (provenance.is_string() && looks_like_path(provenance.get<std::string>())) {
    throw std::logic_error("provenance holds a path: " + provenance.dump());
  }
  for (const nlohmann::json& child : provenance) {
    if (child.is_structured() || (child.is_string() && &child != &provenance)) require_no_paths(child);
  }
}

}  // namespace vtissue::stages
