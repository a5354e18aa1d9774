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
/// every engine reads it. Values of the configuration are read with json_value.h. Immutable.
class ModelFolder {
 public:
  /// Whether `folder` selects the test double of its role (models/null_engines.h): its last part is "null".
  static bool is_null(const std::filesystem::path& folder);

  /// Reads and checks config.json ("architecture", diffusers' "_class_name" or transformers' "model_type", the latter
  /// as "transformers <type>"; "name", "micro_batch") and takes the digest of it, the weights and `more_files` (those
  /// that are there). Throws Error kModel if a file is missing or config.json is not an object, and if the architecture
  /// is none of `architectures`.
  static ModelFolder open(const std::filesystem::path& folder, std::initializer_list<std::string_view> architectures,
                          std::initializer_list<std::string_view> more_files = {});

  const std::filesystem::path& path() const;
  const nlohmann::json& config() const;
  const ModelInfo& info() const;
  std::filesystem::path file(std::string_view name) const;  ///< path of a file of the folder
  StateDict weights() const;                                ///< the weights file, opened

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
