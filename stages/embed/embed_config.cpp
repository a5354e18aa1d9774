#include "stages/embed/embed_config.h"

#include <string>

namespace vtissue::stages {

std::vector<pipeline::ConfigKey> embed_config_keys() {
  using pipeline::ValueType;
  return {
      {.name = "embed.on_bad_tile",
       .type = ValueType::kString,
       .default_value = "fail",
       .description = "a tile that the slide file cannot decode: fail, or skip (no morphology there; counted and "
                      "reported)",
       .choices = {"fail", "skip"}},
      {.name = "embed.chunk_tiles",
       .type = ValueType::kInteger,
       .default_value = 64,
       .description = "tiles committed at once; rounded up to whole micro-batches of the encoder",
       .minimum = 1,
       .maximum = 65536},
      {.name = "embed.patch_features",
       .type = ValueType::kPath,
       .default_value = nullptr,
       .description = "features of the tiles by CLAM or TRIDENT, of the same encoder: taken instead of computing them, "
                      "after a comparison of some (--patch-features)"},
  };
}

EmbedOptions embed_options(const pipeline::Config& config) {
  return {.on_bad_tile = config.get<std::string>("embed.on_bad_tile") == "skip" ? OnBadTile::kSkip : OnBadTile::kFail,
          .chunk_tiles = config.get<int>("embed.chunk_tiles")};
}

}  // namespace vtissue::stages
