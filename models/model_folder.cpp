#include "models/model_folder.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "models/json_value.h"

namespace vtissue::models {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kConfigFile = "config.json";
constexpr std::string_view kWeightsFile = "model.safetensors";
constexpr int kDefaultMicroBatch = 8;
constexpr int kMaxMicroBatch = 4096;

nlohmann::json read_json(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw Error(ErrorCode::kModel, "{}: cannot be read; a model is a folder with {} and {}", path.string(), kConfigFile,
                kWeightsFile);
  }
  nlohmann::json config;
  try {
    config = nlohmann::json::parse(in);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::kModel, "{}: not valid JSON: {}", path.string(), error.what());
  }
  if (!config.is_object()) throw Error(ErrorCode::kModel, "{}: not a JSON object", path.string());
  return config;
}

/// One digest of several files: SHA-256 over a line "<name> <sha256>" for each.
std::string digest(const fs::path& folder, const std::vector<std::string>& names) {
  Sha256 hash;
  for (const std::string& name : names) {
    try {
      hash.update(fmt::format("{} {}\n", name, sha256_file(folder / name)));
    } catch (const Error& error) {
      throw Error(ErrorCode::kModel, "{}", error.what());  // what cannot be read here is a model, not an input
    }
  }
  return hash.finish();
}

fs::path without_trailing_slash(const fs::path& folder) {
  return folder.has_filename() ? folder : folder.parent_path();
}

}  // namespace

struct ModelFolder::Impl {
  fs::path path;
  fs::path weights;
  nlohmann::json config;
  ModelInfo info;
};

bool ModelFolder::is_null(const fs::path& folder) { return without_trailing_slash(folder).filename() == "null"; }

ModelFolder ModelFolder::open(const fs::path& folder, std::initializer_list<std::string_view> architectures,
                              std::initializer_list<std::string_view> more_files) {
  auto impl = std::make_shared<Impl>();
  impl->path = without_trailing_slash(folder);
  std::error_code unknown;
  if (!fs::is_directory(impl->path, unknown)) {
    throw Error(ErrorCode::kModel, "{}: no such folder; a model is a folder with {} and {}", folder.string(),
                kConfigFile, kWeightsFile);
  }
  impl->config = read_json(impl->path / kConfigFile);
  try {
    const bool named = impl->config.contains("architecture");
    if (!named && impl->config.contains("model_type")) {
      impl->info.architecture = "transformers " + json_value<std::string>(impl->config, "model_type");
    } else {
      const bool diffusers = !named && impl->config.contains("_class_name");
      impl->info.architecture = json_value<std::string>(impl->config, diffusers ? "_class_name" : "architecture");
    }
    impl->info.name = json_value<std::string>(impl->config, "name", impl->path.filename().string());
    impl->info.micro_batch = json_int(impl->config, "micro_batch", 1, kMaxMicroBatch, kDefaultMicroBatch);
    if (std::find(architectures.begin(), architectures.end(), impl->info.architecture) == architectures.end()) {
      throw Error(ErrorCode::kModel, "\"architecture\" is \"{}\"; expected \"{}\"", impl->info.architecture,
                  fmt::join(architectures, "\" or \""));
    }
  } catch (Error& error) {
    error.add("{}", (impl->path / kConfigFile).string());
    throw;
  }
  impl->weights = weights_file(impl->path);
  if (impl->weights.empty()) {
    throw Error(ErrorCode::kModel, "{}: the weights are missing", (impl->path / kWeightsFile).string());
  }
  std::vector<std::string> hashed = {std::string(kConfigFile), impl->weights.filename().string()};
  if (impl->weights.extension() == ".json") {
    for (const fs::path& file : Checkpoint::open(impl->weights).files()) {
      if (file != impl->weights) hashed.push_back(file.filename().string());
    }
  }
  for (const std::string_view name : more_files) {
    if (fs::exists(impl->path / name, unknown)) hashed.emplace_back(name);
  }
  impl->info.sha256 = digest(impl->path, hashed);
  return ModelFolder(std::move(impl));
}

ModelFolder::ModelFolder(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

const fs::path& ModelFolder::path() const { return impl_->path; }
const nlohmann::json& ModelFolder::config() const { return impl_->config; }
const ModelInfo& ModelFolder::info() const { return impl_->info; }
fs::path ModelFolder::file(std::string_view name) const { return impl_->path / name; }
StateDict ModelFolder::weights() const { return StateDict::open(impl_->weights); }

void ModelFolder::rethrow_with_config_path() const {
  try {
    throw;
  } catch (Error& error) {
    error.add("{}", (impl_->path / kConfigFile).string());
    throw;
  }
}

}  // namespace vtissue::models
