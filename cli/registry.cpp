#include "cli/registry.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "cli/registry_data.h"
#include "cli/yaml_json.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "models/checkpoint/convert.h"
#include "models/checkpoint/name_map.h"
#include "models/model_folder.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
using nlohmann::json;

KnownModel parse_known_model(const std::string& name, std::string_view yaml) {
  const json file = parse_yaml(yaml, "configs/models/" + name + ".yaml");
  const auto texts = [&](const char* key) { return file.value(key, std::vector<std::string>()); };
  const json licence = file.at("licence");
  KnownModel model{.name = name,
                   .title = file.at("title").get<std::string>(),
                   .role = file.at("role").get<std::string>(),
                   .architecture = file.at("architecture").get<std::string>(),
                   .folders = texts("folders"),
                   .weights = texts("weights"),
                   .needs = texts("needs"),
                   .config_from = file.value("config_from", ""),
                   .config = file.value("config", json::object()),
                   .name_map = file.value("name_map", json()),
                   .preprocessing = file.value("preprocessing", json::object()),
                   .tile_um = file.value("tile_um", 0.0),
                   .hint = file.value("hint", ""),
                   .licence = licence.at("name").get<std::string>(),
                   .redistribution = licence.at("redistribution").get<bool>(),
                   .commercial = licence.at("commercial").get<bool>()};
  if (licence.contains("notice") && licence["notice"].is_string()) model.notice = licence["notice"].get<std::string>();
  for (const json& part : file.value("parts", json::array())) {
    model.parts.emplace_back(part.at("prefix").get<std::string>(), part.at("file").get<std::string>());
  }
  if (!model.name_map.is_null()) models::parse_name_map(model.name_map);
  return model;
}

models::LoadOptions KnownModel::load_options() const {
  if (name_map.is_null()) return {};
  return {
      .name_map = name_map.dump(), .name_map_origin = "configs/models/" + name + ".yaml", .name_map_if_it_fits = true};
}

namespace {

constexpr std::string_view kConfig = "config.json";

/// The weights file in a folder; empty if none of its names is there.
fs::path weights_in(const KnownModel& model, const fs::path& folder) {
  for (const std::string& file : model.weights) {
    if (fs::exists(folder / file)) return folder / file;
  }
  return {};
}

std::string wanted_files(const KnownModel& model) {
  return fmt::format("{} and one of {}", fmt::join(model.needs, ", "), fmt::join(model.weights, ", "));
}

json read_json_object(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const json object = json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) throw Error(ErrorCode::kModel, "{}: not a JSON object", path.string());
  return object;
}

std::vector<std::string> read_lines(const fs::path& path) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

/// Whether a name map has keys of config.json.
bool has_config(const std::string& name_map) { return !name_map.empty() && json::parse(name_map).contains("config"); }

models::StateDict published_weights(const KnownModel& model, const fs::path& from) {
  if (const fs::path file = weights_in(model, from); !file.empty()) return models::StateDict::open(file);
  std::vector<std::pair<std::string, Checkpoint>> parts;
  std::vector<std::string> names = model.weights;
  for (const auto& [prefix, file] : model.parts) {
    names.push_back(file);
    if (fs::exists(from / file)) parts.emplace_back(prefix, models::StateDict::open(from / file).checkpoint());
  }
  if (parts.empty() || parts.size() != model.parts.size()) {
    throw Error(ErrorCode::kModel, "{}: the weights of {} are missing; looked for {}", from.string(), model.title,
                fmt::join(names, ", "));
  }
  return models::StateDict::from(Checkpoint::join(std::move(parts), from));
}

}  // namespace

const std::vector<KnownModel>& known_models() {
  static const std::vector<KnownModel> kModels = [] {
    std::vector<KnownModel> models;
    models.reserve(std::size(kRegistryFiles));
    for (const auto& [name, yaml] : kRegistryFiles) models.push_back(parse_known_model(std::string(name), yaml));
    std::ranges::sort(models, {}, &KnownModel::name);
    return models;
  }();
  return kModels;
}

const KnownModel* find_known_model(std::string_view name) {
  const auto found = std::ranges::find(known_models(), name, &KnownModel::name);
  return found == known_models().end() ? nullptr : &*found;
}

std::vector<fs::path> model_directories(const std::vector<fs::path>& given) {
  std::vector<fs::path> directories = given;
  const char* variable = std::getenv("VTISSUE_MODEL_DIR");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) directories.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return directories;
}

fs::path locate_model(const KnownModel& model, const std::vector<fs::path>& directories,
                      const models::LoadOptions& options) {
  std::vector<std::string> looked;
  const bool configured = has_config(options.name_map);
  for (const fs::path& directory : directories) {
    for (const std::string& name : model.folders) {
      const fs::path folder = directory / name;
      const bool complete =
          !weights_in(model, folder).empty() && std::ranges::all_of(model.needs, [&](const auto& file) {
            return fs::exists(folder / file) ||
                   (file == kConfig && (configured || fs::exists(folder / models::ModelFolder::kNameMapFile)));
          });
      if (complete) return folder;
      looked.push_back(folder.string());
    }
  }
  const std::string hint = model.hint.empty() ? "" : "; " + model.hint;
  if (directories.empty()) {
    throw Error(ErrorCode::kModel,
                "{} ({}): no directory to look in; pass --model-dir or set VTISSUE_MODEL_DIR. It should hold a folder "
                "{} with {}{}",
                model.name, model.title, fmt::join(model.folders, " or "), wanted_files(model), hint);
  }
  throw Error(ErrorCode::kModel,
              "{} ({}) is not there: none of {} has {}. 'vtissue weights import {}' makes such a folder from published "
              "files (docs/weights.md){}",
              model.name, model.title, fmt::join(looked, ", "), wanted_files(model), model.name, hint);
}

void import_model(const KnownModel& model, const fs::path& from, const fs::path& out,
                  const models::LoadOptions& options) {
  json config = model.config;
  const json name_map = options.name_map.empty() ? json::object() : json::parse(options.name_map);
  if (name_map.contains("config")) config.update(name_map["config"]);
  for (const std::string& file : {model.config_from, std::string("config.json")}) {
    if (!file.empty() && fs::exists(from / file)) config.update(read_json_object(from / file));
  }
  if (fs::exists(from / "genes.txt")) config["genes"] = read_lines(from / "genes.txt");
  if (!config.contains("architecture") && !config.contains("_class_name") && !config.contains("model_type")) {
    throw Error(ErrorCode::kModel, "{}: {} needs its config.json{}", from.string(), model.title,
                model.hint.empty() ? "" : "; " + model.hint);
  }
  models::StateDict weights = published_weights(model, from);
  const models::NameMap names = models::parse_name_map(name_map);
  if (!options.name_map_if_it_fits || names.fits(weights.tensors())) {
    weights = names.applied_to(weights, "name map " + options.name_map_origin);
  }
  for (const std::string& file : model.needs) {
    if (file != "config.json" && !fs::exists(from / file)) {
      throw Error(ErrorCode::kModel, "{}: {} needs {}", from.string(), model.title, file);
    }
  }
  std::error_code problem;
  fs::create_directories(out, problem);
  if (problem) throw Error(ErrorCode::kOutput, "{}: cannot be created: {}", out.string(), problem.message());
  models::convert_weights(weights, out / "model.safetensors", "");
  for (const std::string& file : model.needs) {
    if (file == "config.json") continue;
    std::ifstream in(from / file, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(in), {}};
    write_file_atomically(out / file, std::string_view(content));
  }
  write_file_atomically(out / "config.json", std::string_view(config.dump(2) + "\n"));
}

}  // namespace vtissue::cli
