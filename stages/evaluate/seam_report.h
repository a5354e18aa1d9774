#pragma once

#include <nlohmann/json.hpp>

#include "io/tile_reader.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/stitch/latent_decoder.h"

namespace vtissue::stages {

/// The seam scores (seam_metric.h) of the virtual slide, from its latents as they are decoded, before any compression,
/// and beside them those of the real slide in the same places: "virtual", "real", and "boxes". Of a large slide
/// `most_boxes` squares of 1024 px, evenly spread over those with tissue. Throws Error kInterrupted.
nlohmann::json seam_report(const LatentDecoder& made, const io::TileReader& real, const io::TileSet& tiles,
                           int most_boxes, const pipeline::RunContext& ctx);

}  // namespace vtissue::stages
