#include "models/model_folder.h"

#include <spdlog/fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/file_digests.h"
#include "core/hash.h"
#include "models/checkpoint/name_map.h"
#include "models/json_value.h"

namespace vtissue::models {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kConfigFile = "config.json";
constexpr std::string_view kWeightsFile = "model.safetensors";
constexpr int kDefaultMicroBatch = 8;
constexpr int kMaxMicroBatch = 4096;
constexpr std::int64_t kDigestKeptFrom = std::int64_t{16} << 20;

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

/// A name map and where it is from.
struct FolderNames {
  nlohmann::json json;
  NameMap map;
  std::string origin;
  bool must_fit = true;
};

std::optional<FolderNames> read_names(const fs::path& folder, const LoadOptions& options) {
  const fs::path beside = folder / ModelFolder::kNameMapFile;
  std::error_code unknown;
  const bool given = !options.name_map.empty();
  // A map that was only offered gives way to the folder's own.
  const bool own = fs::exists(beside, unknown) && (!given || options.name_map_if_it_fits);
  if (!given && !own) return std::nullopt;
  const std::string origin = own ? beside.string() : options.name_map_origin;
  try {
    nlohmann::json json = own ? read_json(beside) : nlohmann::json::parse(options.name_map);
    NameMap map = parse_name_map(json);
    return FolderNames{std::move(json), std::move(map), origin, own || !options.name_map_if_it_fits};
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::kUsage, "{}: not valid JSON: {}", origin, error.what());
  } catch (Error& error) {
    if (error.code() == ErrorCode::kUsage) error.add("{}", origin);
    throw;
  }
}

/// config.json; what it lacks, or all of it, from the name map.
nlohmann::json read_config_file(const fs::path& folder, const std::optional<FolderNames>& names) {
  const bool has_more = names && names->json.contains("config");
  const fs::path path = folder / kConfigFile;
  std::error_code unknown;
  nlohmann::json config = has_more ? names->json["config"] : nlohmann::json::object();
  if (!has_more || fs::exists(path, unknown)) config.update(read_json(path));
  return config;
}

std::string architecture_of(const nlohmann::json& config) {
  const bool named = config.contains("architecture");
  if (!named && config.contains("model_type")) return "transformers " + json_value<std::string>(config, "model_type");
  const bool diffusers = !named && config.contains("_class_name");
  return json_value<std::string>(config, diffusers ? "_class_name" : "architecture");
}

void check_folder(const fs::path& folder) {
  std::error_code unknown;
  if (fs::is_directory(folder, unknown)) return;
  throw Error(ErrorCode::kModel, "{}: no such folder; a model is a folder with {} and {}", folder.string(), kConfigFile,
              kWeightsFile);
}

/// Large files take seconds at every start: their digests are remembered for the user.
std::string weights_sha256(const fs::path& path) {
  const fs::path cache = user_cache_folder();
  std::error_code unknown;
  if (cache.empty() || fs::file_size(path, unknown) < kDigestKeptFrom || unknown) return sha256_file(path);
  FileDigests digests(cache / "digests.json", {.smallest = kDigestKeptFrom, .shared = true});
  std::string sha256 = digests.sha256(path);
  try {
    digests.save();
  } catch (const Error& error) {
    spdlog::debug("{}", error.what());  // a home that cannot be written to costs the time alone
  }
  return sha256;
}

/// One digest of several files: SHA-256 over a line "<name> <sha256>" for each.
std::string digest(const fs::path& folder, const std::vector<std::string>& names, const std::string& name_map) {
  Sha256 hash;
  for (const std::string& name : names) {
    try {
      hash.update(fmt::format("{} {}\n", name, weights_sha256(folder / name)));
    } catch (const Error& error) {
      throw Error(ErrorCode::kModel, "{}", error.what());  // what cannot be read here is a model, not an input
    }
  }
  // By what it says: comments and layout of its file do not count.
  if (!name_map.empty()) hash.update(fmt::format("name map {}\n", sha256(name_map)));
  return hash.finish();
}

