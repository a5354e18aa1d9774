#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/common_options.h"
#include "cli/engines.h"
#include "cli/session.h"
#include "pipeline/config.h"

namespace vtissue::stages {
class SynthesizeStage;
}

namespace vtissue::cli {

/// A finished `vtissue run` that another command starts from: nothing in its folder is changed.
struct BaseRun {
  std::filesystem::path folder;
  pipeline::Config config;  ///< as the run resolved it; synthesis as its latents say that it was made
  nlohmann::json record;    ///< run.json
  std::uint64_t seed = 0;   ///< of the noise

  std::filesystem::path file(const char* name) const { return folder / name; }
};

/// Reads run.json and looks that the run's files are there. With --config that file stands for the run's own; --set
/// comes on top. Throws Error kBadInput: no run, not finished, a file gone; kUsage as Config, and for --seed.
BaseRun load_base_run(const std::filesystem::path& folder, const CommonOptions& options);

/// The run's synthesis, with another seed of the noise where that is asked for.
std::shared_ptr<const stages::SynthesizeStage> synthesis_of(const BaseRun& run, Engines& engines, std::uint64_t seed);

/// Throws Error kUsage if this machine, device or dtype computes in another numerics class than the run's, kModel if
/// the models or settings of the synthesis are not those its latents were made with.
void require_same_synthesis(const BaseRun& run, Engines& engines);

/// Runs a graph that starts from the run, with outputs and a record of its own in `out`.
void run_on_base(Session& session, const BaseRun& run, Engines& engines, const pipeline::Graph& graph,
                 const std::filesystem::path& out);

}  // namespace vtissue::cli
