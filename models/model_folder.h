#pragma once

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "models/engines.h"
#include "models/state_dict.h"

namespace vtissue::models {

/// A model's folder: config.json and model.safetensors, or the weights under another of the names of weights_file(), as
/// every engine reads it. With a name map (LoadOptions, or name_map.json in the folder) the weights are seen under our
/// names, and its "config" stands for the keys that config.json lacks, or for all of it. Values of the configuration
/// are read with json_value.h. Immutable.
class ModelFolder {
 public:
  /// Whether `folder` selects the test double of its role (models/null_engines.h): its last part is "null".
  static bool is_null(const std::filesystem::path& folder);

  /// Reads and checks config.json ("architecture", diffusers' "_class_name" or transformers' "model_type", the latter
  /// as "transformers <type>"; "name", "micro_batch") and takes the digest of it, the weights, `more_files` (those that
  /// are there) and the name map. Throws Error kModel if a file is missing or config.json is not an object, and if the
  /// architecture is none of `architectures`; kUsage for a name map that is wrong or does not fit.
  static ModelFolder open(const std::filesystem::path& folder, std::initializer_list<std::string_view> architectures,
                          std::initializer_list<std::string_view> more_files = {}, const LoadOptions& options = {});

  /// The file of a folder that is taken for its name map where none is given.
  static constexpr std::string_view kNameMapFile = "name_map.json";

  /// What open() would find in info().architecture. Reads no weights. Throws as open().
  static std::string architecture(const std::filesystem::path& folder, const LoadOptions& options = {});

  const std::filesystem::path& path() const;
  const nlohmann::json& config() const;
  const ModelInfo& info() const;
  std::filesystem::path file(std::string_view name) const;  ///< path of a file of the folder
  StateDict weights() const;  ///< the weights file, opened, under our names if there is a name map

  /// Rethrows an Error that `read` throws with the path of config.json as context.
  template <typename Function>
  auto read_config(Function&& read) const;

 private:
  struct Impl;
  explicit ModelFolder(std::shared_ptr<const Impl> impl);
  [[noreturn]] void rethrow_with_config_path() const;
  std::shared_ptr<const Impl> impl_;
};

template <typename Function>
auto ModelFolder::read_config(Function&& read) const {
  try {
    return read(config());
  } catch (...) {
    rethrow_with_config_path();
  }
}

}  // namespace vtissue::models
