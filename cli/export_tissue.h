#pragma once

#include "cli/app.h"

namespace vtissue::cli {

/// `export tissue`: the tissue of a tiles.h5 as GeoJSON.
void add_export_tissue(CLI::App& command, Action& action);

}  // namespace vtissue::cli
