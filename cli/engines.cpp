#include "cli/engines.h"

#include <spdlog/spdlog.h>

#include "cli/name_maps.h"
#include "cli/registry.h"
#include "core/error.h"

namespace vtissue::cli {

namespace {

/// The known model that a configuration's value names, if it is no folder.
const KnownModel* known_model(const std::string& value) {
  std::error_code unknown;
  return std::filesystem::exists(value, unknown) ? nullptr : find_known_model(value);
}

}  // namespace

Engines::Engines(const pipeline::Config& config, const CommonOptions& options, int threads)
    : config_(config),
      device_name_(options.device),
      dtype_(models::parse_dtype(options.dtype)),
      threads_(threads),
      model_directories_(cli::model_directories(options.model_directories)),
      name_maps_(name_map_options(options.name_maps, config.schema())) {}

std::shared_ptr<models::Device> Engines::device() {
  if (!device_) device_ = models::Device::open(device_name_, threads_, dtype_);
  return device_;
}

std::string Engines::numerics_class() { return device()->numerics_class(); }

Engines::Place Engines::place(std::string_view key) {
  const auto path = config_.get_optional<std::string>(key);
  const std::string role(key.substr(key.find('.') + 1));
  if (!path) {
    throw Error(ErrorCode::kUsage, "{} is not set; name a model's folder, for example weights/demo/{}", key, role);
  }
  const auto given = name_maps_.find(role);
  models::LoadOptions options = given == name_maps_.end() ? models::LoadOptions() : given->second;
  const KnownModel* known = known_model(*path);
  if (known == nullptr) return {*path, std::move(options)};
  if (options.name_map.empty()) options = known->load_options();
  const std::filesystem::path folder = locate_model(*known, model_directories_, options);
  spdlog::info("{}: {} is {}", key, known->name, folder.string());
  if (!known->notice.empty() && noticed_.insert(known->notice).second) spdlog::warn("{}", known->notice);
  return {folder, std::move(options)};
}

nlohmann::json Engines::licences() const {
  nlohmann::json result = nlohmann::json::object();
  for (const pipeline::ConfigKey& key : config_.schema().keys()) {
    if (!key.or_name) continue;
    const auto path = config_.get_optional<std::string>(key.name);
    const KnownModel* known = path ? known_model(*path) : nullptr;
    if (known != nullptr) result[key.name.substr(key.name.find('.') + 1)] = known->licence;
  }
  return result;
}

template <typename Engine>
std::shared_ptr<const Engine> Engines::load_once(std::shared_ptr<const Engine>& slot, std::string_view key) {
  if (!slot) {
    const Place at = place(key);
    slot = Engine::load(at.folder, device(), at.options);
    if (key == "models.stmdit") denoiser_folder_ = at.folder;
  }
  return slot;
}

std::shared_ptr<const models::MorphologyEncoder> Engines::encoder() { return load_once(encoder_, "models.encoder"); }

std::shared_ptr<const models::MorphologyEncoder> Engines::predictor_encoder() {
  if (!config_.has("models.predictor_encoder")) return encoder();
  return load_once(predictor_encoder_, "models.predictor_encoder");
}

std::shared_ptr<const models::ExpressionPredictor> Engines::predictor() {
  return load_once(predictor_, "models.predictor");
}

std::shared_ptr<const models::GeneEncoder> Engines::gene_encoder() {
  return load_once(gene_encoder_, "models.expression");
}

std::shared_ptr<const models::Denoiser> Engines::denoiser() { return load_once(denoiser_, "models.stmdit"); }

std::optional<stages::ConditionStatistics> Engines::condition_statistics() {
  denoiser();
  return stages::read_condition_statistics(denoiser_folder_ / stages::kConditionStatisticsFile);
}

std::shared_ptr<const models::Autoencoder> Engines::autoencoder() {
  return load_once(autoencoder_, "models.autoencoder");
}

}  // namespace vtissue::cli
