#include "cli/schema.h"

#include "stages/embed/embed_config.h"
#include "stages/encode/encode_config.h"
#include "stages/evaluate/evaluate_config.h"
#include "stages/express/express_config.h"
#include "stages/ood/ood_stage.h"
#include "stages/report/report_config.h"
#include "stages/stitch/stitch_config.h"
#include "stages/synthesize/synthesize_config.h"
#include "stages/tile/tile_config.h"
#include "stages/tile/tissue_config.h"

namespace vtissue::cli {

namespace {

std::vector<pipeline::ConfigKey> model_keys() {
  using pipeline::ValueType;
  const auto folder = [](std::string name, std::string description) {
    return pipeline::ConfigKey{.name = std::move(name),
                               .type = ValueType::kPath,
                               .default_value = nullptr,
                               .description = std::move(description),
                               .or_name = true};
  };
  return {
      folder("models.encoder",
             "folder, or name in docs/weights.md, of the morphology encoder (UNI family) that the denoiser was trained "
             "with"),
      folder("models.predictor_encoder", "folder of the predictor's own encoder; not set: models.encoder"),
      folder("models.predictor",
             "folder of the expression predictor (DeepSpot family); needed where nothing was measured"),
      folder("models.expression", "folder of the gene encoder (CancerFoundation family)"),
      folder("models.stmdit", "folder of the denoiser (STMDiT, PixCell)"),
      folder("models.autoencoder", "folder of the autoencoder (TAESD family)"),
  };
}

pipeline::ConfigSchema make_schema() {
  pipeline::ConfigSchema schema;
  schema.add(model_keys());
  schema.add(stages::tile_config_keys());
  schema.add(stages::tissue_config_keys());
  schema.add(stages::embed_config_keys());
  schema.add(stages::express_config_keys());
  schema.add(stages::encode_config_keys());
  schema.add(stages::synthesize_config_keys());
  schema.add(stages::ood_config_keys());
  schema.add(stages::stitch_config_keys());
  schema.add(stages::evaluate_config_keys());
  schema.add(stages::report_config_keys());
  return schema;
}

}  // namespace

const pipeline::ConfigSchema& schema() {
  static const pipeline::ConfigSchema instance = make_schema();
  return instance;
}

}  // namespace vtissue::cli
