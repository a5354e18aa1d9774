#include "stages/encode/encode_config.h"

namespace vtissue::stages {

std::vector<pipeline::ConfigKey> encode_config_keys() {
  using pipeline::ValueType;
  return {
      {.name = "encode.min_matched_genes",
       .type = ValueType::kNumber,
       .default_value = 0.5,
       .description = "smallest fraction of the gene encoder's genes that the expression table must have (0..1)",
       .minimum = 0.0,
       .maximum = 1.0},
      {.name = "encode.chunk_tiles",
       .type = ValueType::kInteger,
       .default_value = 64,
       .description = "tiles committed at once; rounded up to whole micro-batches of the gene encoder",
       .minimum = 1,
       .maximum = 65536},
  };
}

EncodeOptions encode_options(const pipeline::Config& config) {
  return {.min_matched_genes = config.get<double>("encode.min_matched_genes"),
          .chunk_tiles = config.get<int>("encode.chunk_tiles")};
}

}  // namespace vtissue::stages
