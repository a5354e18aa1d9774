#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/engines.h"

namespace vtissue::cli {

/// A published model as configs/models/<name>.yaml describes it.
struct KnownModel {
  std::string name;  ///< what a configuration may say instead of a folder
  std::string title;
  std::string role;  ///< "encoder", "expression", "predictor", "stmdit" or "autoencoder", as in models.<role>
  std::string architecture;
  std::vector<std::string> folders;                        ///< looked for in every model directory
  std::vector<std::string> weights;                        ///< file names, the first that is there counts
  std::vector<std::pair<std::string, std::string>> parts;  ///< prefix → file, where the weights come in several files
  std::vector<std::string> needs;                          ///< other files that must be there
  std::string config_from;                                 ///< a file whose keys belong into config.json
  nlohmann::json config;                                   ///< keys of config.json that the published files do not have
  nlohmann::json name_map;                                 ///< of the published files' names; null: ours, or known ones
  nlohmann::json preprocessing;
  double tile_um = 0;  ///< side of a tile; 0 if the model does not say
  std::string hint;    ///< what else is needed
  std::string licence;
  bool redistribution = true;
  bool commercial = true;
  std::string notice;

  /// How to load the published files: with name_map, for a folder that has them and no map of its own.
  models::LoadOptions load_options() const;
};

/// Reads a description. Throws Error kUsage or nlohmann::json::exception for what is none: they are part of the
/// program.
KnownModel parse_known_model(const std::string& name, std::string_view yaml);

/// All of them, by name; they are part of the program.
const std::vector<KnownModel>& known_models();
const KnownModel* find_known_model(std::string_view name);

/// Where models are looked for: `given` (--model-dir), then those of VTISSUE_MODEL_DIR, separated by ':'.
std::vector<std::filesystem::path> model_directories(const std::vector<std::filesystem::path>& given);

/// The model's folder in the first directory that has it, complete; config.json may be missing where a name map, that
/// of `options` or the folder's own, says what would stand in it. Throws Error kModel that names every folder and file
/// that was looked for.
std::filesystem::path locate_model(const KnownModel& model, const std::vector<std::filesystem::path>& directories,
                                   const models::LoadOptions& options = {});

/// Makes a folder that `vtissue` reads as a model from published files: config.json from the description, the name map
/// of `options`, the file it comes from and genes.txt, and the weights as model.safetensors under our names. Throws
/// Error kModel for missing files, kUsage for a name map that does not fit, kOutput.
void import_model(const KnownModel& model, const std::filesystem::path& from, const std::filesystem::path& out,
                  const models::LoadOptions& options = {});

}  // namespace vtissue::cli
