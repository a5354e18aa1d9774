#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
  nlohmann::json preprocessing;
  double tile_um = 0;  ///< side of a tile; 0 if the model does not say
  std::string hint;    ///< what else is needed
  std::string licence;
  bool redistribution = true;
  bool commercial = true;
  std::string notice;
};

/// All of them, by name; they are part of the program.
const std::vector<KnownModel>& known_models();
const KnownModel* find_known_model(std::string_view name);

/// Where models are looked for: `given` (--model-dir), then those of VTISSUE_MODEL_DIR, separated by ':'.
std::vector<std::filesystem::path> model_directories(const std::vector<std::filesystem::path>& given);

/// The model's folder in the first directory that has it, complete. Throws Error kModel that names every folder and
/// file that was looked for.
std::filesystem::path locate_model(const KnownModel& model, const std::vector<std::filesystem::path>& directories);

/// Makes a folder that `vtissue` reads as a model from published files: config.json from the description, the file it
/// comes from and genes.txt, and the weights as model.safetensors. Throws Error kModel for missing files, kOutput.
void import_model(const KnownModel& model, const std::filesystem::path& from, const std::filesystem::path& out);

}  // namespace vtissue::cli
