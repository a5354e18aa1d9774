#include "cli/yaml_json.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <fstream>
#include <iterator>
#include <string>

#include "core/error.h"

namespace vtissue::cli {

namespace {

constexpr int kMaxYamlDepth = 64;

nlohmann::json scalar_to_json(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // it stood in quotes
  if (text == "true" || text == "false") return text == "true";
  if (text == "null" || text == "~" || text.empty()) return nullptr;
  const char* end = text.data() + text.size();
  std::int64_t integer = 0;
  if (const auto [at, bad] = std::from_chars(text.data(), end, integer); bad == std::errc() && at == end)
    return integer;
  double number = 0;
  if (const auto [at, bad] = std::from_chars(text.data(), end, number); bad == std::errc() && at == end) return number;
  return text;
}

nlohmann::json yaml_to_json(const YAML::Node& node, const std::filesystem::path& path, int depth) {
  if (depth > kMaxYamlDepth) throw Error(ErrorCode::kUsage, "{}: nested over {} deep", path.string(), kMaxYamlDepth);
  if (node.IsScalar()) return scalar_to_json(node);
  if (node.IsSequence()) {
    nlohmann::json list = nlohmann::json::array();
    for (const YAML::Node& item : node) list.push_back(yaml_to_json(item, path, depth + 1));
    return list;
  }
  if (!node.IsMap()) return nullptr;
  nlohmann::json object = nlohmann::json::object();
  for (const auto& member : node) {
    if (!member.first.IsScalar()) {
      throw Error(ErrorCode::kUsage, "{}:{}: a key must be a text", path.string(), member.first.Mark().line + 1);
    }
    object[member.first.Scalar()] = yaml_to_json(member.second, path, depth + 1);
  }
  return object;
}

}  // namespace

nlohmann::json read_yaml(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(ErrorCode::kUsage, "{}: cannot be read", path.string());
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse_yaml(text, path);
}

nlohmann::json parse_yaml(std::string_view text, const std::filesystem::path& name) {
  try {
    return yaml_to_json(YAML::Load(std::string(text)), name, 0);
  } catch (const YAML::Exception& error) {
    throw Error(ErrorCode::kUsage, "{}:{}: not YAML: {}", name.string(), error.mark.line + 1, error.msg);
  }
}

}  // namespace vtissue::cli
