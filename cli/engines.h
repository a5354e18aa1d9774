#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/common_options.h"
#include "models/engines.h"
#include "pipeline/config.h"
#include "stages/ood/condition_statistics.h"

namespace vtissue::cli {

/// The networks that a configuration names, loaded when they are first asked for. One thread.
class Engines {
 public:
  /// A model that the configuration names instead of giving its folder is looked for in the options' model directories
  /// and those of VTISSUE_MODEL_DIR (cli/registry.h). Throws Error kUsage for a name map of the options that is wrong.
  Engines(const pipeline::Config& config, const CommonOptions& options, int threads);

  std::shared_ptr<const models::MorphologyEncoder> encoder();
  /// The predictor's own encoder: models.predictor_encoder, or encoder() where that is not set.
  std::shared_ptr<const models::MorphologyEncoder> predictor_encoder();
  std::shared_ptr<const models::ExpressionPredictor> predictor();
  std::shared_ptr<const models::GeneEncoder> gene_encoder();
  std::shared_ptr<const models::Denoiser> denoiser();
  std::shared_ptr<const models::Autoencoder> autoencoder();

  /// What the denoiser's folder says of the conditions it was trained with. Throws Error kModel if that is damaged.
  std::optional<stages::ConditionStatistics> condition_statistics();

  std::shared_ptr<models::Device> device();
  std::string numerics_class();

  /// Role → licence of the known models that the configuration names: for provenance. Loads nothing.
  nlohmann::json licences() const;

 private:
  struct Place {
    std::filesystem::path folder;
    models::LoadOptions options;
  };
  Place place(std::string_view key);

  template <typename Engine>
  std::shared_ptr<const Engine> load_once(std::shared_ptr<const Engine>& slot, std::string_view key);

  const pipeline::Config& config_;
  std::string device_name_;
  models::Dtype dtype_;
  int threads_;
  std::vector<std::filesystem::path> model_directories_;
  std::map<std::string, models::LoadOptions> name_maps_;  // by role
  std::set<std::string> noticed_;                         // licences that were printed
  std::filesystem::path denoiser_folder_;
  std::shared_ptr<models::Device> device_;
  std::shared_ptr<const models::MorphologyEncoder> encoder_, predictor_encoder_;
  std::shared_ptr<const models::ExpressionPredictor> predictor_;
  std::shared_ptr<const models::GeneEncoder> gene_encoder_;
  std::shared_ptr<const models::Denoiser> denoiser_;
  std::shared_ptr<const models::Autoencoder> autoencoder_;
};

}  // namespace vtissue::cli
