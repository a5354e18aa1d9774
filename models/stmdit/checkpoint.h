#pragma once

#include "models/checkpoint/name_map.h"

namespace vtissue::models {

class StmditImpl;

/// From our names, which are diffusers', to those of the original PixArt-style code (models.md 2.3).
const NameMap& stmdit_original_names();

/// Loads weights under diffusers' names or those of the original PixArt-style code (models.md 2.2 and 2.3), whichever
/// the file has; ge.* are the same in both. A stored condition table is preferred to the computed one, which serves if
/// the file has none. Throws Error kModel listing all missing, unknown and misshaped tensors.
void load_stmdit(StmditImpl& network, const StateDict& weights);

}  // namespace vtissue::models
