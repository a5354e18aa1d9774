#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/base_run.h"
#include "cli/engines.h"
#include "pipeline/graph.h"
#include "stages/perturb/gene_change.h"
#include "stages/perturb/region.h"

namespace vtissue::cli {

struct PerturbRequest {
  std::vector<stages::GeneChange> changes;  ///< together; empty with a sweep
  std::vector<stages::GeneChange> sweep;    ///< one after another
  stages::RegionOptions region;
  std::filesystem::path region_file;  ///< GeoJSON; may be empty
  std::size_t controls = 0, housekeeping = 0, seeds = 1;
  std::filesystem::path out;

  bool whole_slide() const { return region.whole_slide() && region_file.empty(); }
};

/// A folder name for the request: the changes, and what tells its region from others.
std::string perturbation_name(const PerturbRequest& request);

/// change → trajectory → redraw → patch → stitch → difference, and the controls or the sweep, with the outputs in
/// request.out; `results`: the files that are worth looking at. Throws Error kUsage for unknown genes and impossible
/// controls.
pipeline::Graph make_perturb_line(const BaseRun& run, const PerturbRequest& request, Engines& engines,
                                  std::vector<std::filesystem::path>& results);

}  // namespace vtissue::cli
