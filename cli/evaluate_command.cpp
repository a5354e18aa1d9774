#include "cli/line.h"
#include "cli/stage_command.h"

namespace vtissue::cli {

void add_evaluate_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(app, "evaluate", "Compare virtual with real tiles → metrics.json");
  command->input("slide", "the real slide")
      .input("tiles", "tiles.h5")
      .input("features", "features.h5 of the real slide")
      .input("virtual", "virtual.tiff")
      .input("latents", "latents/ of the synthesize stage, to look for seams in", false)
      .output("metrics", "metrics.json to write");
  command->runs(action, make_evaluate_stage);
}

}  // namespace vtissue::cli