fs::path without_trailing_slash(const fs::path& folder) {
  return folder.has_filename() ? folder : folder.parent_path();
}

}  // namespace

struct ModelFolder::Impl {
  fs::path path;
  fs::path weights;
  std::optional<FolderNames> names;
  nlohmann::json config;
  ModelInfo info;

  /// What messages about the configuration name.
  std::string config_origin() const {
    std::error_code unknown;
    const fs::path file = path / kConfigFile;
    return names && !fs::exists(file, unknown) ? names->origin : file.string();
  }
};

bool ModelFolder::is_null(const fs::path& folder) { return without_trailing_slash(folder).filename() == "null"; }

std::string ModelFolder::architecture(const fs::path& folder, const LoadOptions& options) {
  const fs::path path = without_trailing_slash(folder);
  check_folder(path);
  return architecture_of(read_config_file(path, read_names(path, options)));
}

ModelFolder ModelFolder::open(const fs::path& folder, std::initializer_list<std::string_view> architectures,
                              std::initializer_list<std::string_view> more_files, const LoadOptions& options) {
  auto impl = std::make_shared<Impl>();
  impl->path = without_trailing_slash(folder);
  check_folder(impl->path);
  impl->names = read_names(impl->path, options);
  impl->weights = weights_file(impl->path);
  if (impl->names && !impl->names->must_fit && !impl->weights.empty() &&
      !impl->names->map.fits(StateDict::open(impl->weights).tensors())) {
    impl->names.reset();
  }
  impl->config = read_config_file(impl->path, impl->names);
  try {
    impl->info.architecture = architecture_of(impl->config);
    impl->info.name = json_value<std::string>(impl->config, "name", impl->path.filename().string());
    impl->info.micro_batch = json_int(impl->config, "micro_batch", 1, kMaxMicroBatch, kDefaultMicroBatch);
    if (std::find(architectures.begin(), architectures.end(), impl->info.architecture) == architectures.end()) {
      throw Error(ErrorCode::kModel, "\"architecture\" is \"{}\"; expected \"{}\"", impl->info.architecture,
                  fmt::join(architectures, "\" or \""));
    }
  } catch (Error& error) {
    error.add("{}", impl->config_origin());
    throw;
  }
  if (impl->weights.empty()) {
    throw Error(ErrorCode::kModel, "{}: the weights are missing", (impl->path / kWeightsFile).string());
  }
  std::error_code unknown;
  std::vector<std::string> hashed;
  if (fs::exists(impl->path / kConfigFile, unknown)) hashed.emplace_back(kConfigFile);
  hashed.push_back(impl->weights.filename().string());
  if (impl->weights.extension() == ".json") {
    for (const fs::path& file : Checkpoint::open(impl->weights).files()) {
      if (file != impl->weights) hashed.push_back(file.filename().string());
    }
  }
  for (const std::string_view name : more_files) {
    if (fs::exists(impl->path / name, unknown)) hashed.emplace_back(name);
  }
  impl->info.sha256 = digest(impl->path, hashed, impl->names ? impl->names->json.dump() : std::string());
  return ModelFolder(std::move(impl));
}

ModelFolder::ModelFolder(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

const fs::path& ModelFolder::path() const { return impl_->path; }
const nlohmann::json& ModelFolder::config() const { return impl_->config; }
const ModelInfo& ModelFolder::info() const { return impl_->info; }
fs::path ModelFolder::file(std::string_view name) const { return impl_->path / name; }

StateDict ModelFolder::weights() const {
  const StateDict file = StateDict::open(impl_->weights);
  return impl_->names ? impl_->names->map.applied_to(file, "name map " + impl_->names->origin) : file;
}

void ModelFolder::rethrow_with_config_path() const {
  try {
    throw;
  } catch (Error& error) {
    error.add("{}", impl_->config_origin());
    throw;
  }
}

}  // namespace vtissue::models
