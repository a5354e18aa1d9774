#pragma once

#include <string>

#include "io/tile_store.h"

namespace vtissue::stages {

/// The tissue of a store as GeoJSON that QuPath opens: a FeatureCollection, an annotation of class "Tissue" for each
/// piece of the mask, with its holes, along the edges of the mask's pixels. Coordinates are level-0 pixels, rounded to
/// hundredths, less `origin` (of QuPath's view, where it shows the non-empty area alone). Reading it back gives the
/// mask. Pure.
std::string tissue_geojson(const io::TileSet& tiles, Point<Level0Px> origin = {});

}  // namespace vtissue::stages
